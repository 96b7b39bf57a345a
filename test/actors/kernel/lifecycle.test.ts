/**
 * Goal: each step in the life of an actor is completed, whatever callers, finalizers, loggers and
 * Scopes do in the middle of it. Method: each of them does the worst at that moment.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Logger from "effect/Logger"
import * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { MaxOpsBeforeYield } from "effect/Scheduler"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import { makeCell, reference } from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal, type Store } from "../../../src/actors/kernel/Journal.ts"
import { halt } from "../../../src/actors/kernel/internal/halting.ts"
import { lifeWith } from "../../../src/actors/kernel/internal/recovering.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { recover } from "../../../src/actors/kernel/internal/recovering.ts"
import { endWith } from "../../../src/actors/kernel/internal/releasing.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import type { StorageFailed } from "../../../src/schema/JournalRecord.ts"
import { Counter, decide, evolve, react, spec } from "./counter.ts"
import { failure, fork, makeHeld, settle } from "./journals.ts"

const tables = { ...spec, decide, evolve, react }

describe("a finalizer that fails while the logger throws", () => {
  const Dying = Behavior.make("Counter", {
    ...tables,
    start: () => Effect.addFinalizer(() => Effect.die("a finalizer"))
  })
  const throwing = Logger.layer([
    Logger.make(({ message }) => {
      if (String(message).includes("a finalizer failed")) throw new Error("the logger")
    })
  ])

  it.effect("A3: does not keep its actor from ending", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Dying, "a")
      const ended = yield* fork(counter.stop)
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* Fiber.join(ended), { reason: "stopped" })
    }).pipe(Effect.provide([throwing, Journal.layerMemory]))
  )

  it.effect("A3: does not keep its actor from being restarted", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ backoff: Schedule.spaced("1 second") })
      const counter = yield* supervisor.spawn(Dying, "a")
      yield* Effect.flip(counter.ask.Break({ how: "decide" }))
      const asking = yield* fork(counter.ask.Add({ n: 1 }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(asking), 1)
    }).pipe(Effect.provide([throwing, Journal.layerMemory]))
  )
})

describe("a caller who closes the Scope of its actor when it is answered", () => {
  for (const supervised of [false, true]) {
    const where = supervised ? "under a supervisor" : "alone"
    it.effect(`A1: of a command whose append has failed later, ${where}`, () =>
      Effect.gen(function* () {
        const { faults, journal, latch } = makeHeld()
        const scope = yield* Scope.make()
        const spawning = supervised
          ? Effect.flatMap(Supervisor.make(), (supervisor) => supervisor.spawn(Counter, "a"))
          : Actor.spawn(Counter, "a")
        const counter = yield* spawning.pipe(
          Effect.provideService(Journal, journal),
          Scope.provide(scope)
        )
        latch.closeUnsafe()
        faults.push(failure)
        const closing = Effect.exit(counter.ask.Add({ n: 1 })).pipe(
          Effect.tap(() => Scope.close(scope, Exit.void))
        )
        const first = yield* fork(closing)
        const second = yield* fork(Effect.exit(counter.ask.Add({ n: 2 })))
        latch.openUnsafe()
        yield* settle
        assert.isTrue(Exit.isFailure(yield* Fiber.join(first)))
        assert.isTrue(Exit.isFailure(yield* Fiber.join(second)))
        assert.strictEqual((yield* counter.ended)._tag, "Stopped")
      })
    )
  }

  /** Without a history, a crash answers the callers who wait. */
  const Wait = Rpc.make("Wait")
  const Break = Rpc.make("Break")
  const Volatile = (start?: Effect.Effect<void, never, Scope.Scope>) =>
    Behavior.make("Volatile", {
      commands: [Wait, Break],
      events: Schema.TaggedStruct("None", {}),
      initial: {},
      history: "none",
      onDefect: "crash",
      decide: {
        Wait: () => Decision.none.pipe(Decision.thenWait(Decision.pending<void>("key"))),
        Break: (): Decision.Decision<never> => {
          throw new Error("told to crash")
        }
      },
      evolve: { None: (state) => state },
      ...(start === undefined ? {} : { start: () => start })
    })

  it.effect("B12: is not told that it is closed before the resource is released", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const release = Effect.delay(
        Effect.sync(() => log.push("released")),
        "1 second"
      )
      const scope = yield* Scope.make()
      const behavior = Volatile(Effect.addFinalizer(() => release))
      const actor = yield* Scope.provide(Actor.spawn(behavior, "a"), scope)
      const closing = yield* fork(
        Effect.exit(actor.ask.Wait()).pipe(
          Effect.andThen(Scope.close(scope, Exit.void)),
          Effect.andThen(Effect.sync(() => log.push("closed")))
        )
      )
      yield* actor.tell.Break()
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(log, ["released", "closed"])
    })
  )

  it.effect("B12: does not break the halt of an actor that has nothing to release", () =>
    Effect.gen(function* () {
      const cell = yield* makeCell(
        Volatile(),
        "a",
        lifeWith(() => undefined)
      )
      yield* recover(cell)
      const actor: Actor.Of<ReturnType<typeof Volatile>> = reference(cell)
      const ending = endWith(cell, { reason: "released", detail: "" })
      const waits = yield* fork(Effect.andThen(Effect.exit(actor.ask.Wait()), ending))
      yield* halt(cell)
      yield* Fiber.join(waits)
      assert.strictEqual(cell.phase, "ended")
    })
  )
})

describe("an append that comes back in the middle of a turn", () => {
  /** A journal whose append the test answers, on the stack on which it does so. */
  const makeAnswered = () => {
    const store = makeMemory()
    let answer: (exit: Effect.Effect<void, StorageFailed>) => void = () => undefined
    let isLate = false
    const journal: Store = {
      ...store,
      append: (request) =>
        isLate
          ? Effect.callback<void, StorageFailed>((resume) => {
              answer = resume
            })
          : store.append(request)
    }
    return {
      journal,
      beLate: () => {
        isLate = true
      },
      fail: () => {
        isLate = false
        answer(Effect.fail(failure))
      }
    }
  }

  it.effect("A1: crashes the generation, and messages wait for the next one", () =>
    Effect.gen(function* () {
      const { beLate, fail, journal } = makeAnswered()
      const supervisor = yield* Supervisor.make({ backoff: Schedule.spaced("1 second") })
      const spawning = supervisor.spawn(Counter, "a")
      const counter = yield* Effect.provideService(spawning, Journal, journal)
      beLate()
      yield* counter.tell.Note({ text: "written behind, in the batch of the next one" })
      const asking = yield* fork(
        Effect.gen(function* () {
          yield* counter.ask.Get()
          const later = yield* fork(counter.ask.Add({ n: 1 }))
          fail()
          return yield* Fiber.join(later)
        })
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(asking), 1)
    })
  )
})

it.effect("B12: a finalizer of an older epoch that ends its actor is waited for, too", () =>
  Effect.gen(function* () {
    const log: Array<string> = []
    const scope = yield* Scope.make()
    const closing = Effect.andThen(
      Scope.close(scope, Exit.void),
      Effect.sync(() => log.push("closed"))
    )
    const Epochal = Behavior.make("Counter", {
      ...tables,
      history: "none",
      epoch: ({ sum }) => `00000001.${sum}` as Epoch,
      start: () =>
        Effect.acquireRelease(
          Effect.sync(() => log.push("acquired")),
          () =>
            Effect.forkDetach(closing, { startImmediately: true }).pipe(
              Effect.andThen(Effect.sleep("1 second")),
              Effect.andThen(Effect.sync(() => log.push("released")))
            )
        ),
      react: { Added: () => Effect.sync(() => log.push("an effect without an epoch")) }
    })
    const counter = yield* Scope.provide(Actor.spawn(Epochal, "a"), scope)
    yield* counter.tell.Add({ n: 1 })
    yield* settle
    yield* TestClock.adjust("1 second")
    yield* settle
    assert.deepStrictEqual(log, ["acquired", "released", "closed"])
  })
)

describe("a spawn", () => {
  it.effect("A6: whose Scope closes claims nothing afterwards", () =>
    Effect.gen(function* () {
      const store = makeMemory()
      const slow = { ...store, claim: (actor: string) => Effect.delay(store.claim(actor), 1000) }
      const scope = yield* Scope.make()
      const spawning = yield* fork(
        Actor.spawn(Counter, "a").pipe(
          Effect.provideService(Journal, slow),
          Scope.provide(scope),
          Effect.exit
        )
      )
      yield* Scope.close(scope, Exit.void)
      const counter = yield* Effect.provideService(Actor.spawn(Counter, "a"), Journal, store)
      yield* TestClock.adjust(1000)
      assert.strictEqual(yield* counter.ask.Add({ n: 1 }), 1)
      const exit = yield* Fiber.join(spawning)
      assert.isTrue(Exit.hasInterrupts(exit), "its actor has ended")
    })
  )

  it.effect("A6: waits with the end for a claim that cannot be interrupted", () =>
    Effect.gen(function* () {
      const store = makeMemory()
      const claim = (actor: string) =>
        Effect.uninterruptible(Effect.delay(store.claim(actor), 1000))
      const scope = yield* Scope.make()
      const slow = { ...store, claim }
      yield* fork(
        Effect.provideService(Scope.provide(Actor.spawn(Counter, "a"), scope), Journal, slow)
      )
      const closing = yield* fork(Scope.close(scope, Exit.void))
      yield* settle
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust(1000)
      yield* Fiber.join(closing)
    })
  )

  it.effect("A6: into a Scope that is closed takes no address", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Scope.close(scope, Exit.void)
      const exit = yield* Effect.exit(Scope.provide(Actor.spawn(Counter, "a"), scope))
      assert.isTrue(Exit.hasInterrupts(exit))
      const counter = yield* Actor.spawn(Counter, "a")
      assert.strictEqual(yield* counter.ask.Add({ n: 1 }), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  for (const supervised of [false, true]) {
    const where = supervised ? "under a supervisor" : "alone"
    it.effect(`B11: that is interrupted leaves no cell behind that has not started, ${where}`, () =>
      Effect.gen(function* () {
        const started = new Set<string>()
        const Starting = Behavior.make("Counter", {
          ...tables,
          start: (_, { id }) => Effect.sync(() => started.add(id))
        })
        const supervisor = yield* Supervisor.make()
        const spawn = (id: string) =>
          supervised ? supervisor.spawn(Starting, id) : Actor.spawn(Starting, id)
        // With fewer steps in a row, a fiber does nothing but give way.
        const context = yield* Effect.context<Scope.Scope | Journal>()
        const fine = Context.add(context, MaxOpsBeforeYield, 3)
        let steps = 0
        for (; ; steps++) {
          const id = `${steps}`
          const spawning = Effect.runForkWith(fine)(spawn(id))
          for (let step = 0; step < steps && spawning.pollUnsafe() === undefined; step++) {
            yield* Effect.yieldNow
          }
          if (spawning.pollUnsafe() !== undefined) break
          yield* Fiber.interrupt(spawning)
          const isStarted = started.has(id)
          const again = yield* Effect.exit(spawn(id))
          assert.isTrue(isStarted || Exit.isSuccess(again), `after ${steps} steps`)
        }
        assert.isAbove(steps, 20)
      }).pipe(Effect.provide(Journal.layerMemory))
    )
  }
})

describe("a restart", () => {
  const Shop = (history: "durable" | "none") =>
    Behavior.make("Counter", { ...tables, ...(history === "none" ? { history } : {}) })

  it.effect("B1: answers what was stashed in a state that is forgotten, in order", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ backoff: Schedule.spaced("1 second") })
      const counter = yield* supervisor.spawn(Shop("none"), "a")
      yield* counter.ask.Hold()
      const stashed = yield* Effect.forEach([1, 2], (n) => fork(counter.ask.Add({ n })))
      yield* Effect.flip(counter.ask.Break({ how: "decide" }))
      const after = yield* fork(counter.ask.Add({ n: 3 }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.joinAll([...stashed, after]), [1, 3, 6])
    })
  )

  it.effect("B1: stashes again what the recovered state stashes", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ backoff: Schedule.spaced("1 second") })
      const counter = yield* supervisor.spawn(Shop("durable"), "a")
      yield* counter.ask.Hold()
      const stashed = yield* fork(counter.ask.Add({ n: 1 }))
      yield* Effect.flip(counter.ask.Break({ how: "decide" }))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(stashed.pollUnsafe())
      yield* counter.ask.Resume()
      assert.strictEqual(yield* Fiber.join(stashed), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("an effect that speaks to its own actor while that stops", () => {
  for (const wraps of [false, true]) {
    const how = wraps ? "as a defect" : "as an error"
    it.effect(`B7: hears Stopped, ${how}, which is no crash`, () =>
      Effect.gen(function* () {
        const { journal, latch } = makeHeld()
        const Signalling = Behavior.make("Counter", {
          ...tables,
          signals: Behavior.signals<{ readonly _tag: "Now" }>(),
          decide: { ...decide, Now: () => Decision.none },
          start: (_, self) => {
            const telling = Effect.delay(self.signal.Now(), "1 second")
            return wraps ? Effect.orDie(telling) : telling
          }
        })
        const spawning = Actor.spawn(Signalling, "a")
        const counter = yield* Effect.provideService(spawning, Journal, journal)
        latch.closeUnsafe()
        const asks = yield* Effect.forEach([1, 2], (n) => fork(counter.ask.Add({ n })))
        const stopping = yield* fork(counter.stop)
        yield* TestClock.adjust("1 second")
        latch.openUnsafe()
        assert.deepStrictEqual(yield* Fiber.joinAll(asks), [1, 3])
        assert.deepInclude(yield* Fiber.join(stopping), { reason: "stopped" })
      })
    )
  }

  it.effect("B7: crashes it with an error of another actor that has stopped", () =>
    Effect.gen(function* () {
      const other = yield* Actor.spawn(Counter, "other")
      yield* other.stop
      const Asking = Behavior.make("Asking", {
        ...tables,
        react: { Added: () => other.ask.Get() }
      })
      const asking = yield* Actor.spawn(Asking, "a")
      yield* asking.ask.Add({ n: 1 })
      assert.deepInclude(yield* asking.ended, { reason: "crashed" })
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("an actor without a supervisor that has crashed", () => {
  it.effect("is waited for by its successor until all of it is released", () =>
    Effect.gen(function* () {
      const release = yield* Latch.make(false)
      const Slow = Behavior.make("Counter", {
        ...tables,
        start: () => Effect.addFinalizer(() => release.await)
      })
      const first = yield* Actor.spawn(Slow, "a")
      yield* Effect.exit(first.ask.Break({ how: "decide" }))
      const second = yield* fork(Actor.spawn(Counter, "a"))
      yield* settle
      assert.strictEqual(second.pollUnsafe(), undefined)
      yield* release.open
      assert.deepInclude(yield* first.ended, { reason: "crashed" })
      assert.strictEqual(yield* (yield* Fiber.join(second)).ask.Add({ n: 1 }), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

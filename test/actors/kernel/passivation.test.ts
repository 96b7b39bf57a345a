/**
 * Goal: whatever comes while an actor becomes passive, or after, is done once and loses nothing:
 * a message, a stop, a halt; and it becomes so only when nothing of it runs. Method: an actor whose
 * resources take a second to be released, and effects that last longer than it may be idle.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { type Actor, makeCell, reference, spawn } from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import { halt } from "../../../src/actors/kernel/internal/halting.ts"
import { lifeWith } from "../../../src/actors/kernel/internal/recovering.ts"
import { recover } from "../../../src/actors/kernel/internal/recovering.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { decide, evolve, spec, State } from "./counter.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { fork, journals, settle } from "./journals.ts"

const sleepy = (log: Array<string>) =>
  Behavior.make("Counter", {
    ...spec,
    decide,
    evolve,
    passivateAfter: "1 minute",
    start: (_, __, { generation }) =>
      Effect.acquireRelease(
        Effect.sync(() => log.push(`begin ${generation}`)),
        () =>
          Effect.andThen(
            Effect.sleep("1 second"),
            Effect.sync(() => log.push(`end ${generation}`))
          )
      )
  })

const second = Effect.andThen(TestClock.adjust("1 second"), settle)

/** An actor that begins to become passive, and is at it for a second more. */
const fallingAsleep = Effect.gen(function* () {
  const log: Array<string> = []
  const scope = yield* Scope.make()
  const life = lifeWith(() => assert.fail("no crash"))
  const cell = yield* Scope.provide(makeCell(sleepy(log), "a", life), scope)
  yield* recover(cell)
  const counter: Actor<State, (typeof spec.commands)[number], unknown> = reference(cell)
  yield* counter.ask.Add({ n: 1 })
  yield* settle
  yield* TestClock.adjust("1 minute")
  assert.strictEqual(cell.phase, "releasing")
  const close = Effect.andThen(fork(Scope.close(scope, Exit.void)), second)
  return { cell, close, counter, log }
})

describe.each(journals)("an actor that becomes passive on %s", (_, journal) => {
  it.effect("begins anew for a message that comes meanwhile", () =>
    Effect.gen(function* () {
      const { close, counter, log } = yield* fallingAsleep
      const add = yield* fork(counter.ask.Add({ n: 1 }))
      yield* settle
      assert.isUndefined(add.pollUnsafe())
      yield* second
      assert.strictEqual(yield* Fiber.join(add), 2)
      assert.deepStrictEqual(log, ["begin 1", "end 1", "begin 2"])
      yield* close
    }).pipe(Effect.provide(journal))
  )

  it.effect("ends for a stop that comes meanwhile, and releases once", () =>
    Effect.gen(function* () {
      const { counter, log } = yield* fallingAsleep
      const stop = yield* fork(counter.stop)
      yield* second
      assert.deepInclude(yield* Fiber.join(stop), { reason: "stopped" })
      assert.deepStrictEqual(log, ["begin 1", "end 1"])
    }).pipe(Effect.provide(journal))
  )

  it.effect("answers a message that came before a stop, both meanwhile", () =>
    Effect.gen(function* () {
      const { counter, log } = yield* fallingAsleep
      const add = yield* fork(counter.ask.Add({ n: 1 }))
      const stop = yield* fork(counter.stop)
      yield* second
      assert.strictEqual(yield* Fiber.join(add), 2)
      yield* second
      assert.deepInclude(yield* Fiber.join(stop), { reason: "stopped" })
      assert.deepStrictEqual(log, ["begin 1", "end 1", "begin 2", "end 2"])
    }).pipe(Effect.provide(journal))
  )

  for (const when of ["meanwhile", "afterwards"] as const) {
    it.effect(`is woken by no message once it was halted ${when}`, () =>
      Effect.gen(function* () {
        const { cell, close, counter } = yield* fallingAsleep
        if (when === "afterwards") yield* second
        const halting = yield* fork(halt(cell))
        yield* second
        yield* Fiber.join(halting)
        const add = yield* fork(counter.ask.Add({ n: 1 }))
        yield* second
        assert.isUndefined(add.pollUnsafe())
        assert.deepInclude(cell, { phase: "halted", generation: 1 })
        yield* recover(cell)
        assert.strictEqual(yield* Fiber.join(add), 2)
        yield* close
      }).pipe(Effect.provide(journal))
    )
  }
})

const minutes = (n: number) => Effect.andThen(TestClock.adjust(`${n} minutes`), settle)

describe.each(journals)("an actor whose effects run on %s", (_, journal) => {
  it.effect("B6: becomes passive a while after its last reaction has ended, and not before", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const Paying = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        passivateAfter: "1 minute",
        react: {
          Added: () =>
            Effect.gen(function* () {
              yield* Effect.addFinalizer(() => Effect.sync(() => log.push("released")))
              yield* Effect.onInterrupt(Effect.sleep("3 minutes"), () =>
                Effect.sync(() => log.push("interrupted"))
              )
              log.push("paid")
            })
        }
      })
      const counter = yield* spawn(Paying, "a")
      yield* counter.tell.Add({ n: 1 })
      yield* settle
      yield* minutes(3)
      assert.deepStrictEqual(log, ["paid"])
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(log, ["paid"])
      yield* second
      assert.deepStrictEqual(log, ["paid", "released"])
      assert.strictEqual(yield* counter.ask.Get(), 1)
    }).pipe(Effect.provide(journal))
  )

  it.effect("B6: stays awake as long as its `start` effect runs", () =>
    Effect.gen(function* () {
      const generations: Array<number> = []
      const Ticking = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        passivateAfter: "1 minute",
        start: (_, __, { generation }) =>
          Effect.andThen(
            Effect.sync(() => generations.push(generation)),
            Effect.never
          )
      })
      const counter = yield* spawn(Ticking, "a")
      yield* counter.ask.Add({ n: 1 })
      yield* minutes(5)
      assert.strictEqual(yield* counter.ask.Get(), 1)
      assert.deepStrictEqual(generations, [1])
    }).pipe(Effect.provide(journal))
  )

  it.effect("B6: becomes passive also when the wall clock is set back", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const clock = yield* Clock.Clock
      let setBack = 0
      const wall: Clock.Clock = {
        ...clock,
        sleep: (duration) => clock.sleep(duration),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() - setBack
      }
      const counter = yield* Effect.provideService(spawn(sleepy(log), "a"), Clock.Clock, wall)
      yield* counter.ask.Add({ n: 1 })
      yield* settle
      setBack = 3_600_000
      yield* minutes(1)
      yield* second
      assert.deepStrictEqual(log, ["begin 1", "end 1"])
    }).pipe(Effect.provide(journal))
  )
})

/** A passive counter with the sum 2, and a read that is held up between its snapshot and events. */
const passive = Effect.gen(function* () {
  const store = makeMemory()
  const latch = Latch.makeUnsafe(false)
  let isSlow = false
  const journal: typeof store = {
    ...store,
    loadSnapshot: (actor, atMost) =>
      Effect.tap(store.loadSnapshot(actor, atMost), () => (isSlow ? latch.await : Effect.void))
  }
  const Pruning = Behavior.make("Counter", {
    ...spec,
    decide,
    evolve,
    passivateAfter: "1 minute",
    snapshot: { state: State, every: 2, keep: 1, deleteEvents: true }
  })
  const counter = yield* Effect.provideService(spawn(Pruning, "a"), Journal, journal)
  yield* counter.ask.AddTwice({ n: 1 })
  yield* settle
  yield* minutes(1)
  const heldUp = <A>(read: Effect.Effect<A>) =>
    Effect.gen(function* () {
      isSlow = true
      const reading = yield* fork(read)
      yield* settle
      isSlow = false
      return reading
    })
  return { counter, heldUp, latch }
})

it.effect("B10: a read of a passive state goes on when the actor prunes what it was reading", () =>
  Effect.gen(function* () {
    const { counter, heldUp, latch } = yield* passive
    const reading = yield* heldUp(counter.state)
    yield* counter.ask.AddTwice({ n: 1 })
    yield* counter.ask.Add({ n: 1 })
    yield* settle
    latch.openUnsafe()
    assert.strictEqual((yield* Fiber.join(reading)).sum, 5)
  })
)

it.effect(
  "K7: a watcher of a passive state hears each state once if a message comes meanwhile",
  () =>
    Effect.gen(function* () {
      const { counter, heldUp, latch } = yield* passive
      const shown: Array<number> = []
      const show = ({ sum }: State) => Effect.sync(() => void shown.push(sum))
      yield* heldUp(Stream.runForEach(counter.states, show))
      yield* counter.ask.Add({ n: 1 })
      yield* settle
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(shown, [3])
    })
)

/**
 * Goal: what a mailbox, a stash, a stop and a crash do to messages: each one has exactly one
 * outcome, and a caller hears of it. Method: a counter on a journal that tests can hold up, and on
 * journals that answer at once or later.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { droppedMessages } from "../../../src/actors/kernel/Metrics.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { Counter, decide, evolve, react, spec, Volatile } from "./counter.ts"
import { failure, fork, journals, makeHeld, settle } from "./journals.ts"

describe.each(journals)("a mailbox on %s", (_, layer) => {
  it.effect("takes one batch with one append, and answers only when it is stored", () =>
    Effect.gen(function* () {
      const { appends, journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      const first = yield* fork(counter.ask.Add({ n: 1 }))
      const others = yield* Effect.forEach([1, 2, 3, 4], (n) => fork(counter.ask.Add({ n })))
      assert.strictEqual(first.pollUnsafe(), undefined)
      assert.strictEqual((yield* counter.state).sum, 0, "nothing is seen before it is stored")
      latch.openUnsafe()
      yield* Fiber.awaitAll(others)
      assert.strictEqual((yield* counter.state).sum, 11)
      assert.strictEqual(appends.length, 2)
    })
  )

  it.effect("an ask that only reads waits for events decided before it", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      yield* counter.tell.Add({ n: 5 })
      const read = yield* fork(counter.ask.Get())
      yield* TestClock.adjust(1)
      assert.strictEqual(read.pollUnsafe(), undefined)
      latch.openUnsafe()
      assert.strictEqual(yield* Fiber.join(read), 5)
    })
  )

  it.effect("full: a tell and an ask fail and nothing is lost of what was taken", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      const first = yield* fork(counter.ask.Add({ n: 1 }))
      for (let n = 0; n < 8; n++) yield* counter.tell.Add({ n: 1 })
      const full = yield* Effect.flip(counter.tell.Add({ n: 100 }))
      assert.strictEqual(full._tag, "MailboxFull")
      assert.strictEqual((yield* Effect.flip(counter.ask.Get()))._tag, "MailboxFull")
      assert.strictEqual(counter.tellUnsafe.Add({ n: 100 }), "full")
      latch.openUnsafe()
      yield* Fiber.join(first)
      assert.strictEqual(yield* counter.ask.Get(), 9)
    })
  )

  it.effect("full, with the policy drop: a tell is dropped, an ask still fails", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Volatile, "a")
      const dropped = Metric.withAttributes(droppedMessages, { actor: "Volatile" })
      const { count } = yield* Metric.value(dropped)
      for (let n = 0; n < 12; n++) yield* counter.tell.Add({ n: 1 })
      assert.strictEqual((yield* Effect.flip(counter.ask.Get()))._tag, "MailboxFull")
      assert.strictEqual((yield* Metric.value(dropped)).count - count, 4)
      yield* Effect.yieldNow
      assert.strictEqual(yield* counter.ask.Get(), 8)
    })
  )

  it.effect("a stash keeps order, comes back before newer messages, and is bounded", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Counter, "a")
      yield* counter.ask.Hold()
      const one = yield* fork(counter.ask.Add({ n: 1 }))
      const two = yield* fork(counter.ask.Add({ n: 10 }))
      const full = yield* Effect.flip(counter.ask.Add({ n: 100 }))
      assert.deepInclude(full, { _tag: "MailboxFull", queue: "stash", limit: 2 })
      yield* counter.ask.Resume()
      assert.deepStrictEqual([yield* Fiber.join(one), yield* Fiber.join(two)], [1, 11])
    }).pipe(Effect.provide(layer))
  )

  it.effect("a stash comes back before the newer messages of the batch that brings it back", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Counter, "a")
      yield* counter.ask.Hold()
      const stashed = yield* fork(counter.ask.Add({ n: 1 }))
      yield* counter.tell.Resume()
      const newer = yield* fork(counter.ask.Add({ n: 10 }))
      assert.deepStrictEqual(yield* Fiber.joinAll([stashed, newer]), [1, 11])
    }).pipe(Effect.provide(layer))
  )

  it.effect("stores many events of one decision together", () =>
    Effect.gen(function* () {
      const { appends, journal } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      assert.strictEqual(yield* counter.ask.AddTwice({ n: 4 }), 8)
      assert.strictEqual(appends.length, 1)
    })
  )

  it.effect("events written behind delay nobody, and are there after the next promise", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const counter = yield* Actor.spawn(Counter, "a")
          latch.closeUnsafe()
          yield* counter.ask.Note({ text: "one" })
          yield* counter.ask.Note({ text: "two" })
          const promise = yield* fork(counter.ask.Add({ n: 1 }))
          assert.strictEqual(promise.pollUnsafe(), undefined)
          latch.openUnsafe()
          yield* Fiber.join(promise)
        })
      ).pipe(Effect.provideService(Journal, journal))
      const again = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      assert.deepStrictEqual(yield* again.state, { sum: 1, notes: 2, held: false })
    })
  )

  it.effect("askWithin gives up in time; the command may still run", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      const ask = yield* fork(Effect.flip(counter.askWithin("1 second").Add({ n: 1 })))
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* Fiber.join(ask), { _tag: "AskTimedOut", command: "Add" })
      latch.openUnsafe()
      assert.strictEqual(yield* counter.ask.Get(), 1)
    })
  )
})

describe.each(journals)("the end of an actor on %s", (_, layer) => {
  it.effect("stop works on what is there, takes nothing more, and releases once", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      const before = yield* fork(counter.ask.Add({ n: 1 }))
      const waiting = yield* fork(counter.ask.Add({ n: 2 }))
      const stop = yield* fork(counter.stop)
      const late = yield* Effect.flip(counter.ask.Get())
      assert.deepInclude(late, { _tag: "Stopped", outcome: "not-run" })
      latch.openUnsafe()
      assert.deepInclude(yield* Fiber.join(stop), { reason: "stopped" })
      assert.deepStrictEqual([yield* Fiber.join(before), yield* Fiber.join(waiting)], [1, 3])
      assert.deepInclude(yield* counter.stop, { reason: "stopped" })
    })
  )

  it.effect("stop waits for events that are written behind", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "one" })
      const stop = yield* fork(counter.stop)
      yield* settle
      assert.isUndefined(stop.pollUnsafe())
      latch.openUnsafe()
      yield* Fiber.join(stop)
      const again = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      assert.strictEqual((yield* again.state).notes, 1)
    })
  )

  it.effect("a decision to stop waits for events that are written behind", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const Last = Behavior.make("Counter", {
        ...spec,
        decide: {
          ...decide,
          End: () =>
            Decision.persist({ _tag: "Noted" as const, text: "last" }).pipe(Decision.thenStop)
        },
        evolve,
        writtenBehind: ["Noted"]
      })
      const counter = yield* Actor.spawn(Last, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      yield* counter.tell.Note({ text: "first" })
      const end = yield* fork(counter.ask.End())
      yield* settle
      assert.isUndefined(end.pollUnsafe())
      latch.openUnsafe()
      yield* Fiber.join(end)
      yield* counter.ended
      const again = yield* Actor.spawn(Last, "a").pipe(Effect.provideService(Journal, journal))
      assert.strictEqual((yield* again.state).notes, 2)
    })
  )

  it.effect("stop is kept over a crash of the generation that it was asked of", () =>
    Effect.gen(function* () {
      const { faults, journal, latch } = makeHeld()
      const supervisor = yield* Supervisor.make()
      const spawn = supervisor.spawn(Counter, "a")
      const counter = yield* Effect.provideService(spawn, Journal, journal)
      latch.closeUnsafe()
      faults.push(failure)
      yield* counter.tell.Add({ n: 1 })
      const stop = yield* fork(counter.stop)
      yield* settle
      latch.openUnsafe()
      yield* settle
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* Fiber.join(stop), { reason: "stopped" })
    })
  )

  it.effect("answers the messages that are put aside", () =>
    Effect.gen(function* () {
      for (const how of ["stop", "crash"] as const) {
        const counter = yield* Actor.spawn(Counter, how)
        yield* counter.ask.Hold()
        const aside = yield* fork(Effect.flip(counter.ask.Add({ n: 1 })))
        yield* settle
        yield* how === "stop" ? counter.stop : Effect.exit(counter.ask.Break({ how: "decide" }))
        assert.deepInclude(yield* Fiber.join(aside), { _tag: "Stopped", outcome: "not-run" })
      }
    }).pipe(Effect.provide(layer))
  )

  it.effect("stop needs no place in a full mailbox", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      yield* fork(counter.ask.Add({ n: 1 }))
      for (let n = 0; n < 8; n++) yield* counter.tell.Add({ n: 1 })
      const stop = yield* fork(counter.stop)
      const again = yield* fork(counter.stop)
      latch.openUnsafe()
      assert.deepInclude(yield* Fiber.join(stop), { reason: "stopped" })
      assert.deepInclude(yield* Fiber.join(again), { reason: "stopped" })
      assert.strictEqual((yield* counter.state).sum, 9)
    })
  )

  it.effect("a decision to stop fails the messages behind it", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Counter, "a")
      yield* counter.tell.Add({ n: 1 })
      const end = yield* fork(counter.ask.End())
      const behind = yield* fork(Effect.flip(counter.ask.Get()))
      yield* Fiber.join(end)
      assert.deepInclude(yield* Fiber.join(behind), { _tag: "Stopped", reason: "stopped" })
      assert.deepInclude(yield* counter.ended, { reason: "stopped" })
    }).pipe(Effect.provide(layer))
  )

  it.effect("its Scope: callers whose command is being stored hear that nobody knows", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const scope = yield* Scope.make()
      const counter = yield* Actor.spawn(Counter, "a").pipe(
        Effect.provideService(Journal, journal),
        Scope.provide(scope)
      )
      latch.closeUnsafe()
      const storing = yield* fork(Effect.flip(counter.ask.Add({ n: 1 })))
      const waiting = yield* fork(Effect.flip(counter.ask.Add({ n: 2 })))
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* Fiber.join(storing), { reason: "released", outcome: "unknown" })
      assert.deepInclude(yield* Fiber.join(waiting), { reason: "released", outcome: "not-run" })
      latch.openUnsafe()
    })
  )

  it.effect("a throw in decide fails its caller only, and ends an actor that is alone", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Counter, "a")
      yield* counter.tell.Add({ n: 1 })
      const broken = yield* fork(Effect.flip(counter.ask.Break({ how: "decide" })))
      const behind = yield* fork(Effect.flip(counter.ask.Get()))
      const stopped = yield* Fiber.join(broken)
      assert.deepInclude(stopped, { _tag: "Stopped", reason: "crashed", outcome: "not-run" })
      assert.include(stopped._tag === "Stopped" ? stopped.detail : "", "decide broke")
      assert.deepInclude(yield* Fiber.join(behind), { reason: "crashed", outcome: "not-run" })
      const again = yield* Actor.spawn(Counter, "a")
      assert.strictEqual(yield* again.ask.Get(), 1, "what came before it in the batch is stored")
    }).pipe(Effect.provide(layer))
  )

  for (const how of ["evolve", "encode"] as const) {
    it.effect(`an event that cannot ${how} never reaches the journal`, () =>
      Effect.gen(function* () {
        const counter = yield* Actor.spawn(Counter, "a")
        const stopped = yield* Effect.flip(counter.ask.Break({ how }))
        assert.deepInclude(stopped, { reason: "crashed", outcome: "not-run" })
        const again = yield* Actor.spawn(Counter, "a")
        assert.strictEqual(yield* again.ask.Add({ n: 3 }), 3)
      }).pipe(Effect.provide(layer))
    )
  }

  it.effect("a failed effect ends it; the caller was answered, the event is stored", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Counter, "a")
      yield* counter.ask.Break({ how: "react" })
      assert.deepInclude(yield* counter.ended, { reason: "crashed" })
    }).pipe(Effect.provide(layer))
  )

  it.effect("a failed append is never resumed over", () =>
    Effect.gen(function* () {
      const { faults, journal } = makeHeld()
      faults.push(failure)
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      const stopped = yield* Effect.flip(counter.ask.Add({ n: 1 }))
      assert.deepInclude(stopped, { _tag: "Stopped", reason: "journal", outcome: "unknown" })
      const ended = yield* counter.ended
      assert.include(ended.detail, "planted")
      assert.strictEqual((yield* counter.state).sum, 0)
    })
  )

  it.effect("a second writer fences the first, which is told so and writes no more", () =>
    Effect.gen(function* () {
      const first = yield* Actor.spawn(Counter, "a")
      yield* first.ask.Add({ n: 1 })
      const elsewhere = Journal.of({ ...(yield* Journal) })
      const second = yield* Effect.provideService(Actor.spawn(Counter, "a"), Journal, elsewhere)
      const stopped = yield* Effect.flip(first.ask.Add({ n: 10 }))
      assert.deepInclude(stopped, { _tag: "Stopped", reason: "journal" })
      assert.include((yield* first.ended).detail, "replaced by writer 2")
      assert.strictEqual(yield* second.ask.Get(), 1)
    }).pipe(Effect.provide(layer))
  )

  it.effect("an interrupted ask leaves the actor as it is", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const counter = yield* Actor.spawn(Counter, "a").pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      const ask = yield* fork(counter.ask.Add({ n: 1 }))
      yield* Fiber.interrupt(ask)
      latch.openUnsafe()
      assert.strictEqual(yield* counter.ask.Get(), 1)
    })
  )

  it.effect("waiters for the end are all told", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Volatile, "a")
      const waiting = yield* Effect.forEach([1, 2, 3], () => fork(counter.ended))
      yield* counter.stop
      for (const waiter of waiting) {
        assert.deepInclude(yield* Fiber.join(waiter), { reason: "stopped" })
      }
    })
  )
})

describe("a decision of which one part would undo another", () => {
  const Odd = (decision: () => ReturnType<typeof decide.Hold>) =>
    Behavior.make("Counter", { ...spec, decide: { ...decide, Resume: decision }, evolve, react })

  it.effect.each([
    ["first", () => Decision.thenUnstash(Decision.stop)],
    ["last", () => Decision.thenStop(Decision.thenUnstash(Decision.none))]
  ] as const)(
    "8: ends the actor, also where it says so %s, and answers what was put aside",
    ([, end]) =>
      Effect.gen(function* () {
        const counter = yield* Actor.spawn(Odd(end), "a")
        yield* counter.ask.Hold()
        const stashed = yield* fork(Effect.flip(counter.ask.Add({ n: 1 })))
        yield* counter.ask.Resume()
        assert.deepInclude(yield* counter.ended, { reason: "stopped" })
        assert.deepInclude(yield* Fiber.join(stashed), { _tag: "Stopped", outcome: "not-run" })
      }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("7: is refused where a caller is to wait and to hear of the state", () =>
    Effect.gen(function* () {
      const both = () =>
        Decision.none.pipe(
          Decision.thenWait(Decision.pending<void>("key")),
          Decision.thenReply(() => undefined)
        )
      assert.throws(both, TypeError, /gets no other reply/)
      const counter = yield* Actor.spawn(
        Behavior.make("Counter", {
          ...spec,
          onDefect: "refuse",
          decide: { ...decide, Resume: both },
          evolve,
          react
        }),
        "a"
      )
      assert.deepInclude(yield* Effect.flip(counter.ask.Resume()), { reason: "defect" })
      assert.strictEqual(yield* counter.ask.Add({ n: 1 }), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

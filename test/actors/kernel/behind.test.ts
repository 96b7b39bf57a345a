/**
 * Goal: of events that are written behind, only replies come before they are stored: effects,
 * watchers and the state that others see wait, in order, and never hear of one that is not stored.
 * Method: a journal whose appends wait for a latch, or fail when they are let through.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { decide, evolve, spec } from "./counter.ts"
import { failure, fork, makeHeld, settle } from "./journals.ts"

/** Logs what each reaction sees, and what watchers hear. */
const logging = (log: Array<string>) =>
  Behavior.make("Counter", {
    ...spec,
    decide,
    evolve,
    writtenBehind: ["Noted"],
    react: {
      Noted: ({ text }, self) =>
        Effect.sync(() => log.push(`react ${text}, ${self.state().notes} notes`)),
      Added: ({ n }) => Effect.sync(() => log.push(`react ${n}`))
    }
  })

const held = Effect.gen(function* () {
  const { faults, journal, latch, store } = makeHeld()
  const supervisor = yield* Supervisor.make()
  const log: Array<string> = []
  const spawn = supervisor.spawn(logging(log), "a")
  const counter = yield* Effect.provideService(spawn, Journal, journal)
  const heard: Array<string> = []
  yield* fork(Stream.runForEach(counter.events, ({ _tag }) => Effect.sync(() => heard.push(_tag))))
  const shown: Array<number> = []
  const states = Stream.runForEach(counter.states, ({ notes }) =>
    Effect.sync(() => shown.push(notes))
  )
  yield* fork(states)
  yield* settle
  latch.closeUnsafe()
  return { counter, faults, heard, latch, log, shown, store }
})

describe("an event that is written behind", () => {
  it.effect(
    "B4: is shown and has its effects once it is stored; its caller is answered before",
    () =>
      Effect.gen(function* () {
        const { counter, heard, latch, log, shown } = yield* held
        yield* counter.ask.Note({ text: "one" })
        yield* counter.ask.Note({ text: "two" })
        yield* settle
        assert.deepStrictEqual([log, heard, shown], [[], [], [0]])
        assert.strictEqual((yield* counter.state).notes, 0)
        latch.openUnsafe()
        yield* settle
        assert.deepStrictEqual(log, ["react one, 1 notes", "react two, 2 notes"])
        assert.deepStrictEqual(
          [heard, shown],
          [
            ["Noted", "Noted"],
            [0, 1, 2]
          ]
        )
        assert.strictEqual((yield* counter.state).notes, 2)
      })
  )

  it.effect("B4: is not shown with the append before its", () =>
    Effect.gen(function* () {
      const { counter, heard, latch, log, shown } = yield* held
      yield* counter.ask.Note({ text: "one" })
      yield* counter.ask.Note({ text: "two" })
      yield* latch.release
      yield* settle
      assert.deepStrictEqual([log, heard, shown], [["react one, 1 notes"], ["Noted"], [0, 1]])
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(shown, [0, 1, 2])
    })
  )

  it.effect("B4: keeps its caller waiting when as many as the limit wait for the journal", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const Bounded = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        writtenBehind: ["Noted"],
        limits: { unwritten: 2 }
      })
      const counter = yield* Effect.provideService(Actor.spawn(Bounded, "a"), Journal, journal)
      latch.closeUnsafe()
      // The first one is with the journal already.
      for (const text of ["one", "two", "three"]) yield* counter.ask.Note({ text })
      const waits = yield* fork(counter.ask.Note({ text: "four" }))
      yield* settle
      assert.isUndefined(waits.pollUnsafe())
      latch.openUnsafe()
      assert.deepStrictEqual(yield* Fiber.await(waits), Exit.void)
      assert.strictEqual((yield* counter.state).notes, 4)
    })
  )

  it.effect("B4: comes before a promise that is decided after it, and is counted by it", () =>
    Effect.gen(function* () {
      const { counter, heard, latch, log } = yield* held
      yield* counter.ask.Note({ text: "one" })
      const add = yield* fork(counter.ask.Add({ n: 5 }))
      yield* settle
      assert.deepStrictEqual(log, [])
      latch.openUnsafe()
      assert.strictEqual(yield* Fiber.join(add), 5)
      yield* settle
      assert.deepStrictEqual(log, ["react one, 1 notes", "react 5"])
      assert.deepStrictEqual(heard, ["Noted", "Added"])
      assert.deepInclude(yield* counter.state, { notes: 1, sum: 5 })
    })
  )

  it.effect("B4: is never shown and has no effects if its append fails", () =>
    Effect.gen(function* () {
      const { counter, faults, heard, latch, log, shown, store } = yield* held
      faults.push(failure)
      yield* counter.ask.Note({ text: "lost" })
      yield* counter.ask.Note({ text: "lost, too" })
      latch.openUnsafe()
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* counter.ask.Get()
      assert.deepStrictEqual([log, heard, shown], [[], [], [0]])
      assert.strictEqual((yield* counter.state).notes, 0)
      assert.deepInclude(yield* store.claim("Counter/a"), { last: 0 })
    })
  )

  it.effect("B4: may bring about messages while it is shown, and none of them is lost", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const answers: Array<number> = []
      let actor: { readonly ask: Actor.Of<typeof Chained>["ask"] } | undefined
      const Chained = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        writtenBehind: ["Noted"],
        react: {
          Noted: ({ text }): Effect.Effect<unknown> =>
            Effect.gen(function* () {
              if (text === "last" || actor === undefined) return
              yield* actor.ask.Note({ text: "last" })
              answers.push(yield* actor.ask.Add({ n: 1 }))
            }).pipe(Effect.orDie)
        }
      })
      const counter = yield* Effect.provideService(Actor.spawn(Chained, "a"), Journal, journal)
      actor = counter
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "one" })
      yield* counter.ask.Note({ text: "two" })
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(answers, [1, 2])
      assert.deepInclude(yield* counter.state, { notes: 4, sum: 2 })
    })
  )

  it.effect("B4: does not answer a promise that its effect asks for until that is stored", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const answers: Array<number> = []
      let actor: { readonly ask: Actor.Of<typeof Asking>["ask"] } | undefined
      const Asking = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        writtenBehind: ["Noted"],
        react: {
          Noted: (): Effect.Effect<unknown> =>
            Effect.suspend(() => {
              latch.closeUnsafe()
              return actor === undefined ? Effect.void : actor.ask.Add({ n: 1 })
            }).pipe(
              Effect.map((sum) => answers.push(Number(sum))),
              Effect.orDie
            )
        }
      })
      const counter = yield* Effect.provideService(Actor.spawn(Asking, "a"), Journal, journal)
      actor = counter
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "one" })
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(answers, [])
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(answers, [1])
    })
  )

  it.effect("B4: whose effect fails crashes the actor, and what is decided is stored", () =>
    Effect.gen(function* () {
      const { journal, latch, store } = makeHeld()
      const log: Array<string> = []
      const Failing = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        writtenBehind: ["Noted"],
        react: {
          Noted: ({ text }) =>
            text === "bad" ? Effect.die("bad") : Effect.sync(() => log.push(text))
        }
      })
      const supervisor = yield* Supervisor.make()
      const spawn = supervisor.spawn(Failing, "a")
      const counter = yield* Effect.provideService(spawn, Journal, journal)
      latch.closeUnsafe()
      for (const text of ["good", "bad", "behind it"]) yield* counter.ask.Note({ text })
      latch.openUnsafe()
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* counter.ask.Get()
      assert.deepStrictEqual(log, ["good"])
      assert.strictEqual((yield* counter.state).notes, 3)
      assert.deepInclude(yield* store.claim("Counter/a"), { last: 3 })
    })
  )

  for (const stored of [true, false]) {
    it.effect(
      `B4: answers who waits for it ${stored ? "once it is stored" : "with a failure"}`,
      () =>
        Effect.gen(function* () {
          const { faults, journal, latch } = makeHeld()
          const key = Decision.pending<void>("noted")
          const Waiting = Behavior.make("Counter", {
            ...spec,
            decide: {
              ...decide,
              Hold: () =>
                Decision.persist({ _tag: "Noted" as const, text: "" }).pipe(Decision.thenWait(key)),
              Resume: () => Decision.none.pipe(Decision.thenSettle(key, Exit.void))
            },
            evolve,
            writtenBehind: ["Noted"]
          })
          const supervisor = yield* Supervisor.make()
          const spawn = supervisor.spawn(Waiting, "a")
          const counter = yield* Effect.provideService(spawn, Journal, journal)
          latch.closeUnsafe()
          if (!stored) faults.push(failure)
          const waits = yield* fork(counter.ask.Hold())
          yield* counter.ask.Resume()
          yield* settle
          assert.isUndefined(waits.pollUnsafe())
          latch.openUnsafe()
          const exit = yield* Fiber.await(waits)
          if (stored) assert.deepStrictEqual(exit, Exit.void)
          else if (Exit.isFailure(exit)) {
            assert.deepInclude(Cause.squash(exit.cause), { reason: "journal", outcome: "unknown" })
          } else assert.fail("it is not stored")
        })
    )
  }
})

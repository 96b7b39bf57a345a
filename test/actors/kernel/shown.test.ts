/**
 * Goal: an actor whose resources end with its process shows what it has decided before that is
 * stored, in order (T17); if it cannot be stored, the effects end and no caller waits for ever.
 * Method: a journal whose appends wait for a latch, or fail when they are let through. The twins
 * for events that are shown once they are stored are in `behind.test.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { decide, evolve, spec } from "./counter.ts"
import { failure, fork, makeHeld, settle } from "./journals.ts"

const waiting = Decision.pending<number, never>("noted")

/** Logs its effects and their ends; `Get` waits until a note is taken. */
const recorded = Effect.gen(function* () {
  const { faults, journal, latch, store } = makeHeld()
  const log: Array<string> = []
  const Recorded = Behavior.make("Counter", {
    ...spec,
    decide: { ...decide, Get: () => Decision.none.pipe(Decision.thenWait(waiting)) },
    evolve,
    writtenBehind: ["Noted", "Added"],
    shown: "decided",
    react: {
      Noted: ({ text }, self) =>
        Effect.andThen(
          Effect.sync(() => log.push(`${text}, ${self.state().notes} notes`)),
          Effect.addFinalizer(() => Effect.sync(() => log.push(`${text} ends`)))
        )
    }
  })
  const supervisor = yield* Supervisor.make()
  const spawn = supervisor.spawn(Recorded, "a")
  const counter = yield* Effect.provideService(spawn, Journal, journal)
  latch.closeUnsafe()
  return { counter, faults, latch, log, store }
})

describe("an actor that shows what it has decided", () => {
  it.effect("T17: has its effects, its state and its replies before its events are stored", () =>
    Effect.gen(function* () {
      const { counter, latch, log, store } = yield* recorded
      yield* counter.ask.Note({ text: "one" })
      yield* counter.ask.Note({ text: "two" })
      assert.strictEqual(yield* counter.ask.Add({ n: 5 }), 5)
      yield* settle
      assert.deepStrictEqual(log, ["one, 1 notes", "two, 2 notes"])
      assert.deepInclude(yield* counter.state, { notes: 2, sum: 5 })
      assert.deepInclude(yield* store.claim("Counter/b"), { last: 0 })
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(log, ["one, 1 notes", "two, 2 notes"])
      assert.deepInclude(yield* store.claim("Counter/a"), { last: 3 })
    })
  )

  it.effect("T17: ends its effects and fails those who wait if an append fails", () =>
    Effect.gen(function* () {
      const { counter, faults, latch, log } = yield* recorded
      faults.push(failure)
      yield* counter.ask.Note({ text: "lost" })
      const waits = yield* fork(Effect.exit(counter.ask.Get()))
      yield* settle
      assert.isUndefined(waits.pollUnsafe())
      latch.openUnsafe()
      yield* settle
      yield* TestClock.adjust("1 second")
      const exit = yield* Fiber.join(waits)
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(Exit.isFailure(exit) && exit.cause), "Stopped")
      assert.deepStrictEqual(log, ["lost, 1 notes", "lost ends"])
      assert.strictEqual((yield* counter.state).notes, 0)
      yield* counter.ask.Note({ text: "kept" })
      yield* settle
      assert.strictEqual((yield* counter.state).notes, 1)
    })
  )
})

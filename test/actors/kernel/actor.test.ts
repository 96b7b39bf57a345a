/**
 * Goal: an actor decides, stores, evolves and reacts as its behavior says, and answers with the
 * types of its commands. Method: a door on a synchronous and an asynchronous journal, on the test
 * clock.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import { AlreadyOpen, Door } from "./door.ts"
import { journals } from "./journals.ts"

describe.each(journals)("an actor on %s", (_, journal) => {
  it.effect("answers, stores and recovers", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const door = yield* Actor.spawn(Door, "front")
          yield* door.ask.Open({ by: "ann" })
          assert.deepStrictEqual(
            yield* Effect.flip(door.ask.Open({ by: "ben" })),
            new AlreadyOpen({ by: "ann" })
          )
          yield* door.ask.Close()
          assert.strictEqual(yield* door.ask.Visits(), 1)
        })
      )
      const again = yield* Actor.spawn(Door, "front")
      assert.strictEqual(yield* again.ask.Visits(), 1)
    }).pipe(Effect.provide(journal))
  )

  it.effect("runs its effects and shows its states", () =>
    Effect.gen(function* () {
      const door = yield* Actor.spawn(Door, "front")
      const states = yield* door.states.pipe(
        Stream.take(3),
        Stream.map((state) => state._tag),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* door.ask.Open({ by: "ann" })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(states), ["Shut", "Open", "Shut"])
    }).pipe(Effect.provide(journal))
  )
})

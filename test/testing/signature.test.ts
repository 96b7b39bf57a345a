/**
 * Goal: shrinking does not slip from the failure of one process to that of another, which fails
 * with the same error at the same place.
 * Method: `b` always fails, but late; `a` fails before it in the runs that pause it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Faults, Sim } from "../../src/testing/index.ts"

/** Fails when a sleep of 50 ms has taken longer than `limit`. */
const punctual = Effect.fn("punctual")(function* (limit: number) {
  const begin = yield* Clock.currentTimeMillis
  yield* Effect.sleep(50)
  if ((yield* Clock.currentTimeMillis) - begin > limit) {
    return yield* Effect.die(new Error("too late"))
  }
})

const program = Effect.gen(function* () {
  const a = yield* Sim.process("a", punctual(50))
  yield* Sim.process("b", Effect.andThen(Effect.sleep(5000), punctual(0)))
  yield* Faults.random({ pause: a, within: "40 millis" })
  yield* Effect.sleep(10_000)
})

describe("the failure of a process", () => {
  it.effect("is not taken for that of another one while the run is shrunk", () =>
    Effect.gen(function* () {
      let compared = 0
      for (let from = 1; from <= 100 && compared < 3; from++) {
        const settings = { seeds: 1, from, timerSlack: 0 }
        const drawn = yield* Sim.explore(program, { ...settings, shrinkAttempts: 0 })
        if (!drawn.failure!.message.startsWith("process a")) continue
        const { failure } = yield* Sim.explore(program, settings)
        assert.strictEqual(failure!.message, drawn.failure!.message)
        assert.strictEqual(failure!.plan.length, 1, "the pause that `a` needs is left")
        compared++
      }
      assert.isAbove(compared, 0)
    })
  )
})

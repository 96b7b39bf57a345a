import { performance } from "node:perf_hooks"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"

/** Less than a test's own timeout, so that a wait in vain is reported by its name. */
const patienceMs = 40_000

/** Waits until a condition holds. On a busy machine too only what never happens takes so long. */
export const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    const since = performance.now()
    while (!(yield* condition)) {
      if (performance.now() - since > patienceMs) return assert.fail(`in vain: ${what}`)
      yield* Effect.sleep("5 millis")
    }
  })

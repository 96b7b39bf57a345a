/** Waits for what no event reports: the kernel's own books. */
import assert from "node:assert/strict"
import * as Effect from "effect/Effect"

/** Looks again and again until something is true. */
export const until = Effect.fnUntraced(function* (what: string, isTrue: Effect.Effect<boolean>) {
  for (let tries = 0; tries < 1200; tries++) {
    if (yield* isTrue) return
    yield* Effect.sleep("50 millis")
  }
  assert.fail(`in vain: ${what}`)
})

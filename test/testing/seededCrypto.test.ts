/**
 * Goal: seeded random bytes go where the platform's would. Method: views of a larger buffer.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Sim } from "../../src/testing/index.ts"

describe("seeded random bytes", () => {
  it.live("fill a view, and no byte of its buffer beside it", () =>
    Effect.gen(function* () {
      const program = Effect.sync(() => {
        const buffer = new Uint8Array(24)
        crypto.getRandomValues(new Uint32Array(buffer.buffer, 8, 2))
        return buffer
      })
      const { exit } = yield* Sim.run(program, { seed: 1, ambient: "simulate" })
      if (exit._tag === "Failure") return assert.fail(`${exit.cause}`)
      const filled = Array.from(exit.value, (byte, index) => (byte === 0 ? -1 : index))
      assert.deepStrictEqual(
        filled.filter((index) => index >= 0),
        [8, 9, 10, 11, 12, 13, 14, 15]
      )
    })
  )
})

/**
 * Goal: a process that pauses itself does nothing more until it is resumed.
 * Method: it logs one number an operation, and pauses itself after the first.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { Sim } from "../../src/testing/index.ts"

describe("a process that pauses itself", () => {
  it.effect("runs not one more operation before it is resumed", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const log: Array<number> = []
        const pause = yield* Ref.make<Effect.Effect<void>>(Effect.void)
        const process = yield* Sim.process(
          "sleepy",
          Effect.gen(function* () {
            yield* Effect.sleep(1)
            log.push(1)
            yield* Effect.flatten(Ref.get(pause))
            for (const n of [2, 3]) yield* Effect.sync(() => log.push(n))
            return yield* Effect.never
          })
        )
        yield* Ref.set(pause, process.pause)
        yield* Effect.sleep(100)
        assert.deepStrictEqual(log, [1])
        yield* process.resume
        yield* Effect.sleep(1)
        assert.deepStrictEqual(log, [1, 2, 3])
      })
      const report = yield* Sim.explore(program, { seeds: 50, checkShare: 0.2, timerSlack: 0 })
      assert.strictEqual(report.failure?.message, undefined)
    })
  )
})

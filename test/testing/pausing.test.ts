/**
 * Goal: a process that is paused, by itself or twice, does nothing more until it is resumed, and
 * then loses nothing. Method: it logs numbers, some of them due while it is paused.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { Sim } from "../../src/testing/index.ts"

/** Explores a program under seeds; its assertions hold in all of them. */
const holds = Effect.fnUntraced(function* (program: Effect.Effect<void, unknown, Scope.Scope>) {
  const report = yield* Sim.explore(program, { seeds: 50, checkShare: 0.2, timerSlack: 0 })
  assert.strictEqual(report.failure?.message, undefined)
})

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
      yield* holds(program)
    })
  )
})

describe("a process that is paused twice", () => {
  it.effect("goes on with one resume, and has lost nothing", () =>
    holds(
      Effect.gen(function* () {
        const log: Array<number> = []
        const process = yield* Sim.process(
          "sleepy",
          Effect.gen(function* () {
            for (const n of [1, 2, 3]) {
              yield* Effect.sleep(10)
              log.push(n)
            }
            return yield* Effect.never
          })
        )
        yield* Effect.sleep(15)
        yield* process.pause
        // Its timer is due while it is paused.
        yield* Effect.sleep(10)
        yield* process.pause
        yield* process.resume
        yield* Effect.sleep(15)
        assert.deepStrictEqual(log, [1, 2, 3])
      })
    )
  )
})

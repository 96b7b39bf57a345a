/**
 * Goal: a run that does not repeat is found, and the report names what makes it so.
 * Method: programs that use a variable outside of themselves in ways that change no step.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Sim, SimError } from "../src/testing/index.ts"

const notDeterministic = Effect.fnUntraced(function* (program: Effect.Effect<unknown>) {
  const report = yield* Sim.explore(program, { seeds: 5 })
  const error = report.failure && Cause.squash(report.failure.cause)
  assert.instanceOf(error, SimError.NotDeterministic)
  assert.match(error.message, /a variable, cache or counter of a module/)
  return error
})

describe("the failure that is shown", () => {
  it.effect("has the stack that runs which are only judged do without", () =>
    Effect.gen(function* () {
      const stacks: Array<string> = []
      const program = Effect.sync(() => {
        const error = new Error("broken")
        stacks.push(error.stack ?? "")
        throw error
      })
      const report = yield* Sim.explore(program, { seeds: 1 })
      const error = report.failure && Cause.squash(report.failure.cause)
      assert.instanceOf(error, Error)
      assert.match(error.stack ?? "", /simulation-repeats\.test\.ts/)
      assert.strictEqual(stacks[0], "Error: broken")
      const run = yield* Sim.run(program, { seed: 1 })
      assert.strictEqual(run.exit._tag, "Failure")
      assert.match(stacks.at(-1)!, /simulation-repeats\.test\.ts/)
      assert.isAbove(Error.stackTraceLimit, 0)
    })
  )
})

describe("state that outlives a run", () => {
  it.effect("S2: is found by the result of a fiber", () =>
    Effect.gen(function* () {
      let next = 0
      const numbered = Effect.sync(() => next++)
      yield* notDeterministic(Effect.asVoid(Effect.flatMap(Effect.forkChild(numbered), Fiber.join)))
      yield* notDeterministic(
        Effect.ignore(Effect.flatMap(Effect.forkChild(Effect.flip(numbered)), Fiber.join))
      )
    })
  )

  it.effect("S2: is found by a line of the log", () =>
    Effect.gen(function* () {
      let next = 0
      yield* notDeterministic(Effect.suspend(() => Effect.log(`number ${next++}`)))
    })
  )

  it.effect("S2: is found by a cache that the first run fills, at the step that differs", () =>
    Effect.gen(function* () {
      const cache = new Map<string, string>()
      const lookup = Effect.gen(function* () {
        yield* Effect.yieldNow
        if (cache.has("key")) return
        yield* Effect.yieldNow
        cache.set("key", "value")
      })
      const error = yield* notDeterministic(lookup)
      assert.isBelow(error.step, 5)
    })
  )

  it.effect("S2: the twin that makes its state inside of the program passes", () =>
    Effect.gen(function* () {
      const program = Effect.suspend(() => {
        let next = 0
        const numbered = Effect.sync(() => next++)
        return Effect.andThen(Effect.forkChild(numbered), Effect.log(`number ${next}`))
      })
      assert.isUndefined((yield* Sim.explore(program, { seeds: 5, checkShare: 1 })).failure)
    })
  )
})

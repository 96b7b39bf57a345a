/**
 * Goal: a run that does not repeat is found, and the report names what makes it so.
 * Method: programs that use a variable outside of themselves in ways that change no step.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as HashMap from "effect/HashMap"
import * as Random from "effect/Random"
import * as Fiber from "effect/Fiber"
import { Sim, SimError } from "../../src/testing/index.ts"

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
      assert.match(error.stack ?? "", /repeats\.test\.ts/)
      assert.strictEqual(stacks[0], "Error: broken")
      const run = yield* Sim.run(program, { seed: 1 })
      assert.strictEqual(run.exit._tag, "Failure")
      assert.match(stacks.at(-1)!, /repeats\.test\.ts/)
      assert.isAbove(Error.stackTraceLimit, 0)
    })
  )
})

describe("what is no state of the program", () => {
  const repeats = Effect.fnUntraced(function* (
    program: Effect.Effect<unknown, unknown>,
    settings: Sim.Settings = {}
  ) {
    const report = yield* Sim.explore(program, { seeds: 5, checkShare: 1, ...settings })
    assert.isUndefined(report.failure && Cause.pretty(report.failure.cause))
  })

  it.effect("A4: a stack that is logged, returned or thrown repeats", () =>
    Effect.gen(function* () {
      const stack = Effect.sync(() => String(new Error("broken").stack))
      yield* repeats(Effect.tap(stack, Effect.log))
      const pretty = Effect.catchCause(Effect.die(new Error("broken")), (cause) =>
        Effect.logError(Cause.pretty(cause))
      )
      yield* repeats(pretty)
      const report = yield* Sim.explore(Effect.flatMap(stack, Effect.fail), { seeds: 5 })
      assert.isTrue(report.deterministic)
    })
  )

  it.effect("A5: any value can be logged", () =>
    Effect.gen(function* () {
      const cyclic: { self?: object } = {}
      cyclic.self = cyclic
      const broken = {
        toJSON: () => {
          throw new Error("no JSON")
        }
      }
      const logged = Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Effect.void)
        yield* Effect.log("got", { n: 1n }, cyclic, fiber, broken, Symbol("s"), null)
      })
      yield* repeats(logged)
      // A failing run is recorded, and its lines are made of the values.
      const report = yield* Sim.explore(Effect.andThen(logged, Effect.fail("broken")), { seeds: 1 })
      assert.strictEqual(report.failure?.message, "broken")
    })
  )

  it.effect("A6: keys that are hashed by identity repeat, whatever earlier runs have hashed", () =>
    Effect.gen(function* () {
      const shared = () => undefined
      const program = Effect.gen(function* () {
        const keys = [shared, () => 1, () => 2, () => 3, () => 4, () => 5]
        const map = HashMap.fromIterable(keys.map((key, index) => [key, index] as const))
        yield* Effect.log(`${yield* Random.next} ${Array.from(HashMap.values(map)).join()}`)
        return Equal.equals({ a: () => 1 }, { a: () => 1 })
      })
      yield* repeats(program)
      const alone = yield* Sim.run(
        Effect.suspend(() => program.pipe(Effect.andThen(Random.next))),
        {
          seed: 9
        }
      )
      const again = yield* Sim.run(
        Effect.suspend(() => program.pipe(Effect.andThen(Random.next))),
        {
          seed: 9
        }
      )
      assert.deepStrictEqual(alone.exit, again.exit)
    })
  )

  it.effect("A7: fibers are numbered by the run", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Effect.withFiber(({ id }) => Effect.log(`in ${id}`)))
        yield* Effect.log(`fiber ${fiber.id}`)
        return yield* Fiber.join(fiber)
      })
      yield* repeats(program)
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

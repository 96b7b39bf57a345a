/**
 * Goal: a failing run is made smaller without slipping to another bug, in its faults, its order and
 * its inputs, within the limits. Method: programs whose smallest failing run is known.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { Faults, Sim } from "../../src/testing/index.ts"
import { runOnce } from "../../src/testing/internal/sim/runOnce.ts"
import { shapeOf } from "../../src/testing/internal/sim/signature.ts"

const limits = { maxSteps: 1e6, maxMillis: 1e6, maxRealMillis: 1e6, timerSlackMillis: 10 }

const increment = Effect.fn("increment")(function* (ref: Ref.Ref<number>) {
  const before = yield* Ref.get(ref)
  yield* Ref.set(ref, before + 1)
})

const lostUpdate = Effect.gen(function* () {
  const ref = yield* Ref.make(0)
  yield* Effect.all([increment(ref), increment(ref), increment(ref)], { concurrency: "unbounded" })
  const total = yield* Ref.get(ref)
  if (total !== 3) return yield* Effect.fail(`lost: ${total}`)
})

describe("shrinking", () => {
  it.effect("S4: leaves the fewest preemptions, and says where they were", () =>
    Effect.gen(function* () {
      for (const from of [1, 50, 100]) {
        const { failure } = yield* Sim.explore(lostUpdate, { seeds: 1000, from })
        assert.strictEqual(failure!.preemptions.length, 1)
        assert.isAbove(failure!.drawnPreemptions, 1)
        const [{ fiber, preemption, source }] = failure!.preemptions as [Sim.ShownPreemption]
        assert.strictEqual(preemption._tag, "Yield")
        assert.match(fiber, /increment/)
        assert.strictEqual(source, "yield* Ref.set(ref, before + 1)")
      }
    })
  )

  it.effect("S4: gives the same again, within its limits", () =>
    Effect.gen(function* () {
      const settings = { seeds: 1000 }
      const [one, two] = [
        (yield* Sim.explore(lostUpdate, settings)).failure!,
        (yield* Sim.explore(lostUpdate, settings)).failure!
      ]
      assert.deepStrictEqual(two.schedule, one.schedule)
      assert.strictEqual(two.shrinkAttempts, one.shrinkAttempts)
      const none = yield* Sim.explore(lostUpdate, { ...settings, shrinkAttempts: 0 })
      assert.strictEqual(none.failure!.shrinkAttempts, 0)
      const few = yield* Sim.explore(lostUpdate, { ...settings, shrinkSteps: 1 })
      assert.strictEqual(few.failure!.shrinkAttempts, 1)
    })
  )

  /** One failure needs both crashes; another one, which is easier to reach, needs `b`'s only. */
  const twoBugs = (fail: (crashes: string) => Effect.Effect<never, unknown>) =>
    Effect.gen(function* () {
      const [a, b] = [
        yield* Sim.process("a", Effect.sleep(100)),
        yield* Sim.process("b", Effect.sleep(100))
      ]
      yield* Faults.install([
        { _tag: "Crash", process: "a", at: { millis: 5 }, restartAfter: 5 },
        { _tag: "Crash", process: "b", at: { millis: 5 }, restartAfter: 5 }
      ])
      yield* Effect.sleep(200)
      const crashes = `${(yield* a.starts) - 1}${(yield* b.starts) - 1}`
      if (crashes === "11") return yield* fail(crashes)
      if (crashes === "01") return yield* fail(crashes)
    })

  it.effect("S4: does not slip to a failure with another message", () =>
    Effect.gen(function* () {
      const names: Record<string, string> = { "11": "both orders are lost", "01": "one is late" }
      const program = twoBugs((crashes) => Effect.die(new Error(names[crashes])))
      const { failure } = yield* Sim.explore(program, { seeds: 1 })
      assert.strictEqual(failure!.message, "both orders are lost")
      assert.strictEqual(failure!.plan.length, 2)
    })
  )

  it.effect("S4: does not slip to the same message at another place", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const crashes = yield* Effect.flip(twoBugs(Effect.fail))
        if (crashes === "11") return yield* Effect.fail("it is wrong")
        return yield* Effect.fail("it is wrong")
      })
      const { failure } = yield* Sim.explore(program, { seeds: 1 })
      assert.strictEqual(failure!.plan.length, 2)
    })
  )

  it.effect("S4: takes the same failure with other numbers for the same", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const crashes = yield* Effect.flip(twoBugs(Effect.fail))
        return yield* Effect.fail(`wrong after ${String(crashes)} crashes`)
      })
      const { failure } = yield* Sim.explore(program, { seeds: 1 })
      assert.isBelow(failure!.plan.length, 2)
    })
  )

  it("S4: the shape of a message has no numbers, ids and times", () => {
    const id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    assert.strictEqual(shapeOf(`order ${id} of [1, -2.5, 3n]`), "order # of [#]")
    assert.strictEqual(shapeOf("at 2024-05-06T07:08:09.010Z, seed 0x1f"), "at #, seed #")
    assert.strictEqual(shapeOf("key deadbeef01 in 12.5 ms"), "key # in # ms")
    assert.strictEqual(shapeOf("a defaced facade"), "a defaced facade")
  })

  it.effect("S4: makes drawn inputs smaller", () =>
    Effect.gen(function* () {
      const Amounts = Schema.Array(Schema.Int)
      const program = Effect.gen(function* () {
        const amounts = yield* Sim.draw(Amounts)
        yield* Effect.forEach(amounts, () => Effect.yieldNow, { concurrency: 2 })
        if (amounts.some((amount) => amount > 5)) return yield* Effect.fail("too much")
      })
      const { failure } = yield* Sim.explore(program, { seeds: 100 })
      assert.deepStrictEqual(failure!.inputs, [[6]])
      assert.deepStrictEqual(failure!.schedule, [])
    })
  )

  it.effect("takes one fault in place of several where that fails alike", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        let [isCritical, wasCritical] = [false, false]
        const work = Effect.gen(function* () {
          if (isCritical) wasCritical = true
          isCritical = true
          yield* Effect.yieldNow
          isCritical = false
          yield* Effect.sleep(100)
        })
        const worker = yield* Sim.process("worker", work)
        yield* Effect.sleep(500)
        const isLost = wasCritical || (yield* worker.starts) === 3
        if (isLost) return yield* Effect.fail("lost")
      })
      const crash = (millis: number) =>
        ({ _tag: "Crash", process: "worker", at: { millis }, restartAfter: 5 }) as const
      const settings = { seeds: 1, schedule: [], plan: [crash(20), crash(50)] }
      const { failure } = yield* Sim.explore(program, settings)
      assert.strictEqual(failure!.plan.length, 1)
      assert.property(failure!.plan[0], "at")
      assert.deepStrictEqual(failure!.drawn, settings.plan)
    })
  )

  it.effect("tries again what a smaller input has made unnecessary", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const worker = yield* Sim.process("worker", Effect.sleep(100))
        const amount = yield* Sim.draw(Schema.Int)
        yield* Effect.sleep(50)
        const isDown = !(yield* worker.isRunning)
        if (amount > 5 && (isDown || amount === 6)) return yield* Effect.fail("too much")
      })
      const plan = [{ _tag: "Crash", process: "worker", at: { millis: 0 } }] as const
      const { failure } = yield* Sim.explore(program, { seeds: 100, schedule: [], plan })
      assert.deepStrictEqual(failure!.inputs, [6])
      assert.deepStrictEqual(failure!.plan, [])
      assert.isUndefined(failure!.shrinkSpent)
    })
  )

  it.effect("makes each of several inputs smaller, in the size that it was drawn in", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const amount = yield* Sim.draw(Schema.Int)
        const list = yield* Sim.draw(Schema.Array(Schema.Int), { size: 60 })
        if (amount > 5 && list.length > 20) return yield* Effect.fail("too many")
      })
      const settings = { seeds: 100, schedule: [], shrinkAttempts: 5000, shrinkSteps: 1e6 }
      const { failure } = yield* Sim.explore(program, settings)
      const [amount, list] = failure!.inputs as [number, ReadonlyArray<number>]
      assert.deepStrictEqual([amount, list.length], [6, 21])
      assert.deepStrictEqual([...failure!.givenInputs.keys()], [0, 1])
    })
  )

  it.effect("leaves inputs that were given as they are", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const [first, second] = [yield* Sim.draw(Schema.Int), yield* Sim.draw(Schema.Int)]
        if (first > 5 && second > 5) return yield* Effect.fail("too much")
      })
      const inputs = new Map([[0, 40]])
      const { failure } = yield* Sim.explore(program, { seeds: 100, schedule: [], inputs })
      assert.deepStrictEqual(failure!.inputs, [40, 6])
    })
  )

  it.effect("ends when nothing can be left out", () =>
    Effect.gen(function* () {
      const always = Effect.fail("always")
      const { failure } = yield* Sim.explore(always, { seeds: 1, schedule: [] })
      assert.strictEqual(failure!.shrinkAttempts, 1)
      assert.isUndefined(failure!.shrinkSpent)
      assert.strictEqual(failure!.drawnPreemptions, 0)
      const drawn = yield* Sim.explore(lostUpdate, { seeds: 1000 })
      const { seed } = drawn.failure!
      const run = yield* runOnce(lostUpdate, { seed, ambient: "refuse", limits, track: true })
      assert.strictEqual(drawn.failure!.drawnPreemptions, run.script!.schedule().length)
    })
  )

  it.effect("ends at each of its limits, and names it", () =>
    Effect.gen(function* () {
      // A schedule that takes many runs to reduce.
      const long = Effect.andThen(Effect.repeat(Effect.yieldNow, { times: 20 }), lostUpdate)
      const ended = Effect.fnUntraced(function* (settings: Sim.Settings) {
        const { failure } = yield* Sim.explore(long, { seeds: 1000, shrinkSeeds: 0, ...settings })
        return [failure!.shrinkSpent, failure!.shrinkAttempts, failure!.seed] as const
      })
      const [, attempts, seed] = yield* ended({ shrinkAttempts: 3 })
      assert.strictEqual(attempts, 3)
      const { effort } = yield* runOnce(long, { seed, ambient: "refuse", limits })
      assert.deepStrictEqual((yield* ended({ shrinkSteps: 1 })).slice(0, 2), ["shrinkSteps", 1])
      const [spent, several] = yield* ended({ shrinkSteps: 5 * effort })
      assert.strictEqual(spent, "shrinkSteps")
      assert.isTrue(several > 1 && several < 20, `${several} attempts`)
      const late = yield* ended({ from: seed, timeout: 0 })
      assert.deepStrictEqual(late.slice(0, 2), ["timeout", 0])
    })
  )

  it.effect("S4: says which limit ended it among the drawn inputs", () =>
    Effect.gen(function* () {
      const program = Effect.flatMap(Sim.draw(Schema.Array(Schema.Int)), (amounts) =>
        amounts.length > 2 ? Effect.fail("too many") : Effect.void
      )
      const settings = { seeds: 100, schedule: [], shrinkAttempts: 5 }
      const { failure } = yield* Sim.explore(program, settings)
      assert.strictEqual(failure!.shrinkAttempts, 5)
      assert.strictEqual(failure!.shrinkSpent, "shrinkAttempts")
    })
  )
})

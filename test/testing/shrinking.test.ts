/**
 * Goal: a failing run is made smaller without slipping to another bug, in its faults, its order and
 * its inputs. Method: programs whose smallest failing run is known; a schedule that was written
 * down is given back and must make the same run.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { Faults, SavedRun, Sim, SimError } from "../../src/testing/index.ts"
import { runOnce } from "../../src/testing/internal/sim/runOnce.ts"
import { shapeOf } from "../../src/testing/internal/sim/signature.ts"

const limits = { maxSteps: 1e6, maxMillis: 1e6, maxRealMillis: 1e6, timerSlackMillis: 10 }
const ambient = "refuse"

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

/** Fibers that hand over to each other, with sleeps and two processes. */
const busy = Effect.gen(function* () {
  const queue = yield* Queue.bounded<string>(2)
  const gate = yield* Deferred.make<void>()
  const produce = Effect.fn("produce")(function* (name: string) {
    yield* Deferred.await(gate)
    for (let i = 0; i < 4; i++) {
      const pause = yield* Random.nextIntBetween(0, 3)
      yield* Effect.sleep(pause)
      yield* Queue.offer(queue, `${name}${i}`)
    }
  })
  yield* Sim.process("other", Effect.sleep(1).pipe(Effect.repeat({ times: 5 })))
  yield* Faults.install([{ _tag: "Pause", process: "other", at: { millis: 2 }, forMillis: 2 }])
  for (const name of ["a", "b", "c"]) yield* Effect.forkChild(produce(name))
  yield* Deferred.succeed(gate, undefined)
  for (let i = 0; i < 12; i++) {
    const value = yield* Queue.take(queue)
    yield* Sim.note(value)
  }
})

/** Fibers of two processes that could always run. */
const crowded = Effect.gen(function* () {
  const work = Effect.repeat(Effect.yieldNow, { times: 10 })
  const several = Effect.all([work, work, work], { concurrency: "unbounded" })
  const other = yield* Sim.process("other", several)
  yield* several
  yield* other.exit
})

const pause = { _tag: "Pause", process: "other", at: { step: 15 }, forMillis: 2 } as const

describe("a schedule as data", () => {
  for (const [what, program, given, preemptions] of [
    ["of fibers that wait for each other", busy, undefined, 1000],
    ["of a process that is paused when it could run", crowded, [pause], 500]
  ] as const) {
    it.effect(`S4: given back, it makes the same run ${what}, step by step`, () =>
      Effect.gen(function* () {
        let sum = 0
        for (let seed = 1; seed <= 100; seed++) {
          const options = { seed, ambient, limits, plan: given } as const
          const first = yield* runOnce(program, { ...options, track: true })
          const plain = yield* runOnce(program, options)
          assert.strictEqual(first.fingerprint, plain.fingerprint, `observed run of seed ${seed}`)
          const schedule = first.script!.schedule()
          const again = yield* runOnce(program, { ...options, plan: first.plan, schedule })
          assert.strictEqual(again.exit._tag, "Success")
          assert.strictEqual(again.fingerprint, first.fingerprint, `seed ${seed}`)
          sum += schedule.length
        }
        assert.isAbove(sum, preemptions)
      })
    )
  }

  it.effect("S4: an empty one is the default order, whatever the seed", () =>
    Effect.gen(function* () {
      const prints = new Set<number>()
      const program = Effect.forEach([1, 2, 3], () => Effect.yieldNow, { concurrency: 3 })
      for (let seed = 1; seed <= 20; seed++) {
        const { fingerprint } = yield* Sim.run(program, { seed, schedule: [] })
        prints.add(fingerprint)
      }
      assert.strictEqual(prints.size, 1)
    })
  )
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

describe("the comparison of two executions", () => {
  it.effect("S4: sees a step that differs although length and end are the same", () =>
    Effect.gen(function* () {
      let runs = 0
      const program = Effect.gen(function* () {
        yield* Effect.sleep(1)
        // One operation more in one execution than in the other, in the same step.
        if (runs++ % 2 === 0) yield* Effect.suspend(() => Effect.void)
        for (let i = 0; i < 20; i++) yield* Effect.sleep(1)
      })
      const report = yield* Sim.explore(program, { seeds: 3, checkShare: 1 })
      assert.isFalse(report.deterministic)
      const error = report.failure!.cause.reasons.find((reason) => reason._tag === "Fail")?.error
      assert.instanceOf(error, SimError.NotDeterministic)
      // Not only at the end: yields by force are steps too.
      assert.isBelow(error.step, 10)
    })
  )
})

describe("a saved run", () => {
  /** A file as it is read back. */
  const saved = (failure: Sim.Failure) => {
    const Text = Schema.fromJsonString(SavedRun.SavedRun)
    return Effect.flatMap(
      Schema.encodeEffect(Text)(SavedRun.fromFailure("a test", failure)),
      Schema.decodeEffect(Text)
    )
  }

  const transfer = Effect.fn("transfer")(function* (ref: Ref.Ref<number>, logged: boolean) {
    const before = yield* Ref.get(ref)
    if (logged) yield* Effect.log(`the balance is ${before}`)
    yield* Effect.sleep(5)
    yield* Ref.set(ref, before + 1)
  })

  /** Three kinds of failure: by order, by order and time, by a fault and a drawn input. */
  const programs = [
    (logged: boolean) =>
      Effect.gen(function* () {
        const ref = yield* Ref.make(0)
        if (logged) yield* Effect.log("begins")
        yield* Effect.all([increment(ref), increment(ref)], { concurrency: "unbounded" })
        if ((yield* Ref.get(ref)) !== 2) return yield* Effect.fail("lost")
      }),
    (logged: boolean) =>
      Effect.gen(function* () {
        const ref = yield* Ref.make(0)
        const late = transfer(ref, logged).pipe(Effect.delay(5))
        yield* Effect.all([transfer(ref, logged), late], { concurrency: "unbounded" })
        if ((yield* Ref.get(ref)) !== 2) return yield* Effect.fail("lost")
      }),
    (logged: boolean) =>
      Effect.gen(function* () {
        const count = yield* Sim.draw(
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))
        )
        const worker = yield* Sim.process("worker", Effect.sleep("1 second"))
        yield* Faults.random({ crash: "worker", pause: "worker", within: "1 second" })
        if (logged) yield* Effect.log("waits")
        yield* worker.exit
        if ((yield* worker.starts) > 1 && count > 2) return yield* Effect.fail("done twice")
      })
  ]

  it.effect("S6: of 100 failing seeds, nearly all fail still after one more log line", () =>
    Effect.gen(function* () {
      let [failing, still] = [0, 0]
      for (const program of programs) {
        let found = 0
        for (let seed = 1; seed <= 2000 && found < 34; seed++) {
          const { failure } = yield* Sim.explore(program(false), { seeds: 1, from: seed })
          if (failure === undefined) continue
          found++
          const run = yield* saved(failure)
          const same = yield* Sim.explore(program(false), SavedRun.settingsOf(run))
          assert.strictEqual(same.failure?.message, failure.message)
          assert.isUndefined(SavedRun.changed(run, same))
          const logged = yield* Sim.explore(program(true), SavedRun.settingsOf(run))
          if (logged.failure?.message === failure.message) still++
          assert.match(SavedRun.changed(run, logged) ?? "", /the program has changed/)
        }
        failing += found
      }
      assert.isAtLeast(failing, 100)
      assert.isAtLeast(still / failing, 0.95, `${still} of ${failing}`)
    })
  )
})

describe("B11: the failure that is looked for", () => {
  const cases: ReadonlyArray<readonly [name: string, deep: unknown, easy: unknown]> = [
    ["message", new Error("status 500"), new Error("status 404")],
    ["text of a field", { kind: "deep", n: 1 }, { kind: "easy", n: 1 }],
    ["code", { code: 500 }, { code: 404 }]
  ]
  for (const [name, deep, easy] of cases) {
    it.live(`is told from another at the same place by its ${name}`, () =>
      Effect.gen(function* () {
        const program = Effect.gen(function* () {
          const ref = yield* Ref.make(0)
          const add = Effect.gen(function* () {
            const before = yield* Ref.get(ref)
            yield* Effect.yieldNow
            yield* Ref.set(ref, before + 1)
          })
          yield* Effect.all([add, add, add], { concurrency: "unbounded" })
          const total = yield* Ref.get(ref)
          if (total < 3) return yield* Effect.fail(total === 1 ? deep : easy)
        })
        for (let from = 1; from < 60; from++) {
          const settings = { seeds: 1, from, checkShare: 0 }
          const run = yield* Sim.run(program, { seed: from })
          if (run.exit._tag === "Success") continue
          const report = yield* Sim.explore(program, settings)
          assert.strictEqual(Cause.squash(report.failure!.cause), Cause.squash(run.exit.cause))
        }
      })
    )
  }
})

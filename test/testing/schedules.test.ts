/**
 * Goal: the schedule of a run is data: given back, it makes the same run, and a saved one finds its
 * place in a program that has changed a little.
 * Method: programs of many fibers under many seeds, each run again from what was written down.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { Faults, SavedRun, Sim, SimError } from "../../src/testing/index.ts"
import { runOnce } from "../../src/testing/internal/sim/runOnce.ts"

const limits = { maxSteps: 1e6, maxMillis: 1e6, maxRealMillis: 1e6, timerSlackMillis: 10 }
const ambient = "refuse"

const increment = Effect.fn("increment")(function* (ref: Ref.Ref<number>) {
  const before = yield* Ref.get(ref)
  yield* Ref.set(ref, before + 1)
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

  it.effect("S1: makes only those timers late that it names, whatever the seed draws", () =>
    Effect.gen(function* () {
      const program = Effect.andThen(Effect.sleep(5), Clock.currentTimeMillis)
      const drawn = new Set<unknown>()
      for (let seed = 1; seed <= 20; seed++) {
        const given = yield* Sim.run(program, { seed, schedule: [] })
        assert.deepStrictEqual(given.exit, Exit.succeed(5), `seed ${seed}`)
        const { exit } = yield* Sim.run(program, { seed })
        drawn.add(Exit.isSuccess(exit) ? exit.value : exit)
      }
      assert.isAbove(drawn.size, 1)
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

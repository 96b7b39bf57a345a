/**
 * Goal: timers may be late, as real ones are, never early and never by more than the setting says;
 * faults strike in order.
 * Method: a race that needs a late timer, the times at which many sleepers wake, and a list of
 * faults that were added in another order.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { Sim } from "../../src/testing/index.ts"
import { FaultSchedule } from "../../src/testing/internal/sim/faultSchedule.ts"

/** Reads, works for 1 ms and writes, after a start of its own. */
const increment = (ref: Ref.Ref<number>, start: number) =>
  Effect.gen(function* () {
    yield* Effect.sleep(start)
    const before = yield* Ref.get(ref)
    yield* Effect.sleep(1)
    yield* Ref.set(ref, before + 1)
  })

const fiveApart = Effect.gen(function* () {
  const ref = yield* Ref.make(0)
  yield* Effect.all([increment(ref, 5), increment(ref, 10)], { concurrency: "unbounded" })
  const total = yield* Ref.get(ref)
  if (total !== 2) return yield* Effect.fail(`lost: ${total}`)
})

/** How late each of ten sleepers woke. */
const lateness = Effect.forEach(
  [1, 2, 3, 5, 8, 13, 21, 34, 55, 89],
  (millis) =>
    Effect.andThen(
      Effect.sleep(millis),
      Effect.map(Clock.currentTimeMillis, (now) => now - millis)
    ),
  { concurrency: "unbounded" }
)

const observed = Effect.fnUntraced(function* (timerSlack: number | undefined) {
  const runs: Array<ReadonlyArray<number>> = []
  for (let seed = 1; seed <= 200; seed++) {
    const { exit } = yield* Sim.run(lateness, { seed, timerSlack })
    if (exit._tag === "Failure") return assert.fail(String(exit.cause))
    runs.push(exit.value)
  }
  return runs
})

describe("a timer of a simulation", () => {
  it.effect("S1: may be late, so a lost update between fibers 5 ms apart is found", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(fiveApart, { seeds: 16 })
      assert.strictEqual(report.failure?.message, "lost: 1")
      const exact = yield* Sim.explore(fiveApart, { seeds: 500, timerSlack: 0 })
      assert.isUndefined(exact.failure)
    })
  )

  it.effect("S1: is never early, and late by timerSlack at most", () =>
    Effect.gen(function* () {
      const usual = yield* observed(undefined)
      const all = usual.flat()
      assert.strictEqual(Math.min(...all), 0)
      assert.strictEqual(Math.max(...all), 10)
      // In some runs no timer is late, in some all are.
      assert.isTrue(usual.some((run) => run.every((late) => late === 0)))
      assert.isTrue(usual.some((run) => run.every((late) => late > 0)))
      const small = (yield* observed(3)).flat()
      assert.strictEqual(Math.max(...small), 3)
      const broken = (yield* observed(2.5)).flat()
      assert.strictEqual(Math.max(...broken), 2)
      const exact = (yield* observed(0)).flat()
      assert.strictEqual(Math.max(...exact), 0)
    })
  )

  it.effect("S1: is late by the same in a repetition, and the trace says by how much", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(fiveApart, { seeds: 16, checkShare: 1 })
      assert.isTrue(report.deterministic)
      const texts = report.failure!.trace.map(({ ending = "", text }) => text + ending)
      assert.isTrue(texts.some((text) => /sleeps \d+ ms, wakes \d+ ms late$/.test(text)))
    })
  )
})

describe("the faults of faults", () => {
  it("S7: gives faults in the order of their moments, however they were added", () => {
    const faults = new FaultSchedule()
    const order = [5, 1, 4, 2, 3]
    const crash = { _tag: "Crash", process: "a" } as const
    for (const n of order) {
      faults.add({ ...crash, at: { millis: n } })
      faults.add({ ...crash, at: { step: 10 * n } })
    }
    for (const n of order.toSorted((a, b) => a - b)) {
      assert.deepStrictEqual([faults.nextMillis, faults.nextStep], [n, 10 * n])
      assert.deepStrictEqual(faults.takeMillis()?.at, { millis: n })
      assert.deepStrictEqual(faults.takeStep()?.at, { step: 10 * n })
    }
    assert.deepStrictEqual([faults.nextMillis, faults.nextStep], [Infinity, Infinity])
    faults.add({ ...crash, at: { millis: 1 } })
    faults.clear()
    assert.isUndefined(faults.takeMillis())
  })
})

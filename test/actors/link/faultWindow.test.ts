/**
 * Goal: several faults within a short time start a pause that ends by itself; isolated ones do not.
 * Method: tables, and a law against a model that keeps every fault.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { FaultWindow } from "../../../src/actors/link/FaultWindow.ts"

const settings = { faults: 5, withinMs: 5_000, pauseMs: 30_000 }

const afterFaults = (...times: ReadonlyArray<number>) => {
  const window = new FaultWindow(settings)
  for (const time of times) window.fault(time)
  return window
}

describe("FaultWindow", () => {
  it("R25: five faults within five seconds pause for thirty, and the pause ends by itself", () => {
    const window = afterFaults(0, 1000, 2000, 3000)
    assert.isFalse(window.isPaused(3000))
    window.fault(5000)
    assert.isTrue(window.isPaused(5000))
    assert.isTrue(window.isPaused(34_999))
    assert.isFalse(window.isPaused(35_000))
  })

  it("R25: faults far apart do not add up", () => {
    const window = new FaultWindow(settings)
    for (let time = 0; time < 100_000; time += 1251) {
      window.fault(time)
      assert.isFalse(window.isPaused(time))
    }
  })

  it("R25: faults that have led to a pause do not count for the next one", () => {
    const window = afterFaults(0, 0, 0, 0, 0)
    for (const time of [30_000, 30_000, 30_000, 30_000]) window.fault(time)
    assert.isFalse(window.isPaused(30_000))
    const paused = afterFaults(0, 0, 0, 0, 0, 1_000)
    assert.isFalse(paused.isPaused(30_000))
    window.fault(30_000)
    assert.isTrue(window.isPaused(30_000))
  })

  const gap = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 }))
  const steps = Arbitrary.array(Arbitrary.schema(gap), { maxLength: 40 })

  it.prop("R25: is paused exactly as a model that keeps every fault says", [steps], ([gaps]) => {
    const window = new FaultWindow(settings)
    let [now, pausedUntil] = [0, 0]
    let kept: Array<number> = []
    for (const gap of gaps) {
      now += gap
      window.fault(now)
      kept = [...kept, now].filter((time) => now - time <= settings.withinMs)
      if (kept.length === settings.faults) [kept, pausedUntil] = [[], now + settings.pauseMs]
      assert.strictEqual(window.isPaused(now), now < pausedUntil)
    }
  })
})

import { assert, describe, it, vi } from "@effect/vitest"
import { Deadlines } from "../../../src/actors/link/Deadlines.ts"

const timed = (test: (passes: (millis: number) => void) => void) => () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
  try {
    test((millis) => vi.advanceTimersByTime(millis))
  } finally {
    vi.useRealTimers()
  }
}

describe("deadlines of one length", () => {
  it(
    "pass for each at its own time, whatever ended before",
    timed((passes) => {
      const expired: Array<string> = []
      const deadlines = new Deadlines<string>(100, (item) => expired.push(item))
      deadlines.start("first")
      passes(40)
      deadlines.start("second")
      deadlines.start("third")
      deadlines.stop("first")
      passes(60)
      deadlines.start("fourth")
      passes(39)
      assert.deepStrictEqual(expired, [])
      passes(1)
      assert.deepStrictEqual(expired, ["second", "third"])
      passes(60)
      assert.deepStrictEqual(expired, ["second", "third", "fourth"])
      assert.strictEqual(vi.getTimerCount(), 0)
    })
  )

  it(
    "begin anew when they are started again, also by what expires",
    timed((passes) => {
      const expired: Array<string> = []
      const deadlines = new Deadlines<string>(100, (item) => {
        expired.push(item)
        if (expired.length === 1) deadlines.start("next")
      })
      deadlines.start("one")
      passes(50)
      deadlines.start("one")
      passes(99)
      assert.deepStrictEqual(expired, [])
      passes(1)
      assert.deepStrictEqual(expired, ["one"])
      passes(100)
      assert.deepStrictEqual(expired, ["one", "next"])
    })
  )
})

/**
 * Goal: each deadline passes at its own time and once, whatever starts, stops or throws meanwhile.
 * Method: tables on a test clock, and a law against a model that looks at every millisecond.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Deadlines } from "../../../src/actors/link/Deadlines.ts"

const items = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
const gap = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
const steps = Arbitrary.array(
  Arbitrary.schema(Schema.Struct({ item: items, isStart: Schema.Boolean, gap })),
  { maxLength: 10 }
)

describe("Deadlines", () => {
  it.effect("L8: pass for each item at its own time, whatever ended before", () =>
    Effect.gen(function* () {
      const expired: Array<string> = []
      const deadlines = yield* Deadlines.make<string>(100, (item) => expired.push(item))
      deadlines.start("first")
      yield* TestClock.adjust(40)
      deadlines.start("second")
      deadlines.start("third")
      deadlines.stop("first")
      yield* TestClock.adjust(60)
      deadlines.start("fourth")
      yield* TestClock.adjust(39)
      assert.deepStrictEqual(expired, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(expired, ["second", "third"])
      yield* TestClock.adjust(60)
      assert.deepStrictEqual(expired, ["second", "third", "fourth"])
    })
  )

  it.effect("L8: begin anew when they are started again, also by what expires", () =>
    Effect.gen(function* () {
      const expired: Array<string> = []
      const deadlines: Deadlines<string> = yield* Deadlines.make<string>(100, (item) => {
        expired.push(item)
        if (expired.length === 1) deadlines.start("next")
      })
      deadlines.start("one")
      yield* TestClock.adjust(50)
      deadlines.start("one")
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(expired, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(expired, ["one"])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(expired, ["one", "next"])
    })
  )

  it.effect("L8: one whose handler stops another, or throws, harms no third", () =>
    Effect.gen(function* () {
      const expired: Array<string> = []
      const deadlines: Deadlines<string> = yield* Deadlines.make<string>(100, (item) => {
        expired.push(item)
        if (item === "one") deadlines.stop("two")
        if (item === "bad") throw new Error("a handler that throws")
      })
      for (const item of ["one", "two", "bad", "three"]) deadlines.start(item)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(expired, ["one", "bad", "three"])
      deadlines.start("later")
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(expired, ["one", "bad", "three", "later"])
    })
  )

  it.effect("L8: pass no more once the Scope is closed", () =>
    Effect.gen(function* () {
      const expired: Array<string> = []
      const made = Deadlines.make<string>(100, (item) => expired.push(item))
      yield* Effect.scoped(Effect.map(made, (deadlines) => deadlines.start("one")))
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual(expired, [])
    })
  )

  it.effect.prop("L8: agree with a model that looks at every millisecond", [steps], ([given]) =>
    Effect.gen(function* () {
      const log: Array<string> = []
      let now = 0
      const deadlines = yield* Deadlines.make<number>(50, (item) => log.push(`${now} ${item}`))
      const model = new Map<number, number>()
      const expected: Array<string> = []
      for (const { gap, isStart, item } of given) {
        model.delete(item)
        if (isStart) deadlines.start(item)
        else deadlines.stop(item)
        if (isStart) model.set(item, now)
        for (let left = gap; left > 0; left--) {
          now += 1
          for (const [one, since] of model) {
            if (now - since < 50) continue
            expected.push(`${now} ${one}`)
            model.delete(one)
          }
          yield* TestClock.adjust(1)
        }
      }
      assert.deepStrictEqual(log, expected)
    })
  )
})

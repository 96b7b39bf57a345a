/**
 * Goal: a failing list is made as small as it gets, in few attempts, and its elements as simple.
 * Method: lists of numbers, and predicates that say which of them fail; each attempt is noted.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { reduceList, simplifyList } from "../../src/testing/internal/sim/reduction.ts"

type Numbers = ReadonlyArray<number>

/** What is left of a list, and the lists that were tried. */
const reduced = (list: Numbers, fails: (rest: Numbers) => boolean) => {
  const tried: Array<Numbers> = []
  const test = (rest: Numbers) => Effect.sync(() => (tried.push(rest), fails(rest)))
  return { rest: Effect.runSync(reduceList(list, test)), tried }
}

const has =
  (...needed: Numbers) =>
  (rest: Numbers) =>
    needed.every((one) => rest.includes(one))

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

describe("leaving parts of a list out", () => {
  it("tries none of an empty list, and all of another one first", () => {
    assert.deepStrictEqual(reduced([], has()), { rest: [], tried: [] })
    assert.deepStrictEqual(reduced(upTo(8), has()), { rest: [], tried: [[]] })
  })

  it("leaves what is needed, wherever it stands", () => {
    for (const needed of [[0], [7], [3], [0, 7], [2, 5], [1, 2, 6]]) {
      assert.deepStrictEqual(reduced(upTo(8), has(...needed)).rest, needed)
    }
  })

  it("tries halves, then each one, and each one again", () => {
    assert.deepStrictEqual(reduced(upTo(4), has(0, 3)), {
      rest: [0, 3],
      tried: [[], [2, 3], [0, 1], [1, 2, 3], [0, 2, 3], [0, 3], [0], [3], [0]]
    })
  })

  it("finds one of many in few attempts", () => {
    const { rest, tried } = reduced(upTo(1000), has(700))
    assert.deepStrictEqual(rest, [700])
    assert.isBelow(tried.length, 30)
  })

  it("tries each one again after another one could go", () => {
    // 0 is needed as long as 1 is there.
    const { rest } = reduced([0, 1, 2], (rest) => has(2)(rest) && (has(0)(rest) || !has(1)(rest)))
    assert.deepStrictEqual(rest, [2])
  })
})

describe("making elements simpler", () => {
  const simplified = (list: Numbers, fails: (rest: Numbers) => boolean) => {
    const halves = (value: number) => (value === 0 ? [] : [0, Math.floor(value / 2), value - 1])
    return Effect.runSync(simplifyList(list, halves, (rest) => Effect.sync(() => fails(rest))))
  }

  it("takes the first form that still fails, again and again, of each element", () => {
    const least = [3, 0, 10]
    const fails = (rest: Numbers) => rest.every((value, index) => value >= least[index]!)
    assert.deepStrictEqual(simplified([100, 50, 11], fails), least)
  })

  it("leaves a list as it is of which no simpler form fails", () => {
    assert.deepStrictEqual(
      simplified([5, 6], () => false),
      [5, 6]
    )
    assert.deepStrictEqual(
      simplified([], () => true),
      []
    )
  })
})

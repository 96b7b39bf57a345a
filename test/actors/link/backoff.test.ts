/**
 * Goal: waits grow up to a cap, are spread, and only proof makes them short again.
 * Method: tables without jitter; laws over random settings, growths and draws.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { Backoff } from "../../../src/actors/link/Backoff.ts"

const settings = { firstMs: 50, longestMs: 5_000 }
const exact = () => new Backoff(settings, () => 0)
const take = (backoff: Backoff, count: number, growth?: number) =>
  Array.from({ length: count }, () => Math.floor(backoff.next(growth)))

const between = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

describe("Backoff", () => {
  it("R13: begins with the first wait and grows up to the cap", () => {
    assert.deepStrictEqual(take(exact(), 9, 2), [50, 100, 200, 400, 800, 1600, 3200, 4000, 4000])
    assert.deepStrictEqual(take(exact(), 4), [50, 75, 112, 168])
  })

  it("C2: is reset by proof, and by nothing else", () => {
    const backoff = exact()
    take(backoff, 5)
    assert.strictEqual(backoff.attempts, 5)
    backoff.proven()
    assert.strictEqual(backoff.attempts, 0)
    assert.strictEqual(backoff.next(), 50)
    assert.strictEqual(backoff.next(), 75)
  })

  it("C2: does not overshoot a cap that is shorter than the first wait", () => {
    const backoff = new Backoff({ firstMs: 50, longestMs: 20 }, () => 1)
    assert.deepStrictEqual(take(backoff, 2), [20, 20])
  })

  it.prop(
    "C2: every wait lies within a quarter above the exact one, and below the cap",
    [between(1, 1_000), between(1, 10_000), Schema.Array(between(0, 999))],
    ([firstMs, longestMs, draws]) => {
      const left = [...draws]
      const spread = new Backoff({ firstMs, longestMs }, () => left.shift()! / 1_000)
      const bound = new Backoff({ firstMs, longestMs }, () => 0)
      for (let count = draws.length; count > 0; count--) {
        const [wait, shortest] = [spread.next(2), bound.next(2)]
        assert.isAtLeast(wait, shortest)
        assert.isBelow(wait, 1.25 * shortest)
        assert.isAtMost(wait, longestMs)
      }
    }
  )

  it.effect("C2: two of one process do not wait for the same times", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* Backoff.make(settings), yield* Backoff.make(settings)]
      assert.notDeepEqual(take(one, 8), take(other, 8))
    }).pipe(Random.withSeed("spread"))
  )
})

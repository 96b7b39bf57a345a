/**
 * Goal: a message of an earlier epoch is told from a new one, across restarts of the peer.
 * Method: tables, and laws over random histories of incarnations and counts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import {
  compareEpoch,
  type Incarnations,
  isEarlier,
  noIncarnations,
  remember
} from "../../../src/actors/link/EpochOrder.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"

const epoch = (incarnation: number, count: number): Epoch =>
  `${incarnation.toString(16).padStart(8, "0")}.${count}` as Epoch

const after = (...epochs: ReadonlyArray<Epoch>): Incarnations =>
  epochs.reduce(remember, noIncarnations)

const below = (limit: number) =>
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: limit - 1 }))

/** What the peer's processes were: each incarnation, and how far it counted. */
const history = Arbitrary.array(
  Arbitrary.schema(Schema.Struct({ incarnation: below(8), count: below(20) })),
  { maxLength: 12 }
)

describe("EpochOrder", () => {
  it("orders the epochs of one incarnation by their counts, also beyond one digit", () => {
    const known = after(epoch(1, 9))
    assert.strictEqual(compareEpoch(known, epoch(1, 10)), "newer")
    assert.strictEqual(compareEpoch(known, epoch(1, 9)), "same")
    assert.strictEqual(compareEpoch(known, epoch(1, 8)), "stale")
    assert.isTrue(isEarlier(epoch(1, 9), epoch(1, 10)))
    assert.isFalse(isEarlier(epoch(1, 9), epoch(2, 10)))
  })

  it("takes an incarnation that was replaced for stale, unless the process confirms it", () => {
    const known = after(epoch(1, 1), epoch(2, 1))
    assert.strictEqual(compareEpoch(known, epoch(1, 99)), "stale")
    assert.strictEqual(compareEpoch(known, epoch(1, 99), true), "newer")
    // Confirmation does not make a late message of the present incarnation newer.
    assert.strictEqual(compareEpoch(after(epoch(2, 5)), epoch(2, 4), true), "stale")
  })

  it("remembers the last four incarnations that were replaced", () => {
    const known = after(...[1, 2, 3, 4, 5, 6].map((one) => epoch(one, 1)))
    assert.deepStrictEqual(
      known.gone,
      [5, 4, 3, 2].map((one) => epoch(one, 1).slice(0, 8))
    )
    assert.strictEqual(compareEpoch(known, epoch(2, 2)), "stale")
    assert.strictEqual(compareEpoch(known, epoch(1, 2)), "newer")
  })

  it.prop("every epoch is new to a peer that has named none", [below(8), below(20)], (given) => {
    assert.strictEqual(compareEpoch(noIncarnations, epoch(...given)), "newer")
  })

  it.prop("what was taken up is the same, and each later count newer", [history], ([past]) => {
    let known = noIncarnations
    for (const { count, incarnation } of past) {
      const taken = epoch(incarnation, count)
      known = remember(known, taken)
      assert.strictEqual(compareEpoch(known, taken), "same")
      assert.deepStrictEqual(remember(known, taken), known)
      assert.strictEqual(compareEpoch(known, epoch(incarnation, count + 1)), "newer")
      if (count > 0) {
        assert.strictEqual(compareEpoch(known, epoch(incarnation, count - 1)), "stale")
      }
    }
  })

  it.prop("the present incarnation is never among those that are gone", [history], ([past]) => {
    let known = noIncarnations
    for (const { count, incarnation } of past) {
      known = remember(known, epoch(incarnation, count))
      assert.notInclude(known.gone, epoch(incarnation, 0).slice(0, 8))
      assert.strictEqual(new Set(known.gone).size, known.gone.length)
      assert.isAtMost(known.gone.length, 4)
    }
  })

  it.prop(
    "incarnations that follow one another never lead back",
    [below(5), below(20)],
    (given) => {
      const [replaced, count] = given
      const known = after(...[0, 1, 2, 3, 4, 5].slice(replaced).map((one) => epoch(one, 1)))
      if (replaced > 0) assert.strictEqual(compareEpoch(known, epoch(replaced, count)), "stale")
    }
  )
})

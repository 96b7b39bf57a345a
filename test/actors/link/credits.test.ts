/**
 * Goal: a requester that counts by `Credits` never meets or causes a Send without a Receive, and
 * never waits forever; a responder that counts by `Obligation` posts enough, and not one too many.
 * Method: the whole state space of small connections; the same for what releases of Linux did,
 * which must be found to be wrong; random runs of the obligation with one Receive fewer.
 */
import { assert, describe, it } from "@effect/vitest"
import { Credits, Obligation } from "../../../src/actors/link/Credits.ts"
import { explore, type Harm, type Variant, type World } from "./creditModel.ts"

const full: World = { terms: { requested: 8, reverse: 0 }, calls: 12, grants: [8] }
const linux: Variant = { ignoresPosted: true, order: ["post", "grant", "release"] }
const failing = { ...linux, refillFails: "forgotten" } as const

/** What a release did, what the responder grants, and the harm that follows. */
const releases: ReadonlyArray<readonly [string, Variant, number, ReadonlyArray<Harm>]> = [
  [
    "4.18-rc wakes all calls, then posts one Receive (7c8d9e7c)",
    { ...linux, grantedFirst: 8, postedFirst: 0, postedLate: 1 },
    8,
    ["client RNR", "flood"]
  ],
  [
    "4.18 posts for the last grant and keeps its window (8d4fb8ff)",
    { ...linux, grantedFirst: 8, postedFirst: 8 },
    8,
    ["flood"]
  ],
  [
    "4.18 meets a responder that grants less than before (8d4fb8ff)",
    { ...linux, grantedFirst: 8, postedFirst: 8 },
    4,
    ["flood", "server RNR"]
  ],
  [
    "4.20 sends again past its window (ef739b21)",
    { ...linux, bypass: 8 },
    8,
    ["client RNR", "flood"]
  ],
  [
    "5.5 opens the window before it posts (2ae50ad6)",
    { ...linux, order: ["grant", "post", "release"] },
    8,
    ["client RNR"]
  ],
  ["5.13 hears nothing of a failed posting (35d8b10a)", failing, 8, ["client RNR"]],
  [
    "7.1 posts last, a quarter of the grant at once (704f3f64)",
    { ...linux, order: ["grant", "release", "post"], postedFirst: 3, batch: 2 },
    8,
    ["client RNR"]
  ],
  [
    "an interrupted call gives its credit back",
    { ...linux, freesInterrupted: true },
    8,
    ["client RNR", "flood", "server RNR"]
  ]
]

describe("the model of a connection", () => {
  it.each(releases)("finds the harm done when %s", (_what, variant, grant, harms) => {
    const interrupts = variant.freesInterrupted === true ? 2 : 0
    const found = explore({ ...full, grants: [grant], responderPosts: grant, interrupts, variant })
    assert.deepStrictEqual([...found.harms.keys()].toSorted(), harms)
  })

  it("finds no harm in the order of 5.13 while nothing fails", () => {
    assert.strictEqual(explore({ ...full, responderPosts: 8, variant: linux }).harms.size, 0)
  })

  it("K7: finds that a forgotten refill closes the window forever", () => {
    const { harms } = explore({ ...full, variant: { refillFails: "forgotten" } })
    assert.deepStrictEqual([...harms.keys()], ["stuck"])
  })
})

const product = <A, B>(as: ReadonlyArray<A>, bs: ReadonlyArray<B>) =>
  as.flatMap((a) => bs.map((b) => [a, b] as const))

describe("credits", () => {
  it("A1 A2 A4 A5 A6 E2: no grant, interrupt or failed refill causes an RNR or a stall", () => {
    let states = 0
    // With calls in both directions the states are many, so these connections are smaller.
    const oneWay = product(product([1, 2, 3, 5], [1, 3, 6]), [0])
    const sizes = [...oneWay, ...product(product([1, 2], [1, 3]), [1, 2])]
    for (const [[requested, calls], reverse] of sizes) {
      for (const grants of [[requested], [1, requested]]) {
        for (const variant of [{}, { refillFails: "retried" } as const]) {
          const world = { terms: { requested, reverse }, calls, grants, interrupts: 1, variant }
          const found = explore(world)
          assert.deepStrictEqual([...found.harms], [], JSON.stringify(world))
          states += found.states
        }
      }
    }
    console.log(`${states} states of ${sizes.length * 4} connections`)
    assert.isAbove(states, 40_000)
  })

  it("K5: every order of the steps after counting the Receive is safe", () => {
    const steps = ["grant", "post", "release"] as const
    const orders = steps.flatMap((a) =>
      steps.flatMap((b) => (a === b ? [] : [[a, b, steps.find((c) => c !== a && c !== b)!]]))
    )
    assert.lengthOf(orders, 6)
    for (const order of orders) {
      assert.deepStrictEqual([...explore({ ...full, variant: { order } }).harms], [], `${order}`)
    }
  })

  const at = (granted: number, posted: number, held: number, reverse = 0): Credits =>
    Object.assign(new Credits({ requested: 8, reverse }), { granted, posted, held })

  it.each([
    ["a new connection sends one call", at(1, 1, 0), 1, 1],
    ["the last credit is left to control", at(8, 8, 7), 0, 1],
    ["nothing is sent beyond the grant", at(4, 8, 4), 0, 0],
    ["nothing is sent beyond what was asked for", at(8, 20, 8), 0, 0],
    ["nothing is sent without a Receive for the reply", at(8, 3, 3), 0, 0],
    ["Receives for the reverse direction are no credits", at(8, 5, 0, 2), 2, 3],
    ["a lower grant waits for the calls that are out", at(2, 8, 5), 0, 0]
  ])("%s", (_what, credits, calls, control) => {
    assert.deepStrictEqual([credits.free("call"), credits.free("control")], [calls, control])
  })

  it.each([
    [0, 1],
    [1, 1],
    [8, 8],
    [2 ** 32 - 1, 8]
  ])("A4: take a grant of %i for %i", (grant, granted) => {
    const credits = at(3, 5, 2)
    credits.receive(grant, true)
    assert.deepInclude(credits, { granted, posted: 4, held: 1 })
  })

  it("B5: keep grant and credit when a Receive brings anything but a reply", () => {
    const credits = at(3, 3, 2)
    credits.receive(undefined, false)
    assert.deepInclude(credits, { granted: 3, posted: 2, held: 2 })
    assert.strictEqual(credits.missing, 1)
    credits.add(credits.missing)
    assert.deepInclude(credits, { posted: 3, missing: 0 })
  })

  it("refuse what cannot happen", () => {
    assert.throws(() => at(2, 2, 2).take(), /without a credit/)
    assert.throws(() => at(1, 0, 0).receive(1, false), /without a Receive/)
    assert.throws(() => at(1, 1, 0).receive(1, true), /without a call/)
    const credits = at(1, 2, 1, 1)
    credits.receiveCall()
    assert.throws(() => credits.answer(), /too few Receives/)
    credits.add(1)
    credits.answer()
    assert.deepInclude(credits, { posted: 2, unanswered: 0, mayAnswer: false })
  })
})

/** Small numbers that depend on a seed only. */
const dice = (seed: number) => {
  let state = seed * 2_654_435_761 + 1
  return (sides: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % sides
  }
}

/** One connection at random; whether a call found no Receive at the responder. */
const overrun = (seed: number, short: number): boolean => {
  const roll = dice(seed)
  const most = 1 + roll(12)
  const obligation = new Obligation()
  obligation.add(1)
  const inFlight: Array<number> = []
  let [granted, sent, handled, came] = [1, 0, 0, 0]
  for (let step = 0; step < 400; step++) {
    const what = roll(4)
    if (what < 2 && sent - handled < granted) {
      sent++
      if (++came > obligation.posted - (obligation.replies > 0 ? short : 0)) return true
    } else if (what === 2 && came > obligation.replies) {
      const grant = 1 + roll(most)
      obligation.add(obligation.missing(grant))
      obligation.reply(grant)
      inFlight.push(grant)
    } else if (inFlight.length > 0) {
      granted = inFlight.shift()!
      handled++
    }
  }
  return false
}

describe("the obligation of a responder", () => {
  const seeds = Array.from({ length: 2_000 }, (_, seed) => seed)

  it("E1: is enough for a requester that keeps to its grants", () => {
    assert.deepStrictEqual(
      seeds.filter((seed) => overrun(seed, 0)),
      []
    )
  })

  it("E1: with one Receive fewer, a requester meets no Receive", () => {
    assert.isAbove(seeds.filter((seed) => overrun(seed, 1)).length, 1_500)
  })

  it("E1: grants at most what is posted, and no reply leaves without a Receive", () => {
    const obligation = new Obligation()
    assert.strictEqual(obligation.grantable(8), 0)
    assert.throws(() => obligation.reply(1), /without a Receive/)
    assert.strictEqual(obligation.missing(8), 9)
    obligation.add(5)
    assert.strictEqual(obligation.grantable(8), 4)
    obligation.reply(4)
    assert.deepInclude(obligation, { replies: 1, promised: 5 })
    // A lower grant posts nothing until the higher one is used up.
    assert.strictEqual(obligation.missing(1), 0)
  })
})

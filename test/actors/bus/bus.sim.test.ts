/**
 * Goal: whatever is cut, late, reset, half open, asleep, stopped or started again: members find
 * their cluster again, blame no other for their own sleep, apply nothing twice or out of order,
 * never merge two clusters, and leave nothing open (D24, D25, G5, G13, G23).
 *
 * Method: the published simulation of the bus over real lanes and framers; enough of its
 * connections must break. The test of the test runs known-bad variants, which must be found.
 */
import { afterAll, assert, describe } from "@effect/vitest"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as BusSimulation from "../../../src/testing/BusSimulation.ts"
import { promises } from "../../../src/testing/internal/bus/busChecker.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"

const seeds = wideOr(200, 20)

describe("members of two clusters", () => {
  const broken: Array<number> = []

  it.sim(
    "D24 D25 G5 G13 G23: converge, stay apart, and hold no sleep of theirs against others",
    { seeds, timeout: 600_000 },
    () =>
      BusSimulation.program({ onEnd: ({ brokenConnections }) => broken.push(brokenConnections) })
  )

  afterAll(() => {
    const sorted = broken.toSorted((a, b) => a - b)
    const text = `connections that faults ended, run by run: ${sorted.join(" ")}`
    Effect.runSync(Console.log(text))
    // Simulations that break nothing prove nothing.
    assert.isAtLeast(sorted[Math.floor(sorted.length / 2)] ?? 0, 5)
    const struck = sorted.filter((count) => count > 0).length
    assert.isAtLeast(struck / sorted.length, 20 / 50)
  })
})

/** What each variant breaks. */
const found: Record<BusSimulation.Variant, string> = {
  "admit-anyone": promises.apart,
  "fooled-by-sleep": promises.awake,
  "read-older-links": promises.ordered,
  "drain-twice": promises.ordered,
  // Links are lost while clusters form, too: both nodes dial each other.
  "keep-lost-links": "the clusters are formed: not reached",
  "leak-dials": promises.released
}

const failureOf = (options: BusSimulation.Options) =>
  Effect.map(
    Sim.explore(BusSimulation.program(options), {
      seeds: 200,
      checkShare: 0,
      shrinkAttempts: 0
    }),
    ({ failure }) => failure?.message ?? ""
  )

describe("the same simulation finds", () => {
  it.live.each(Object.entries(found))(
    "%s",
    ([variant, what]) =>
      Effect.map(failureOf({ variant: variant as BusSimulation.Variant }), (message) =>
        assert.include(message, what)
      ),
    600_000
  )

  it.live(
    "members without a gate",
    () =>
      Effect.map(failureOf({ gate: "off" }), (message) => assert.include(message, promises.apart)),
    600_000
  )
})

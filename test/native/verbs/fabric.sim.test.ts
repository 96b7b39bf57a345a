/**
 * Goal: whatever goes wrong in a fabric, everything that was posted ends exactly once, takes effect
 * at most once and in order; when the faults stop, connections are made and messages arrive; and
 * in the end nothing is left.
 *
 * Method: a client and a server, in processes that may crash, connect, post and leave at random
 * while faults of all kinds are drawn; a witness outside of them keeps the books. The tests of the
 * test plant known defects in the fabric and demand that the same program finds them; there each
 * run loses messages both ways, which brings about retransmissions and late answers at once.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { FaultPlan } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { plantedName, withPlanted } from "../../planted.ts"
import { wideOr } from "../../wide.ts"
import { type broken, program } from "./fabricProgram.ts"

describe("random traffic over a fabric with faults", () => {
  it.sim(
    "all work ends once, and goes on after the faults",
    { seeds: wideOr(100, 30), timeout: 300_000 },
    () => program()
  )
})

/** The defects that traffic finds, which the contract finds too but for the last three. */
const numbers = ["V2", "V10", "V11", "V16", "V17", "V18"] as const

describe("the same program", () => {
  for (const number of numbers) {
    it(`finds that ${plantedName(number)}`, { timeout: 300_000 }, () =>
      withPlanted<{ readonly broken: typeof broken }, void>(
        number,
        "test/native/verbs/fabricProgram.ts",
        async ({ broken }, simulator) => {
          const settings = { seeds: 20, checkShare: 0, shrinkAttempts: wideOr(20, 0) }
          const { failure } = await Effect.runPromise(simulator.explore(broken, settings))
          assert.isDefined(failure)
          const { plan, seed } = failure!
          const saved = JSON.stringify(Schema.encodeSync(FaultPlan.FaultPlan)(plan))
          const loaded = Schema.decodeUnknownSync(FaultPlan.FaultPlan)(JSON.parse(saved))
          assert.deepStrictEqual(loaded, plan)
          const again = await Effect.runPromise(simulator.run(broken, { seed, plan: loaded }))
          assert.strictEqual(again.exit._tag, "Failure")
          for (const fault of plan) assert.match(FaultPlan.describe(fault), / at (step )?[\d.]+/)
        }
      )
    )
  }
})

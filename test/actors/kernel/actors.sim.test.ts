/**
 * Goal: whatever the faults, every ask ends once with an answer that the history justifies, a
 * recovered state is the fold of the stored events, what is shown is durable and never goes back,
 * two epochs of an actor are never held at once, no stale signal is decided, and when the faults
 * stop every actor answers and nothing is left.
 *
 * Method: a process with four accounts (account.ts) under two levels of supervisors (bank.ts) on an
 * asynchronous disk is crashed, paused and given bad disks at random moments, and another process
 * takes over one of its histories. What is stored and answered is noted outside of them
 * (witness.ts). The tests of the test plant known defects in copies of the sources, and demand that
 * the same program finds each of them.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { explorePlanted, plantedName } from "../../planted.ts"
import { wideOr } from "../../wide.ts"
import { program, shortLife } from "./accounts.ts"

describe("supervised actors under faults", () => {
  it.sim("S9: keep their word", { seeds: wideOr(300, 80), timeout: 300_000 }, program)
})

describe("the steps of a short run", () => {
  it("S9: survives a crash at every third of them", { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const calm = await Effect.runPromise(Sim.run(shortLife, { seed, plan: [] }))
      assert.isAbove(calm.steps, 200)
      for (let step = seed; step < calm.steps; step += 3) {
        const crash = { _tag: "Crash", process: "server", at: { step }, restartAfter: 5 } as const
        const run = await Effect.runPromise(Sim.run(shortLife, { seed, plan: [crash] }))
        assert.strictEqual(run.exit._tag, "Success", `crash at step ${step} of seed ${seed}`)
      }
    }
  })
})

describe("a planted defect is found", () => {
  for (const [number, message] of [
    ["K1", /the witness sees no fault/],
    ["K2", /the witness sees no fault/],
    ["K7", /MailboxFull/],
    ["K9", /the witness sees no fault/],
    ["K11", /not durable|stored 0 times/],
    ["K12", /durable|is stored|is not number|go(es)? back/],
    ["K13", /two epochs at once|are held after/],
    ["K14", /a stale signal/]
  ] as const) {
    it(`S9: ${plantedName(number)}`, { timeout: 60_000 }, async () => {
      const settings = { seeds: 50, shrinkAttempts: 0 }
      const { failure } = await explorePlanted(number, "accounts", settings)
      assert.match(failure?.message ?? "50 seeds found nothing", message)
    })
  }
})

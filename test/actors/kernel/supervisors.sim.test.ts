/**
 * Goal: whatever crashes in a tree of supervisors, and in whatever order, one generation of a child
 * runs at a time, each child that was halted is started again or has ended, no crash is answered
 * twice, every ask ends, and nothing is left when the Scope closes.
 *
 * Method: a root with supervisors of all three strategies, one of them over another one. Small
 * budgets make them give up, so that parents halt and start them. Their actors and effects crash
 * at random moments, take time to release, and write to a journal that is slow and fails; then the
 * crashes stop. A defect that is planted in a copy of
 * the sources shows that the program finds it.
 */
import { assert, describe } from "@effect/vitest"
import { it } from "../../../src/testing/vitest.ts"
import { explorePlanted } from "../../planted.ts"
import { wideOr } from "../../wide.ts"
import { cut, program } from "./supervisorTree.ts"

describe("a tree of supervisors", () => {
  it.sim(
    "K5, K6: keeps its promises while its children crash",
    { seeds: wideOr(200, 60), timeout: 120_000 },
    program
  )

  it.sim(
    "K5: leaves nothing when its Scope closes at any moment",
    { seeds: wideOr(200, 60), timeout: 120_000 },
    cut
  )
})

describe("a planted defect is found", () => {
  it("two generations alive at once", { timeout: 60_000 }, async () => {
    const settings = { seeds: 100, shrinkAttempts: 0 }
    const { failure } = await explorePlanted("K13", "supervisorTree", settings)
    assert.match(
      failure?.message ?? "100 seeds found nothing",
      /one generation at a time|all is released/
    )
  })
})

/**
 * Goal: whatever is slow, lost, late, forged, evicted or restarted: nobody sends to a peer that is
 * not ready, every transfer ends once and did what it says, and when the faults stop, everybody
 * reaches everybody.
 *
 * Method: the published simulation of endpoints. The tests of the test switch the gate off, and
 * plant known defects.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { program } from "../../src/testing/EndpointSimulation.ts"
import { it } from "../../src/testing/vitest.ts"

describe("hosts that move memory", () => {
  it.sim(
    "R1 R2 R3 R4 R16 R20 R21 R22 nobody sends too soon, and transfers end once",
    { seeds: 100, timeout: 300_000 },
    () => program()
  )
})

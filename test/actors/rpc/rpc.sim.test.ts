/**
 * Goal: whatever is lost, late, interrupted or restarted: no message meets an empty receive queue,
 * no call is executed twice or ends twice, and when the faults stop, all calls end and nothing is
 * held.
 *
 * Method: the published simulation of RPC. The test of the test runs known-bad variants, which
 * must be found.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Sim } from "../../../src/testing/index.ts"
import * as RpcSimulation from "../../../src/testing/RpcSimulation.ts"
import { it } from "../../../src/testing/vitest.ts"

describe("callers of a server", () => {
  it.sim(
    "A1 A2 A3 A4 A6 B1 B2 B3 C1 C4 F2 G6: no RNR, nothing executed twice or late, nothing left",
    { seeds: 40, timeout: 300_000 },
    () => RpcSimulation.program()
  )
})

const rnr = "no message meets an empty receive queue"
const twice = "was executed 2 times"
/** A call that begins late is forgotten, fails, or overwrites newer ones. */
const late = "a call is executed once, and ends once with its own reply"

/** What each variant breaks. */
const broken: Record<RpcSimulation.Variant, string> = {
  "linux-7c8d9e7c": rnr,
  "linux-8d4fb8ff": rnr,
  "linux-ef739b21": rnr,
  "linux-2ae50ad6": rnr,
  "linux-35d8b10a": rnr,
  "linux-704f3f64": rnr,
  "linux-cancel": rnr,
  "resend-always": twice,
  "no-cache": twice,
  "post-fewer": rnr,
  "begin-late": late
}

describe("the same simulation finds", () => {
  it.live.each(Object.entries(broken))(
    "%s",
    ([variant, what]) =>
      Effect.gen(function* () {
        const program = RpcSimulation.program({ variant: variant as RpcSimulation.Variant })
        const { failure } = yield* Sim.explore(program, {
          seeds: 200,
          checkShare: 0,
          shrinkAttempts: 0
        })
        assert.include(failure?.message ?? "", what)
      }),
    300_000
  )
})

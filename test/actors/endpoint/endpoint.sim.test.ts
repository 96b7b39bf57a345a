/**
 * Goal: whatever is slow, lost, late, forged, evicted, replaced or restarted: no host sends to a
 * peer that is not ready, every transfer ends once and did what it says, durable ones over all
 * lives of their host, and when the faults stop, every host reaches every other one and nothing
 * fails.
 *
 * Method: the published simulation of endpoints. The tests of the test switch the gate off, and
 * plant known defects.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as EndpointSimulation from "../../../src/testing/EndpointSimulation.ts"
import { type FaultPlan, Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"

const reasons = ["refused", "unreachable", "local", "expired", "replaced", "broken", "retired"]
const marks = [
  "offers crossed",
  "another GID was tried",
  "a NIC was reopened",
  "an inbox was replaced during a transfer to it",
  "a durable transfer ended in a later life",
  "a peer was given up",
  ...reasons.map((reason) => `an endpoint ended: ${reason}`)
]

describe("hosts that move memory", () => {
  it.sim(
    "R1 R2 R3 R4 R16 R20 R21 R22 no host sends too soon, and transfers end once",
    { seeds: wideOr(200, 60), timeout: 900_000, marks },
    () => EndpointSimulation.program()
  )
})

const hosts = ["a", "b", "c"]

/** One slow host, ports that flap all the time, and handshakes with these faults in each run. */
const rough = (
  flaps: number,
  stepMillis: number,
  ...sites: ReadonlyArray<string>
): FaultPlan.FaultPlan => [
  ...sites.map((name) => ({ _tag: "Site" as const, name })),
  {
    _tag: "Fabric",
    at: { millis: 0 },
    fault: { _tag: "SlowModify", node: "a", forMillis: 2_000, millis: stepMillis }
  },
  ...Array.from({ length: flaps }, (_, index) => ({
    _tag: "Fabric" as const,
    at: { millis: Math.floor((2_000 / flaps) * index) },
    fault: { _tag: "PortFlap" as const, node: hosts[index % 3]!, forMillis: 1 }
  }))
]

describe("the same simulation finds early posts", () => {
  const finds = (name: string, options: EndpointSimulation.Options) =>
    it.live(
      name,
      () =>
        Effect.gen(function* () {
          let earlyPosts = 0
          const program = EndpointSimulation.program({
            ...options,
            onEarlyPosts: (count) => void (earlyPosts += count)
          })
          const { failure } = yield* Sim.explore(program, {
            seeds: 200,
            checkShare: 0,
            shrinkAttempts: wideOr(10, 0)
          })
          assert.include(failure?.message ?? "", "no host sends too soon")
          assert.isAbove(earlyPosts, 0)
        }),
      900_000
    )

  finds("with the gate off", { gate: "off" })
  // What it takes to lose each race often.
  finds("if an answer opens the gate of a later connection", {
    plan: rough(15, 15, "handshake answer late"),
    plant: "ready-without-looking"
  })
  finds("H4: if an acknowledgement counts for any queue pairs", {
    plan: rough(9, 30, "handshake late", "handshake answer lost"),
    plant: "unbound-acknowledgement"
  })
})

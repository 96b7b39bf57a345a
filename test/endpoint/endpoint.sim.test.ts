/**
 * Goal: whatever is slow, lost, late, forged or restarted, nobody sends to a peer that is not ready
 * (R1, R2, R3), crossed openings end in one connection (R4), everything that was posted ends once
 * (R16), and when the faults stop, all peers reach each other.
 *
 * Method: three hosts open endpoints to each other at random, with faults of all kinds drawn for
 * each seed. The tests of the test switch the gate off, and plant known defects.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Defects } from "../../src/actors/endpoint/internal/defects.ts"
import { SimFabric } from "../../src/native/sim/SimFabric.ts"
import { type FaultPlan, Faults, Sim } from "../../src/testing/index.ts"
import { SimHandshakes } from "../../src/testing/SimHandshakes.ts"
import { it } from "../../src/testing/vitest.ts"
import { host, Witness } from "./traffic.ts"
import { onHost, type Rules } from "./world.ts"

const names = ["a", "b", "c"]

/** One slow host, and ports that flap now and then: what it takes to lose a race often. */
const rough: FaultPlan.FaultPlan = [
  {
    _tag: "Fabric",
    at: { millis: 0 },
    fault: { _tag: "SlowModify", node: "a", forMillis: 8_000, millis: 15 }
  },
  ...Array.from({ length: 40 }, (_, index) => ({
    _tag: "Fabric" as const,
    at: { millis: 200 * index },
    fault: { _tag: "PortFlap" as const, node: names[index % 3]!, forMillis: 1 }
  }))
]

const program = (rules: Rules = {}, plan: FaultPlan.FaultPlan = []) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const network = new SimHandshakes()
    const witness = new Witness()
    yield* Sim.invariant("nobody sends too soon", () => fabric.counters.earlyPosts === 0)
    const hosts = yield* Effect.forEach(names, (name) => {
      const others = names.filter((other) => other !== name)
      return Sim.process(
        name,
        host(witness, network, name, others, rules).pipe(
          Effect.provide(onHost(fabric, network, name))
        ),
        { onFailure: { restartAfter: "500 millis" } }
      )
    })
    const forging = yield* Effect.forkChild(
      Effect.forever(Effect.andThen(Effect.sleep("300 millis"), network.forge))
    )
    yield* Faults.random({
      fabric: { nodes: names },
      crash: names,
      pause: names,
      within: "5 seconds",
      most: 6
    })
    yield* Faults.install(plan)
    yield* Effect.sleep("8 seconds")
    yield* Faults.heal
    const before = new Map(witness.arrived)
    const all = names.flatMap((from) =>
      names.filter((to) => to !== from).map((to) => `${from} ${to}`)
    )
    yield* Sim.eventually(
      () => all.every((way) => (witness.arrived.get(way) ?? 0) > (before.get(way) ?? 0)),
      "90 seconds",
      "everybody reaches everybody"
    )
    witness.isOver = true
    yield* Effect.forEach(hosts, ({ exit }) => exit)
    for (const [name, out] of witness.out) assert.strictEqual(out, 0, `work of ${name} that is out`)
    const left = Object.entries(fabric.resources()).filter(([, count]) => count > 0)
    assert.deepStrictEqual(left, [], "resources that are left")
    assert.strictEqual(fabric.counters.doubleCompletions, 0)
    forging.interruptUnsafe()
  })

const marks = [
  "offers crossed",
  ...["refused", "unreachable", "local", "expired", "replaced", "broken", "retired"].map(
    (reason) => `an endpoint ended: ${reason}`
  )
]

describe("endpoints of three hosts", () => {
  it.sim(
    "R1 R2 R3 R4 R16 nobody sends too soon, and all reach each other after the faults",
    { seeds: 200, timeout: 300_000, marks },
    () => program()
  )
})

const findsEarlyPosts = (faulty: Effect.Effect<void, unknown, Scope.Scope>, seeds: number) =>
  Effect.gen(function* () {
    const report = yield* Sim.explore(faulty, { seeds, checkShare: 0, shrinkAttempts: 10 })
    assert.include(report.failure?.message ?? "", "nobody sends too soon")
  })

describe("the same program finds early posts", () => {
  it.live("with the gate off", () => findsEarlyPosts(program({ gate: "off" }), 100))

  const planted: Record<string, Defects> = {
    "if an answer opens the gate of a later connection": { readyWithoutLooking: true },
    "H4 if an acknowledgement counts for any queue pairs": { unboundAcknowledgement: true }
  }
  for (const [name, defects] of Object.entries(planted)) {
    it.live(
      name,
      () => findsEarlyPosts(Effect.provideService(program({}, rough), Defects, defects), 1_000),
      300_000
    )
  }
})

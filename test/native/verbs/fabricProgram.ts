/** The program of fabric.sim.test.ts: a client and a server over a fabric with faults. */
import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Chaos, type FaultPlan, Faults, Sim } from "../../../src/testing/index.ts"
import { client, server, Witness } from "./traffic.ts"

interface Options {
  readonly crash: boolean
  /** Faults for each run, besides those that are drawn. */
  readonly plan: FaultPlan.FaultPlan
}

export const program = (options: Options = { crash: true, plan: [] }) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const witness = new Witness()
    yield* Sim.invariant("the books are right", () => {
      if (witness.wrong.length > 0) throw new Error(witness.wrong.join("; "))
      return true
    })
    yield* Sim.invariant("no message is sent before its peer is ready", () => {
      return fabric.counters.earlyPosts === 0
    })
    const on = (host: string) => Effect.provide(SimVerbs.layer(fabric, { host }))
    const b = yield* Sim.process("b", on("b")(server(witness)))
    const a = yield* Sim.process("a", on("a")(client(witness)))
    yield* Faults.install(options.plan)
    yield* Faults.random({
      fabric: { nodes: ["a", "b"] },
      within: "2 seconds",
      most: 8,
      ...(options.crash ? { crash: ["a", "b"], pause: ["a", "b"] } : {})
    })
    yield* Effect.sleep("3 seconds")
    yield* Faults.heal
    const [arrived, accounted] = [witness.arrived, witness.accounted]
    const goesOn = () => witness.arrived > arrived + 30 && witness.accounted > accounted + 3
    yield* Sim.eventually(goesOn, "60 seconds", "messages arrive and sessions end")
    witness.isOver = true
    yield* Effect.all([a.exit, b.exit])
    const left = Object.entries(fabric.resources()).filter(([, count]) => count > 0)
    assert.deepStrictEqual(left, [], "resources that are left")
    assert.strictEqual(fabric.counters.doubleCompletions, 0)
    yield* Chaos.sometimes("messages were sent again", fabric.counters.repeats > 0)
    yield* Chaos.sometimes("a peer had no receive", fabric.counters.rnrs > 0)
    yield* Chaos.sometimes("a peer was gone", fabric.counters.latePosts > 0)
  })

const loses = (from: string, to: string): FaultPlan.Fault => ({
  _tag: "Fabric",
  at: { millis: 0 },
  fault: { _tag: "Loss", from, to, forMillis: 3_000, share: 0.1 }
})

/** What makes each of the defects show in half of the runs or more. */
const losses = [loses("a", "b"), loses("b", "a")]

/** The program that finds planted defects: nothing crashes, and messages are lost both ways. */
export const broken = program({ crash: false, plan: losses })

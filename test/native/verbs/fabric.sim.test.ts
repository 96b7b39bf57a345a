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
import { Defects } from "../../../src/native/sim/defects.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Chaos, FaultPlan, Faults, Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"
import { client, server, Witness } from "./traffic.ts"

interface Options {
  readonly crash: boolean
  /** Faults for each run, besides those that are drawn. */
  readonly plan: FaultPlan.FaultPlan
}

const program = (defects: Defects = {}, options: Options = { crash: true, plan: [] }) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const witness = new Witness()
    yield* Sim.invariant("the books are right", () => {
      if (witness.wrong.length > 0) throw new Error(witness.wrong.join("; "))
      return true
    })
    yield* Sim.invariant("nobody sends before its peer is ready", () => {
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
    yield* Chaos.sometimes("somebody had no receive", fabric.counters.rnrs > 0)
    yield* Chaos.sometimes("a peer was gone", fabric.counters.latePosts > 0)
  }).pipe(Effect.provideService(Defects, defects))

describe("random traffic over a fabric with faults", () => {
  it.sim(
    "all work ends once, and goes on after the faults",
    { seeds: wideOr(100, 30), timeout: 300_000 },
    () => program()
  )
})

const loses = (from: string, to: string): FaultPlan.Fault => ({
  _tag: "Fabric",
  at: { millis: 0 },
  fault: { _tag: "Loss", from, to, forMillis: 3_000, share: 0.1 }
})

/** What makes each of the defects show in half of the runs or more. */
const losses = [loses("a", "b"), loses("b", "a")]

const defects: Record<string, Defects> = {
  "a failure flushes nothing": { skipFlush: true },
  "a repeated message takes effect again": { repeatEffects: true },
  "any answer ends the oldest work": { endOnAnyAnswer: true },
  "a good end is told twice": { endTwice: true },
  "a reset forgets what was posted": { forgetfulReset: true },
  "who accepts is too early": { acceptEarly: true }
}

describe("the same program", () => {
  for (const [name, defect] of Object.entries(defects)) {
    it.live(
      `finds that ${name}`,
      () =>
        Effect.gen(function* () {
          const broken = program(defect, { crash: false, plan: losses })
          const settings = { seeds: 20, checkShare: 0, shrinkAttempts: wideOr(20, 0) }
          const { failure } = yield* Sim.explore(broken, settings)
          assert.isDefined(failure)
          const { plan, seed } = failure!
          const saved = JSON.stringify(yield* Schema.encodeEffect(FaultPlan.FaultPlan)(plan))
          const load = Schema.decodeUnknownEffect(FaultPlan.FaultPlan)
          const loaded = yield* load(JSON.parse(saved))
          assert.deepStrictEqual(loaded, plan)
          const again = yield* Sim.run(broken, { seed, plan: loaded })
          assert.strictEqual(again.exit._tag, "Failure")
          for (const fault of plan) assert.match(FaultPlan.describe(fault), / at (step )?[\d.]+/)
        }),
      60_000
    )
  }
})

/**
 * A seeded simulation of RDMA endpoints: hosts that move memory between each other while queue
 * pairs are slow, handshakes are lost, late, doubled and forged, ports flap, cards fail, stores
 * are too small and hosts die and come back.
 *
 * Nobody may send before its peer is ready, every transfer that was accepted ends once, with and
 * without a deadline, what is said to have moved is in one registration of the peer's memory, also
 * if that is registered anew meanwhile, and when the faults stop, everybody reaches everybody.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Defects } from "../actors/endpoint/internal/defects.ts"
import { SimFabric } from "../native/sim/SimFabric.ts"
import type { FaultPlan } from "./FaultPlan.ts"
import * as Faults from "./Faults.ts"
import { host } from "./internal/endpoint/host.ts"
import { Witness } from "./internal/endpoint/transferChecker.ts"
import * as Sim from "./Sim.ts"
import { SimHandshakes } from "./SimHandshakes.ts"

/**
 * Known ways to get the gate wrong.
 *
 * - `ready-without-looking`: the answer to an acknowledgement opens the gate of whatever connection
 *   there is by then.
 * - `unbound-acknowledgement`: an acknowledgement counts for any queue pairs.
 */
export type Planted = keyof typeof defects

export const defects = {
  "ready-without-looking": { readyWithoutLooking: true },
  "unbound-acknowledgement": { unboundAcknowledgement: true }
} as const

export interface Options {
  /** `"off"` lets everybody send as soon as the own half is up. Default `"on"`. */
  readonly gate?: "on" | "off" | undefined
  /** A known defect to plant: a simulation that does not find it proves nothing. */
  readonly plant?: Planted | undefined
  /** Faults for every run, besides those that are drawn. */
  readonly plan?: FaultPlan | undefined
  /** Told of messages that came to a peer which was not ready. */
  readonly onEarlyPosts?: ((count: number) => void) | undefined
}

/** What must hold was broken. */
export class PromiseBroken extends Schema.TaggedError<PromiseBroken>()("PromiseBroken", {
  what: Schema.String
}) {
  override get message() {
    return this.what
  }
}

const names = ["a", "b", "c"] as const

/** How long faults strike, and how long recovery may take after the last one. */
const [STORM, RECOVERY] = ["3 seconds", "120 seconds"] as const

/** One run; give it to `Sim.explore` or `it.sim`. */
export const program = ({
  gate = "on",
  onEarlyPosts,
  plan = [],
  plant
}: Options = {}): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const network = new SimHandshakes()
    const witness = new Witness()
    let seen = 0
    yield* Sim.invariant("nobody sends too soon", () => {
      const more = fabric.earlyPosts - seen
      if (more > 0) onEarlyPosts?.(more)
      seen += more
      return seen === 0
    })
    yield* Sim.invariant("what moved is there, and ends once", () => {
      if (witness.complaint !== undefined) throw new PromiseBroken({ what: witness.complaint })
      return true
    })
    const hosts = yield* Effect.forEach(names, (name) =>
      Sim.process(name, host({ fabric, gate, name, names, network, witness }), {
        onFailure: { restartAfter: "500 millis" }
      })
    )
    const forging = yield* Effect.forkChild(
      Effect.forever(Effect.andThen(Effect.sleep("250 millis"), network.forge))
    )
    yield* Faults.install(plan)
    yield* Faults.random({
      fabric: { nodes: names },
      crash: names,
      pause: names,
      within: STORM,
      most: 6
    })
    yield* Effect.sleep(STORM)
    yield* Faults.heal
    const before = witness.snapshot
    yield* Sim.eventually(
      () => witness.everyWayMovedSince(names, before),
      RECOVERY,
      "everybody reaches everybody"
    )
    witness.isOver = true
    forging.interruptUnsafe()
    yield* Effect.forEach(hosts, ({ exit }) => exit)
    if (witness.underWay > 0) {
      return yield* new PromiseBroken({ what: `${witness.underWay} transfers have not ended` })
    }
    const { doubleCompletions } = fabric.counters
    const left = Object.entries(fabric.resources()).filter(([, count]) => count > 0)
    if (left.length > 0 || doubleCompletions > 0) {
      const what = `left: ${JSON.stringify(left)}, double completions: ${doubleCompletions}`
      return yield* new PromiseBroken({ what })
    }
  }).pipe(Effect.provideService(Defects, plant === undefined ? {} : defects[plant]))

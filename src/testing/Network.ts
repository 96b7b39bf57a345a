/**
 * A simulated network for programs of your own: nodes with addresses, and TCP and RDMA between
 * them.
 *
 * ```ts
 * const net = yield* Network.make({ nodes: ["a", "b"] })
 * yield* net.run("b", server)
 * yield* net.run("a", client)
 * yield* Faults.random({ crash: "b", cut: ["a", "b"], slow: true })
 * yield* Faults.heal
 * yield* Sim.eventually(allArrived, "30 seconds")
 * ```
 *
 * What a node opens with `IoPool` is a connection of the real lanes and framers over simulated
 * sockets: cut at any byte, late, reset, half open, refused after a TLS connect. Make the network
 * outside of the processes: it is what lies between them.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { IoPool, type Settings } from "../native/io/IoPool.ts"
import { SimFabric, type Options as FabricOptions } from "../native/sim/SimFabric.ts"
import * as SimVerbs from "../native/sim/SimVerbs.ts"
import type { Verbs } from "../native/verbs/Verbs.ts"
import { refuseUnknown, refuseUnknownOptions } from "./internal/sim/known.ts"
import * as Process from "./Process.ts"

export interface Options<Name extends string> {
  readonly nodes: ReadonlyArray<Name>
  /** The mean time that a message takes in one direction. Default 1 millisecond. */
  readonly latency?: Duration.Input
  /** The cutting of writes into segments. Default: at random places. */
  readonly segments?: FabricOptions["segments"]
  /** Settings of each node's pool. */
  readonly pool?: Settings
}

/** The services of one node. */
export type Services = IoPool | Verbs

export interface Network<in Name extends string> {
  /** Counts, and faults by hand. */
  readonly fabric: SimFabric
  /** The address at which others reach a node; its name leads there too. */
  readonly addressOf: (node: Name) => string
  /** Runs an effect as a process of that name on the node, again after each crash. */
  readonly run: <A, E, R>(
    node: Name,
    effect: Effect.Effect<A, E, R>,
    options?: Process.Options
  ) => Effect.Effect<Process.Process<A, E>, never, Exclude<Exclude<R, Services>, Scope.Scope>>
  /** Sockets and listeners that are open, of a node or of all. */
  readonly openSockets: (node?: Name) => number
}

/** Makes a network that lives as long as the Scope. */
export const make = Effect.fnUntraced(function* <const Name extends string>(
  options: Options<Name>
): Effect.fn.Return<Network<Name>, never, Scope.Scope> {
  const { latency = "1 millis", nodes, pool, segments } = options
  const known = { nodes: true, latency: true, segments: true, pool: true } as const
  refuseUnknownOptions("option of a network", options, known)
  const fabric = yield* SimFabric.make({ latency, segments })
  for (const node of nodes) fabric.host(node)
  const hostOf = (node: string) => {
    refuseUnknown("node of the network", [node], nodes)
    return fabric.host(node)
  }
  const layerOf = (node: string): Layer.Layer<Services> =>
    Layer.merge(
      Layer.orDie(IoPool.layerSim(hostOf(node), pool)),
      SimVerbs.layer(fabric, { host: node })
    )
  return {
    fabric,
    addressOf: (node) => hostOf(node).address,
    run: (node, effect, processOptions) =>
      Process.make(node, Effect.provide(effect, layerOf(node)), processOptions),
    openSockets: (node) =>
      (node === undefined ? nodes : [node]).reduce(
        (sum: number, one) => sum + hostOf(one).openSockets,
        0
      )
  }
})

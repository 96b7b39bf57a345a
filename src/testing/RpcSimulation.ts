/**
 * A seeded simulation of RPC-over-RDMA: 48 callers of two clients on one host, a server whose
 * grants rise and fall, calls that are interrupted or too long to go inline, connections that are
 * lost all the time, and either side dying and coming back. In half of the runs the server has a
 * journal of its replies.
 *
 * No message meets an empty receive queue in either direction, no call is executed twice, none
 * that was given up begins after a call of a newer connection, each one ends once and with its own
 * reply, what registers answer could have come from one call after the other, and when the faults
 * stop, all calls end and nothing is held.
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Journal } from "../actors/kernel/Journal.ts"
import { Parts } from "../actors/rpc/internal/parts.ts"
import { Verbs } from "../native/verbs/Verbs.ts"
import * as SimVerbs from "../native/sim/SimVerbs.ts"
import { SimFabric } from "../native/sim/SimFabric.ts"
import * as Gid from "../schema/Gid.ts"
import * as Faults from "./Faults.ts"
import { CallChecker } from "./internal/rpc/callChecker.ts"
import { clients, server, type Setting } from "./internal/rpc/hosts.ts"
import { partsOf, variants as made, type Variant as Made } from "./internal/rpc/variants.ts"
import * as Sim from "./Sim.ts"

/**
 * Known-bad variants.
 *
 * - `linux-7c8d9e7c`: wakes all calls when the connection is there, and posts Receives after that.
 * - `linux-8d4fb8ff`: posts for the last grant before it connects, and keeps that window.
 * - `linux-ef739b21`: begins with one call, but sends calls again without a look at the window.
 * - `linux-2ae50ad6`: opens the window before it posts the Receives for it.
 * - `linux-35d8b10a`: forgets a refill that failed.
 * - `linux-704f3f64`: opens the window, then posts a quarter of it.
 * - `linux-cancel`: an interrupted call gives its credit back at once.
 * - `resend-always`: sends calls again to a server that has forgotten them.
 * - `no-cache`: the server remembers no reply.
 * - `post-fewer`: the server posts one Receive fewer than its replies promise.
 * - `begin-late`: the server begins some calls late, without a look at their connection.
 */
export type Variant = Made

export const variants = Object.keys(made) as ReadonlyArray<Variant>

export interface Options {
  /** A known-bad variant to run: a simulation that does not find it proves nothing. */
  readonly variant?: Variant | undefined
  /** Told of messages that met an empty receive queue. */
  readonly onRnrs?: ((count: number) => void) | undefined
  /** Told of each run's calls when it has ended well. */
  readonly onEnd?:
    | ((calls: { readonly replies: number; readonly unknown: number }) => void)
    | undefined
}

/** A promise was broken. */
export class RpcPromiseBroken extends Schema.TaggedError<RpcPromiseBroken>(
  "handfast/testing/RpcPromiseBroken"
)("RpcPromiseBroken", { what: Schema.String }) {
  override get message() {
    return this.what
  }
}

/** How long faults strike, and how long it may take until all calls have ended after that. */
const [STORM, RECOVERY] = ["1 second", "60 seconds"] as const
/** Milliseconds between two lost connections: 8 and more in each storm. */
const LOSS_EVERY = [40, 120] as const

/** Faults under which the server keeps its address, and no device lacks Receives by itself. */
const kinds = [
  "SlowModify",
  "Loss",
  "Cut",
  "Delay",
  "RetryExhaustion",
  "QueuePairError",
  "PortFlap"
] as const

const names = ["server", "clients"] as const

/** Connections are lost at random moments, on either side. */
const loseConnections = (fabric: SimFabric) =>
  Effect.gen(function* () {
    yield* Effect.sleep(yield* Random.nextBetween(...LOSS_EVERY))
    const node = names[yield* Random.nextIntBetween(0, names.length - 1)]!
    fabric.strike({ _tag: "QueuePairError", node, step: "running" })
  }).pipe(Effect.forever)

const addressOf = (fabric: SimFabric) =>
  Effect.gen(function* () {
    const device = yield* (yield* Verbs).open()
    return Gid.toAddress((yield* device.port()).gids[0]!.gid)
  }).pipe(Effect.scoped, Effect.provide(SimVerbs.layer(fabric, { host: "server" })))

/** The parts of clients and servers, some of them broken. */
const brokenBy = (variant: Variant | undefined) =>
  Effect.map(FiberSet.makeRuntime(), (fork) =>
    partsOf(variant, (act) => void fork(Effect.delay(Effect.sync(act), "1 millis")))
  )

/** One run; give it to `Sim.explore` or `it.sim`. */
export const program = ({ onEnd, onRnrs, variant }: Options = {}): Effect.Effect<
  void,
  unknown,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const checker = new CallChecker()
    const isDurable = yield* Random.nextBoolean
    const setting: Setting = { fabric, checker, journal: isDurable ? yield* Journal : undefined }
    let seen = 0
    yield* Sim.invariant("no message meets an empty receive queue", () => {
      const more = fabric.rnrs - seen
      if (more > 0) onRnrs?.(more)
      seen += more
      return seen === 0
    })
    yield* Sim.invariant("a call is executed once, and ends once with its own reply", () => {
      if (checker.complaint !== undefined) throw new RpcPromiseBroken({ what: checker.complaint })
      return true
    })
    const address = yield* addressOf(fabric)
    const restart = { onFailure: { restartAfter: "100 millis" } } as const
    const processes = [
      yield* Sim.process("server", server(setting), restart),
      yield* Sim.process("clients", clients(setting, address), restart)
    ]
    yield* Faults.random({
      fabric: { nodes: names, kinds },
      crash: names,
      pause: names,
      within: STORM,
      most: 3
    })
    const losing = yield* Effect.forkChild(loseConnections(fabric))
    yield* Effect.sleep(STORM)
    losing.interruptUnsafe()
    yield* Faults.heal
    checker.isOver = true
    yield* Sim.eventually(() => checker.pending === 0, RECOVERY, "all calls have ended")
    yield* Effect.forEach(processes, (process): Effect.Effect<unknown> => process.exit)
    checker.checkRegisters()
    if (checker.complaint !== undefined) {
      return yield* new RpcPromiseBroken({ what: checker.complaint })
    }
    onEnd?.(checker)
    const { doubleCompletions } = fabric.counters
    const left = Object.entries(fabric.resources()).filter(([, count]) => count > 0)
    if (left.length > 0 || doubleCompletions > 0) {
      const what = `left: ${JSON.stringify(left)}, double completions: ${doubleCompletions}`
      return yield* new RpcPromiseBroken({ what })
    }
  }).pipe(
    Effect.provideServiceEffect(Parts, brokenBy(variant)),
    Effect.provide(Journal.layerMemory)
  )

/**
 * Calls the procedures of a program at one responder, by RPC-over-RDMA version 1.
 *
 * A call ends exactly once: with its reply, with a typed error, or interrupted. It survives lost
 * connections: what was not answered is sent again, with the same XID, when the next connection is
 * proved by the reply to NULL. Never more calls are in flight than the responder has granted and
 * Receives are posted for; a call that its caller gave up keeps its credit until its reply.
 */

import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import * as Clock from "effect/Clock"
import * as WebCrypto from "effect/crypto/WebCrypto"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CreateError, DeviceOpenError } from "../../native/verbs/VerbsError.ts"
import { Verbs } from "../../native/verbs/Verbs.ts"
import type { ConnectionData } from "../../schema/rpc/ConnectionData.ts"
import * as Actor from "../kernel/Actor.ts"
import { Backoff } from "../link/Backoff.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import { CallQueue } from "./internal/callQueue.ts"
import { type CallError, type CallReply, type CallRequest, Calls } from "./internal/calls.ts"
import {
  type ClientOptions,
  completionsOf,
  depthsOf,
  offeredBy,
  resolve
} from "./internal/clientSettings.ts"
import {
  type ConnectionActor,
  type Hub,
  make as makeConnection
} from "./internal/connectionActor.ts"
import { ReopeningGround } from "./internal/ground.ts"
import { Parts } from "./internal/parts.ts"
import { leastThresholds } from "./internal/planning.ts"
import { Patience } from "./internal/patience.ts"
import { ReverseServing } from "./internal/reverseServing.ts"
import { validateDepths } from "./internal/settings.ts"
import { type Methods, methodsOf } from "./internal/typedCalls.ts"
import type { SettingsConflict } from "./RpcError.ts"
import type { RpcProgram } from "./RpcProgram.ts"

export type { CallOptions, Methods } from "./internal/typedCalls.ts"
export type { ClientOptions } from "./internal/clientSettings.ts"
export type { CallError, CallReply, CallRequest } from "./internal/calls.ts"
export type { Range } from "./internal/planning.ts"

/** A client of one program at one responder. */
export class RpcClient {
  readonly #hub: Hub
  readonly #connection: ConnectionActor
  readonly #calls: Calls

  constructor(hub: Hub, connection: ConnectionActor) {
    this.#hub = hub
    this.#connection = connection
    this.#calls = new Calls(hub)
  }

  /** The phase of the connection, now and after each change. */
  get states(): Stream.Stream<ConnectionState> {
    return this.#connection.states
  }

  /** Ends the connection. Calls go on with the next one. */
  get reconnect(): Effect.Effect<void> {
    return Effect.ignore(this.#connection.ask.Reconnect())
  }

  /** Resources in use: 0 everywhere when no call is under way and none was interrupted. */
  get usage(): {
    readonly waiting: number
    readonly xids: number
    readonly heldCredits: number
    readonly lentBytes: number
  } {
    const { around, requester } = this.#hub
    return {
      waiting: around.queue.length,
      xids: around.queue.liveXids,
      heldCredits: requester?.credits.held ?? 0,
      lentBytes: this.#hub.ground.last.share.lentBytes
    }
  }

  /** The calls of a typed program, which must be the one of this client. */
  methods<Rpcs extends Rpc.Any>(typed: RpcProgram<Rpcs>): Methods<Rpcs, CallError> {
    const { program, version } = this.#hub.settings
    if (typed.program !== program || typed.version !== version) {
      throw new RangeError(`a client of program ${program}, version ${version}`)
    }
    return methodsOf(this, typed.procedures)
  }

  /** Calls a procedure. Interrupting this leaks no credit. */
  call(request: CallRequest): Effect.Effect<CallReply, CallError> {
    return this.#calls.call(request)
  }
}

/** Why a client could not be made. */
export type MakeError = SettingsConflict | DeviceOpenError | CreateError | Actor.RecoveryError

const open = Effect.fnUntraced(function* (
  options: ClientOptions
): Effect.fn.Return<RpcClient, MakeError, Verbs | Scope.Scope> {
  const settings = yield* resolve(options)
  const verbs = yield* Verbs
  const { device, memoryBytes, to } = settings
  const name = device === "" ? verbs.route(to.host) : Effect.succeed(device)
  const opening = Effect.flatMap(name, (name) => verbs.open(name))
  const completions = completionsOf(settings)
  const ground = yield* ReopeningGround.make(opening, { completions, memoryBytes })
  yield* validateDepths(ground.last, depthsOf(settings), ["credits"])
  const crypto = yield* WebCrypto.WebCrypto
  const clock = yield* Clock.Clock
  const fork = yield* FiberSet.makeRuntime()
  const offered = offeredBy(settings)
  const rules = yield* Parts
  const said: ConnectionData = {
    sendBytes: settings.inlineBytes,
    receiveBytes: settings.inlineBytes,
    remoteInvalidate: verbs.capabilities.remoteInvalidate,
    extension: { instance: crypto.getRandomValues(new Uint8Array(16)), reverseCalls: offered }
  }
  const hub: Hub = {
    ground,
    settings,
    parts: rules,
    around: {
      queue: new CallQueue(crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1),
      terms: { requested: settings.credits, reverse: offered },
      program: { program: settings.program, version: settings.version },
      patience: new Patience(settings),
      trustsForeignCache: settings.trustsForeignCache,
      now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
      reverse: new ReverseServing(
        { programs: settings.reverse, calls: offered, principal: to.host },
        rules.Cache,
        fork
      ),
      share: () => ground.last.share,
      release: (loans) => void fork(Effect.forEach(loans, ({ end }) => end, { discard: true }))
    },
    backoff: yield* Backoff.make({
      firstMs: settings.firstPauseMs,
      longestMs: settings.longestPauseMs
    }),
    said,
    requester: undefined,
    thresholds: leastThresholds
  }
  const id = `${settings.to.host}:${settings.to.port}/${yield* Random.nextInt}`
  const connection = yield* Effect.orDie(Actor.spawn(makeConnection(hub), id))
  yield* Effect.addFinalizer(() => Effect.sync(() => hub.around.queue.close()))
  return new RpcClient(hub, connection)
})

/**
 * Makes a client: with a typed program, its methods. It connects at once, and ends with the Scope;
 * calls that wait then fail.
 * A call waits as long as no responder answers, also where none is or it refuses this client:
 * `states` says why, and `Effect.timeout` bounds it.
 */
export const make: {
  <Rpcs extends Rpc.Any>(
    program: RpcProgram<Rpcs>,
    options: Omit<ClientOptions, "program" | "version">
  ): Effect.Effect<Methods<Rpcs, CallError>, MakeError, Verbs | Scope.Scope>
  (options: ClientOptions): Effect.Effect<RpcClient, MakeError, Verbs | Scope.Scope>
} = (
  first: ClientOptions | RpcProgram<Rpc.Any>,
  second?: Omit<ClientOptions, "program" | "version">
): Effect.Effect<never, MakeError, Verbs | Scope.Scope> => {
  if (second === undefined) return open(first as ClientOptions) as Effect.Effect<never>
  const typed = first as RpcProgram<Rpc.Any>
  const { program, version } = typed
  return Effect.map(
    open({ ...second, program, version }),
    (client) => client.methods(typed) as never
  )
}

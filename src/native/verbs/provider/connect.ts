/** Connects and accepts: validates the parameters, and undoes an attempt that fails. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Gid from "../../../schema/Gid.ts"
import type {
  AcceptOptions,
  Address,
  Connection,
  ConnectOptions,
  ConnectParams
} from "../Connection.ts"
import type { DeviceInfo } from "../Device.ts"
import type { QueuePair } from "../QueuePair.ts"
import { validateRanges } from "../QueuePairState.ts"
import {
  type AcceptError,
  type ConnectError,
  InvalidAttribute,
  LimitExceeded,
  type ModifyError,
  Unreachable
} from "../VerbsError.ts"
import {
  type ProviderConnection,
  type ResolvedConnectParams,
  resolveConnectParams
} from "./connection.ts"
import { acquireResource, isMadeBy } from "./resources.ts"
import { validateTransition } from "./transitions.ts"

/** The most bytes of private data with each message. */
export interface PrivateDataLimits {
  readonly connect: number
  readonly accept: number
  readonly reject: number
}

/** The provider's part of a connection attempt. */
export interface ConnectBackend<C extends ProviderConnection> {
  readonly privateData: PrivateDataLimits
  /** Milliseconds for the other side to answer. */
  readonly connectTimeoutMs: number
  readonly makeConnection: (queuePair: C["queuePair"], peer: Address) => C
  /** Sends the request, and takes the queue pair to `rts`. */
  readonly connect: (
    connection: C,
    params: ResolvedConnectParams
  ) => Effect.Effect<void, ConnectError>
}

/** The device of a connection. */
export interface ConnectContext<C extends ProviderConnection> {
  readonly info: DeviceInfo
  readonly queuePairs: WeakSet<C["queuePair"]>
  readonly backend: ConnectBackend<C>
}

export const addressText = ({ host, port }: Address): string => `${host}:${port}`

/** Checks the parameters, and returns the queue pair if it can be connected. */
const validateConnect = <C extends ProviderConnection>(
  { backend, info, queuePairs }: ConnectContext<C>,
  queuePair: QueuePair,
  terms: ConnectParams,
  operation: "connect" | "accept"
): Effect.Effect<C["queuePair"], ModifyError | LimitExceeded> => {
  const params = resolveConnectParams(terms)
  const wrong = validateRanges({ to: "rts", ...params })
  if (wrong !== undefined) return Effect.fail(new InvalidAttribute({ operation, ...wrong }))
  const { name: device, limits } = info
  for (const [resource, wanted, limit] of [
    ["bytes of private data", params.privateData.length, backend.privateData[operation]],
    ["inbound reads", params.inboundReads, limits.reads],
    ["outbound reads", params.outboundReads, limits.reads]
  ] as const) {
    if (wanted <= limit) continue
    return Effect.fail(new LimitExceeded({ device, resource, limit, wanted }))
  }
  if (!isMadeBy(queuePairs, queuePair)) {
    const detail = "not one of this device"
    return Effect.fail(new InvalidAttribute({ operation, attribute: "queuePair", detail }))
  }
  const obstruction = validateTransition(queuePair, "rtr")
  return obstruction === undefined ? Effect.succeed(queuePair) : Effect.fail(obstruction)
}

/** Makes a connection; a failure or interruption on the way ends it on both sides. */
const establish = <C extends ProviderConnection, E>(
  { backend }: ConnectContext<C>,
  step: "connect" | "accept",
  queuePair: C["queuePair"],
  peer: Address,
  make: (connection: C) => Effect.Effect<void, E>
): Effect.Effect<Connection, E | Unreachable, Scope.Scope> => {
  const fail = (detail: string) =>
    Effect.fail(new Unreachable({ peer: addressText(peer), step, detail }))
  return Effect.flatMap(
    acquireResource(Effect.sync(() => backend.makeConnection(queuePair, peer))),
    (connection) =>
      make(connection).pipe(
        Effect.raceFirst(Effect.flatMap(connection.disconnected, fail)),
        Effect.timeoutOrElse({
          duration: backend.connectTimeoutMs,
          orElse: () => fail("no answer")
        }),
        Effect.onExit((exit) =>
          exit._tag === "Success" ? Effect.void : Effect.sync(() => connection.finish("failed"))
        ),
        Effect.as(connection)
      )
  )
}

/** Asks a listener for a connection. */
export const connect = Effect.fnUntraced(function* <C extends ProviderConnection>(
  parts: ConnectContext<C>,
  options: ConnectOptions
): Effect.fn.Return<Connection, ConnectError, Scope.Scope> {
  const queuePair = yield* validateConnect(parts, options.queuePair, options, "connect")
  const { to } = options
  if (Gid.fromAddress(to.host) === undefined || !isPort(to.port) || to.port === 0) {
    const detail = "no IP address with a port"
    return yield* new Unreachable({ peer: addressText(to), step: "address", detail })
  }
  return yield* establish(parts, "connect", queuePair, to, (connection) =>
    parts.backend.connect(connection, resolveConnectParams(options))
  )
})

/** A number that a port may have. */
export const isPort = (port: number): boolean =>
  Number.isInteger(port) && port >= 0 && port <= 0xffff

/** A request that has arrived at a provider. */
export interface IncomingRequest<C extends ProviderConnection> {
  readonly peer: Address
  readonly privateData: Uint8Array
  /** Reads of the peer that may be under way here, and those that it allows. */
  readonly inboundReads: number
  readonly outboundReads: number
  /** Accepts, takes the queue pair to `rts`, and returns when the peer has the answer. */
  readonly accept: (
    connection: C,
    params: ResolvedConnectParams
  ) => Effect.Effect<void, AcceptError>
  readonly reject: (privateData: Uint8Array) => void
}

/** Accepts a request. `claim` returns false if it was answered before. */
export const accept = Effect.fnUntraced(function* <C extends ProviderConnection>(
  parts: ConnectContext<C>,
  asked: IncomingRequest<C>,
  options: AcceptOptions,
  claim: () => boolean
): Effect.fn.Return<Connection, AcceptError, Scope.Scope> {
  const queuePair = yield* validateConnect(parts, options.queuePair, options, "accept")
  if (!claim()) {
    const detail = "the request was answered before"
    return yield* new Unreachable({ peer: addressText(asked.peer), step: "accept", detail })
  }
  return yield* establish(parts, "accept", queuePair, asked.peer, (connection) =>
    asked.accept(connection, resolveConnectParams(options))
  )
})

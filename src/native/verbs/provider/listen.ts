/** Listening: requests wait in a bounded queue, and each is answered once. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Gid from "../../../schema/Gid.ts"
import type {
  AcceptOptions,
  Address,
  Connection,
  ConnectRequest,
  Listener,
  ListenOptions
} from "../Connection.ts"
import {
  type AcceptError,
  InvalidAttribute,
  type ListenError,
  type Released
} from "../VerbsError.ts"
import { accept, type IncomingRequest, isPort, type ConnectContext } from "./connect.ts"
import { noBytes, type ProviderConnection } from "./connection.ts"
import { type HasResource, acquireResource, Resource } from "./resources.ts"

/** Requests that wait for a program, as in sockets. */
const defaultBacklog = 128

/** The addresses and the port to listen at. */
export interface ListenAddress {
  /** Default: those of the device. */
  readonly hosts: ReadonlyArray<string>
  /** Also at later addresses of the device. */
  readonly isEverywhere: boolean
  readonly port: number
  readonly backlog: number
}

/** Hands a request to the program; undefined if the backlog is full. */
export type OnRequest<C extends ProviderConnection> = (
  asked: IncomingRequest<C>
) => ProviderRequest<C> | undefined

/** The provider's part of listening. */
export interface ListenBackend<C extends ProviderConnection> {
  /** The addresses of the device. */
  readonly addresses: () => ReadonlyArray<string>
  /** Listens until the Scope closes; `end` stops it at once. */
  readonly listen: (
    at: ListenAddress,
    ask: OnRequest<C>
  ) => Effect.Effect<
    {
      readonly address: Address
      readonly end: () => void
      readonly settled?: Effect.Effect<void>
    },
    ListenError,
    Scope.Scope
  >
}

/** A request that arrived. */
export class ProviderRequest<C extends ProviderConnection> implements ConnectRequest {
  readonly peer: Address
  readonly privateData: Uint8Array
  readonly inboundReads: number
  readonly outboundReads: number
  readonly #context: ConnectContext<C>
  readonly #incoming: IncomingRequest<C>
  readonly #unanswered: Set<ProviderRequest<C>>

  constructor(
    parts: ConnectContext<C>,
    asked: IncomingRequest<C>,
    unanswered: Set<ProviderRequest<C>>
  ) {
    this.peer = asked.peer
    this.privateData = asked.privateData
    this.inboundReads = asked.inboundReads
    this.outboundReads = asked.outboundReads
    this.#context = parts
    this.#incoming = asked
    this.#unanswered = unanswered
  }

  accept(options: AcceptOptions): Effect.Effect<Connection, AcceptError, Scope.Scope> {
    return accept(this.#context, this.#incoming, options, () => this.#unanswered.delete(this))
  }

  reject(privateData: Uint8Array = noBytes): Effect.Effect<void> {
    return Effect.sync(() => this.rejectUnsafe(privateData))
  }

  rejectUnsafe(privateData: Uint8Array): void {
    if (!this.#unanswered.delete(this)) return
    this.#incoming.reject(privateData.slice(0, this.#context.backend.privateData.reject))
  }
}

/** Checks the options against the addresses of the device. */
const validateListen = ({ backlog, host, port }: ListenOptions, local: ReadonlyArray<string>) => {
  if (local.length === 0) return { attribute: "host", detail: "the device has no address" }
  const gid = host === undefined ? undefined : Gid.fromAddress(host)
  if (host !== undefined && (gid === undefined || !local.map(Gid.fromAddress).includes(gid))) {
    const detail = `${host} is none of ${local.join(", ")}, the device's addresses`
    return { attribute: "host", detail }
  }
  if (port !== undefined && !isPort(port)) return { attribute: "port", detail: `no ${port}` }
  return backlog === undefined || (Number.isSafeInteger(backlog) && backlog > 0)
    ? undefined
    : { attribute: "backlog", detail: `${backlog} is no number of requests` }
}

/** Listens on a device. */
export const listen = Effect.fnUntraced(function* <C extends ProviderConnection>(
  device: Resource,
  parts: ConnectContext<C>,
  backend: ListenBackend<C>,
  options: ListenOptions
): Effect.fn.Return<Listener, ListenError, Scope.Scope> {
  const gone = () => device.releasedError(parts.info.name)
  const before = gone()
  if (before !== undefined) return yield* before
  const local = backend.addresses()
  const invalid = validateListen(options, local)
  if (invalid !== undefined) {
    return yield* new InvalidAttribute({ operation: "listen", ...invalid })
  }
  const { backlog = defaultBacklog, host, port = 0 } = options
  const requests = yield* Queue.dropping<ProviderRequest<C>, Released>(backlog)
  // Requests that wait to be taken, or were taken and have no answer.
  const unanswered = new Set<ProviderRequest<C>>()
  const isEverywhere = host === undefined
  const at = { hosts: isEverywhere ? local : [host], isEverywhere, port, backlog }
  const bound = yield* backend.listen(at, (asked) => {
    const request = new ProviderRequest(parts, asked, unanswered)
    if (!Queue.offerUnsafe(requests, request)) return undefined
    unanswered.add(request)
    return request
  })
  const { address, end, settled = Effect.void } = bound
  return yield* acquireResource(
    Effect.suspend(() => {
      // The device may have gone while the port was bound.
      const meanwhile = gone()
      if (meanwhile !== undefined) {
        end()
        return Effect.fail(meanwhile)
      }
      const resource: Resource = new Resource("listener", [device], () => {
        end()
        for (const request of unanswered) request.rejectUnsafe(noBytes)
        const gone = resource.releasedError(`listener on ${address.port}`)!
        Queue.failCauseUnsafe(requests, Cause.fail(gone))
      })
      const take = Queue.take(requests)
      const listener: Listener & HasResource = { address, take, resource, settled }
      return Effect.succeed(listener)
    })
  )
})

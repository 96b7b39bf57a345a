/**
 * The handshake port in Mooncake's dialect: one server for all NICs of a process.
 *
 * Connections are independent, so a silent, slow or hostile peer delays no other. There is a limit
 * on connections and one deadline for each. A connection beyond the limit closes the oldest one
 * that waits for its peer: either its request is not complete, or it has its answer. If all are
 * being answered, the newest is closed.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { IoPool } from "../../../native/io/IoPool.ts"
import type { TlsSettings } from "../../../native/io/IoPool.ts"
import type { PeerInfo } from "../../../native/io/Lane.ts"
import type { SettingsRefused, SocketOpenError } from "../../../native/io/PoolError.ts"
import { checkRanges, millis, whole } from "../../../native/io/settingRanges.ts"
import type { Gid } from "../../../schema/Gid.ts"
import { defaultLimit } from "../../../schema/mooncake/Frame.ts"
import { defaultPort } from "../../../schema/mooncake/NicPath.ts"
import type { Notify } from "../../../schema/mooncake/Notify.ts"
import type { SegmentDescriptor } from "../../../schema/mooncake/SegmentDescriptor.ts"
import { Epochs } from "../../kernel/Epochs.ts"
import type { Reception } from "../EndpointStore.ts"
import { type Caller, RequestHandler } from "./internal/requestHandler.ts"
import { listenPlain, listenSecure } from "./internal/listen.ts"
import { NotifyInbox } from "./internal/notifyInbox.ts"
import { Port } from "./internal/serverConnection.ts"

export type { Caller }

export interface Options {
  /** Default: all addresses. */
  readonly host?: string | undefined
  /** 0 for any free port. Default 12001, Mooncake's port. */
  readonly port?: number | undefined
  /** TLS in the pool's workers. Default: none, as Mooncake does. */
  readonly tls?: TlsSettings | undefined
  /** Connections at the same time. Default 1024: a storm of peers, at most 1 MiB each. */
  readonly connections?: number | undefined
  /**
   * Milliseconds for a connection: request, answer, and the peer's end. Default 10 s: an answer
   * takes milliseconds.
   */
  readonly exchangeWithinMs?: number | undefined
  /** Bytes of a request. Default 1 MiB, Mooncake's limit. */
  readonly frameBytes?: number | undefined
  /**
   * Whether to read anything from a caller, decided by its address or certificate alone. Default:
   * always.
   */
  readonly hears?: ((peer: PeerInfo) => boolean) | undefined
  /** Whether to serve a caller; asked before resources are made for it. Default: always. */
  readonly admit?: ((caller: Caller) => boolean) | undefined
  /** The GID of an old peer that does not send it, if it is known. Must not call other peers. */
  readonly gidOf?: ((path: string) => Gid | undefined) | undefined
  /** The descriptor of this process. Default: none, and a caller that asks for it is closed. */
  readonly segment?: Effect.Effect<SegmentDescriptor> | undefined
  /** Notifies that may wait to be taken; a caller that sends more is closed. Default 1024. */
  readonly notifies?: number | undefined
  /** Bytes of all notifies that wait. Default 4 MiB: room for one of the longest frame. */
  readonly notifyBytes?: number | undefined
  /** Characters of a path that a caller names. Default 512: a host, its port and a device. */
  readonly nameChars?: number | undefined
}

export interface HandshakeServer {
  readonly address: string
  readonly port: number
  /** Takes the handshakes of a NIC, until the Scope closes. */
  readonly serve: (path: string, reception: Reception) => Effect.Effect<void, never, Scope.Scope>
  /** Messages that peers have sent to this process. */
  readonly notifies: Queue.Dequeue<Notify>
}

/** Ranges of the settings. */
const ranges = {
  port: whole(0, 65_535),
  connections: whole(1),
  exchangeWithinMs: millis(1),
  frameBytes: whole(1),
  notifies: whole(0),
  notifyBytes: whole(0),
  nameChars: whole(1)
}

/** Listens until the Scope closes. */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<HandshakeServer, SocketOpenError | SettingsRefused, IoPool | Scope.Scope> {
  yield* checkRanges(options, ranges)
  const { notifies: most = 1_024, notifyBytes = 4 << 20 } = options
  const notifies = yield* Effect.acquireRelease(Queue.dropping<Notify>(most), Queue.shutdown)
  const inbox = new NotifyInbox(notifies, notifyBytes)
  const receptions = new Map<string, Reception>()
  const handler = new RequestHandler(receptions, inbox, (yield* Epochs).instance, options)
  const { connections = 1_024, frameBytes = defaultLimit, exchangeWithinMs = 10_000 } = options
  const limits = { connections, frameBytes, exchangeWithinMs, hears: options.hears ?? (() => true) }
  const port = yield* Port.make(handler, limits)
  const { host = "::", port: at = defaultPort, tls } = options
  const listener = yield* tls === undefined
    ? listenPlain(port, { host, port: at })
    : listenSecure(port, { host, port: at }, tls)
  return {
    address: listener.address,
    port: listener.port,
    notifies,
    serve: (path, reception) =>
      Effect.acquireRelease(
        Effect.sync(() => void receptions.set(path, reception)),
        () =>
          Effect.sync(() => {
            if (receptions.get(path) === reception) receptions.delete(path)
          })
      )
  }
})

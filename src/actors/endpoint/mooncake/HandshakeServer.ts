/**
 * The port where peers shake hands, in Mooncake's dialect: one server for all cards of a process.
 *
 * Each connection lives by itself, so whoever is silent, slow or hostile delays nobody else. There
 * is a limit on connections and one deadline for all that happens on each. A connection beyond the
 * limit takes the place of the oldest one that waits for its peer: it has not said all it wants, or
 * it has its answer already. If all are being answered, the newest is closed.
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
import { type Caller, Desk } from "./internal/requestHandler.ts"
import { listenPlain, listenSecure } from "./internal/listen.ts"
import { NotifyInbox } from "./internal/notifyInbox.ts"
import { Port } from "./internal/serverConnection.ts"

export type { Caller }

export interface Options {
  /** Default: all addresses. */
  readonly host?: string | undefined
  /** 0 for any free port. Default 12001, Mooncake's own. */
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
  /** Octets of a request. Default 1 MiB, Mooncake's own limit. */
  readonly frameBytes?: number | undefined
  /**
   * Whether anything that a caller sends is read, known by its address or certificate alone.
   * Default: always.
   */
  readonly hears?: ((peer: PeerInfo) => boolean) | undefined
  /** Whether to listen to a caller; asked before anything is made for it. Default: always. */
  readonly admit?: ((caller: Caller) => boolean) | undefined
  /** The GID of a peer that is too old to tell it, if it is known. It must not ask anybody. */
  readonly gidOf?: ((path: string) => Gid | undefined) | undefined
  /** What this process says about itself. Default: nothing, and whoever asks is closed. */
  readonly segment?: Effect.Effect<SegmentDescriptor> | undefined
  /** Notifies that may wait to be taken; a caller that sends more is closed. Default 1024. */
  readonly notifies?: number | undefined
  /** Bytes of all notifies that wait. Default 4 MiB: room for one as long as a frame may be. */
  readonly notifyBytes?: number | undefined
  /** Characters of a path that a caller names. Default 512: a host, its port and a device. */
  readonly nameChars?: number | undefined
}

export interface HandshakeServer {
  readonly address: string
  readonly port: number
  /** Takes the handshakes of a card, until the Scope closes. */
  readonly serve: (path: string, reception: Reception) => Effect.Effect<void, never, Scope.Scope>
  /** What peers have sent to be noticed. */
  readonly notifies: Queue.Dequeue<Notify>
}

/** What the settings must be. */
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
  const desk = new Desk(receptions, inbox, (yield* Epochs).instance, options)
  const { connections = 1_024, frameBytes = defaultLimit, exchangeWithinMs = 10_000 } = options
  const limits = { connections, frameBytes, exchangeWithinMs, hears: options.hears ?? (() => true) }
  const port = yield* Port.make(desk, limits)
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

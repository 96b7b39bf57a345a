/**
 * A node that moves memory to its peers and serves them: its NICs, their endpoints, the handshake
 * port and an engine, in one layer.
 *
 * It needs a provider of `Verbs` and a `Journal`. The journal holds durable transfers and the
 * history of each endpoint.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Queue from "effect/Queue"
import { IoPool, type Settings as PoolSettings } from "../../native/io/IoPool.ts"
import type { SettingsRefused, SocketOpenError } from "../../native/io/PoolError.ts"
import {
  type CreateError,
  type DeviceOpenError,
  InvalidAttribute
} from "../../native/verbs/VerbsError.ts"
import type { Verbs } from "../../native/verbs/Verbs.ts"
import * as NicPath from "../../schema/mooncake/NicPath.ts"
import type { Notify } from "../../schema/mooncake/Notify.ts"
import type { SegmentDescriptor } from "../../schema/mooncake/SegmentDescriptor.ts"
import type { Journal } from "../kernel/Journal.ts"
import type { SpawnError } from "../kernel/Supervisor.ts"
import type * as EndpointStore from "../endpoint/EndpointStore.ts"
import { Endpoints } from "../endpoint/Endpoints.ts"
import * as HandshakeServer from "../endpoint/mooncake/HandshakeServer.ts"
import type { Options as NicOptions } from "../rdma/Nic.ts"
import { Nics } from "../rdma/Nics.ts"
import type { Peer, PeersRefused } from "../link/Peers.ts"
import { serve } from "../endpoint/mooncake/ServedPeers.ts"
import * as Segment from "../rdma/Segment.ts"
import * as TcpHandshakes from "../endpoint/mooncake/TcpHandshakes.ts"
import { type Settings as EngineSettings, TransferEngine } from "./TransferEngine.ts"
import type { Settings as TransfersSettings } from "./Transfers.ts"

export {
  /**
   * A peer: a name or an address, with or without a port (`10.0.0.2:12001`, as transfers name it),
   * a network (`10.0.0.0/24`), or the SHA-256 fingerprint of the certificate of a TLS client.
   */
  type Peer,
  /** A node names no peers that it serves, or names an invalid one. */
  PeersRefused
} from "../link/Peers.ts"

/** The peers that a node serves. See `SECURITY.md` for what others can do in each case. */
export type Served =
  | {
      /**
       * The peers with which this node moves memory, both ways. Others are refused at all of its
       * ports before anything that they send is read. An address admits all programs of its host,
       * and its port is ignored; names are resolved every 30 seconds.
       */
      readonly peers: ReadonlyArray<Peer>
      readonly open?: undefined
    }
  | {
      /** Serves every peer that reaches its ports: all can read and write all named memory. */
      readonly open: true
      readonly peers?: undefined
    }

export type Options = Served & Settings

/** Settings of a node, besides the peers that it serves. */
export interface Settings {
  /**
   * The address by which peers know this process. Its ports listen only there; memory moves through
   * the device that has it.
   */
  readonly host: string
  /**
   * Devices to use, each once, by name or with settings. A device that does not have `host` listens
   * at all of its addresses. Default: the one that has `host`.
   */
  readonly nics?: ReadonlyArray<string | Omit<NicOptions, "path" | "reach">> | undefined
  /** Settings of the handshake port. Port 0 draws a free one. */
  readonly handshake?: Omit<HandshakeServer.Options, "host" | "segment" | "hears"> | undefined
  /** Settings of calls to peers. */
  readonly calls?: Omit<TcpHandshakes.Options, "mayCall"> | undefined
  /** With `open`, peers' offers create at most 128 endpoints that this side has not used. */
  readonly endpoints?: Omit<EndpointStore.Options, "nic" | "onReady"> | undefined
  readonly engine?: (EngineSettings & TransfersSettings) | undefined
  /** The workers for handshakes. Default without TLS: none, as they stay on the main thread. */
  readonly pool?: PoolSettings | undefined
  /** The id of the history of durable transfers. Default `"transfers"`. */
  readonly name?: string | undefined
}

/** This process as peers see it. */
export class TransferNode extends Context.Service<
  TransferNode,
  TcpHandshakes.Calls & {
    /** Its name for peers, `host:port`. */
    readonly server: string
    /** Messages that peers have sent to this process. */
    readonly notifies: Queue.Dequeue<Notify>
  }
>()("handfast/actors/transfer/TransferNode") {
  /**
   * The node and its engine.
   *
   * **Example** (Serving one peer)
   *
   * ```ts
   * TransferNode.layer({ host: "10.0.0.1", peers: ["10.0.0.2:12001"] })
   * ```
   */
  static readonly layer = (
    options: Options
  ): Layer.Layer<
    TransferNode | TransferEngine | Endpoints | Nics,
    SocketOpenError | DeviceOpenError | CreateError | SpawnError | SettingsRefused | PeersRefused,
    Verbs | Journal
  > => Layer.effectContext(build(options)).pipe(Layer.provide(IoPool.layer(poolOf(options))))
}

/** Without TLS a worker would have nothing to do, and only delay the start of the node. */
const poolOf = ({ calls, handshake, pool }: Options): PoolSettings | undefined => {
  const isSecure = calls?.tls !== undefined || handshake?.tls !== undefined
  return isSecure ? pool : { workers: 0, ...pool }
}

/** Endpoints that offers may create on a node that is open: about 40 MB. */
const openAnswered = 128

/** The wildcard addresses. */
const nowhere: ReadonlySet<string> = new Set(["::", "0.0.0.0"])

const build = Effect.fnUntraced(function* (options: Options) {
  const { calls, handshake, host, name = "transfers", nics = [{}] } = options
  const service = yield* serve(options)
  const called = { ...calls, mayCall: service.mayCall }
  // The port is part of every path, so it is opened first. Metadata requests wait for the rest.
  const describe = Deferred.makeUnsafe<Effect.Effect<SegmentDescriptor>>()
  const server = yield* HandshakeServer.make({
    ...handshake,
    ...service.handshake(handshake?.admit),
    host,
    segment: Effect.flatten(Deferred.await(describe))
  })
  if (nowhere.has(server.address)) {
    const detail = `"${host}" is no address by which a peer knows a node`
    return yield* new InvalidAttribute({ operation: "open", attribute: "host", detail })
  }
  const serverName = NicPath.make("any", { host, port: server.port }).server
  if (options.open === true) yield* Effect.logWarning(`${serverName} is open: it serves every peer`)
  const reach = { host: server.address, admits: service.admitsAddress }
  const withPaths = nics.map((nic) => {
    const nicOptions = typeof nic === "string" ? { device: nic } : nic
    const path = NicPath.print({ server: serverName, nic: nicOptions.device ?? "default" })
    return Object.assign({ path, reach }, nicOptions)
  })
  const endpoints = options.open === true ? { answered: openAnswered } : {}
  const all = yield* Layer.build(
    TransferEngine.layerDurable(name, options.engine).pipe(
      Layer.provideMerge(Endpoints.layer({ ...endpoints, ...options.endpoints })),
      Layer.provideMerge(Nics.layer(withPaths)),
      Layer.provide(TcpHandshakes.layerWithDirectory(called))
    )
  )
  const engine = Context.get(all, TransferEngine)
  const segment = Effect.map(engine.description, (description) =>
    Segment.fromDescription(serverName, description)
  )
  Deferred.doneUnsafe(describe, Effect.succeed(segment))
  for (const [path, store] of Context.get(all, Endpoints)) yield* server.serve(path, store)
  const node = TransferNode.of({
    ...(yield* TcpHandshakes.calls(called)),
    server: serverName,
    notifies: server.notifies
  })
  return Context.add(all, TransferNode, node)
})

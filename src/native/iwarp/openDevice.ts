/** An open device: its resources, and its routes to peers. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { networkInterfaces } from "node:os"
import { canonicalHost } from "../../schema/Address.ts"
import * as Gid from "../../schema/Gid.ts"
import { mulpdu } from "../../schema/iwarp/FpduWriter.ts"
import type { IoPool, Listener } from "../io/IoPool.ts"
import type { Lane } from "../io/Lane.ts"
import type { SocketOpenError } from "../io/PoolError.ts"
import type { Address } from "../verbs/Connection.ts"
import type { DeviceEvent, GidEntry } from "../verbs/Device.ts"
import { Resource } from "../verbs/provider/resources.ts"
import type { Reach } from "../verbs/Verbs.ts"
import { workerModule } from "../io/workerModule.ts"
import type { SessionOptions } from "./framer.ts"
import { changes, entriesOf, hasAddress, type Port, portIn, unseen } from "./interfaces.ts"
import type { IwarpQueuePair } from "./queuePair.ts"
import { Regions } from "./regions.ts"
import type { Resolved } from "./settings.ts"

const framer = workerModule(import.meta.url, "framer")

/** The address of a connection's peer, and the local address that the peer expects, if any. */
export interface Route {
  readonly to: Address
  readonly from?: string
}

/** The parts of an open device. */
export interface IwarpDeviceOptions {
  readonly name: string
  readonly pool: IoPool["Service"]
  readonly settings: Resolved
  readonly reach: Reach
  /** The Scope of connections. */
  readonly scope: Scope.Closeable
  readonly emit: (event: DeviceEvent) => void
  readonly fork: (effect: Effect.Effect<unknown>) => void
}

/** Queue pair numbers up to here are for management, as on real devices. */
const lastReserved = 16
const numbers = 2 ** 24

/** An open device. */
export class IwarpDevice {
  readonly name: string
  readonly pool: IoPool["Service"]
  readonly settings: Resolved
  /** Whether a peer at an address may connect or be called. */
  readonly admits: (address: string) => boolean
  readonly scope: Scope.Closeable
  readonly emit: (event: DeviceEvent) => void
  /** Runs an effect until the device is closed. */
  readonly fork: (effect: Effect.Effect<unknown>) => void
  readonly resource: Resource
  readonly regions: Regions
  /** Returns when each worker has been between two events once, or has ended. */
  readonly barrier: Effect.Effect<void>
  readonly queuePairs = new Map<number, IwarpQueuePair>()
  readonly #lane: {
    readonly framer: URL
    readonly options: SessionOptions
    readonly on: "worker" | "main"
  }
  /** The port for out-of-band peers; other providers call it a local identifier. */
  lid = 0
  #lastNumber: number
  /** The only address that it uses; undefined for all of the interface's. */
  readonly #onlyGid: Gid.Gid | undefined
  /** The state at the last refresh. */
  port: Port = unseen
  /** Called with each address that is added, by listeners on all addresses. */
  readonly onAddressAdded = new Set<(host: string) => void>()

  constructor(options: IwarpDeviceOptions, firstNumber: number) {
    this.name = options.name
    this.pool = options.pool
    this.settings = options.settings
    const { admits = () => true, host } = options.reach
    this.admits = (address) => admits(canonicalHost(address))
    const hasHost = host !== undefined && hasAddress(networkInterfaces(), this.name, host)
    this.#onlyGid = hasHost ? Gid.fromAddress(host) : undefined
    this.scope = options.scope
    this.emit = options.emit
    this.fork = options.fork
    this.#lastNumber = firstNumber
    // Each worker answers a registration, and its end, between two events.
    this.barrier = Effect.scoped(Effect.suspend(() => this.pool.register(new SharedArrayBuffer(8))))
    this.regions = new Regions(this.barrier)
    this.resource = new Resource("device", [], () => undefined)
    const { answerWithinMs, on, segmentBytes } = this.settings
    const maximumUlpdu = segmentBytes === undefined ? undefined : mulpdu(segmentBytes)
    const table = this.regions.table.memory
    this.#lane = { framer, options: { table, maximumUlpdu, answerWithinMs }, on }
  }

  /** The identifiers of its port at the last refresh. */
  get gids(): ReadonlyArray<GidEntry> {
    return entriesOf(this.port, this.name)
  }

  /** Its addresses at the last refresh. */
  get addresses(): ReadonlyArray<string> {
    return this.gids.map(({ gid }) => Gid.toAddress(gid))
  }

  /** Reads the interface's addresses, and emits the changes. */
  refreshAddresses(): void {
    const before = this.port
    this.port = portIn(networkInterfaces(), this.name, before, this.#onlyGid)
    for (const event of changes(before, this.port)) {
      const gid = event._tag === "GidChanged" ? this.port.gids[event.index] : undefined
      if (gid !== undefined) for (const tell of this.onAddressAdded) tell(Gid.toAddress(gid))
      this.emit(event)
    }
  }

  newNumber(): number {
    do {
      this.#lastNumber = this.#lastNumber + 1 < numbers ? this.#lastNumber + 1 : lastReserved + 1
    } while (this.#lastNumber <= lastReserved || this.queuePairs.has(this.#lastNumber))
    return this.#lastNumber
  }

  connect({ from, to }: Route): Effect.Effect<Lane, SocketOpenError, Scope.Scope> {
    const routed = this.settings.route(to)
    // A relay may not be reachable from that address.
    const isDirect = routed.host === to.host && routed.port === to.port
    const localAddress = isDirect && from !== undefined ? { localAddress: from } : {}
    const tls = this.settings.tls && { tls: this.settings.tls.connect }
    return this.pool.connect({ ...this.#lane, ...tls, to: { ...routed, ...localAddress } })
  }

  listen(at: Address, backlog: number): Effect.Effect<Listener, SocketOpenError, Scope.Scope> {
    const tls = this.settings.tls && { tls: this.settings.tls.listen }
    return this.pool.listen({ ...this.#lane, ...tls, at, backlog })
  }
}

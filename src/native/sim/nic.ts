/** A simulated device with its one port. */
import type { Gid } from "../../schema/Gid.ts"
import type { Mtu } from "../../schema/Mtu.ts"
import type { Disconnect } from "../verbs/Connection.ts"
import type { DeviceEvent, GidEntry } from "../verbs/Device.ts"
import type { State } from "../verbs/QueuePairState.ts"
import { Resource, type ResourceKind } from "../verbs/provider/resources.ts"
import { KeyTable } from "../verbs/software/keyTable.ts"
import type { Keys, MemoryRegion } from "../verbs/software/memory.ts"
import type { Answer, ConnectMessage, Message, QueuePairLife } from "./message.ts"
import type { Network } from "./network.ts"

/** Numbers up to here are for management, as on real devices. */
const lastReserved = 16
/** Free ports begin above this one: the client ports of Linux. */
const belowFreePorts = 32767
const lastPort = 65535

/** A queue pair as its NIC sees it. */
export interface NicQueuePair {
  readonly state: State
  readonly life: QueuePairLife
  /** Number of times that work ended more than once. */
  readonly doubleEnds: number
  receive(message: Message): void
  onAnswer(answer: Answer): void
  fail(why: Disconnect): void
  failFatally(detail: string): void
}

/** A device as one program opened it, until it is closed or removed. */
export class OpenDevice {
  readonly nic: Nic
  readonly resource: Resource
  readonly emit: (event: DeviceEvent) => void

  constructor(nic: Nic, emit: (event: DeviceEvent) => void) {
    this.nic = nic
    this.emit = emit
    this.resource = new Resource("device", [], () => nic.opened.delete(this))
    nic.opened.add(this)
  }
}

/** One device, across its removals and returns. */
export class Nic {
  readonly host: string
  readonly name: string
  readonly lid: number
  readonly mtu: Mtu = 4096
  /** Whether a write ends when the peer has it, and not when it leaves. */
  readonly acknowledges: boolean
  readonly network: Network<Nic>
  readonly keys: Keys
  readonly opened = new Set<OpenDevice>()
  readonly queuePairs = new Map<number, NicQueuePair>()
  /** Listeners by port. Returns `false` if the listener's backlog is full. */
  readonly listeners = new Map<number, (offer: ConnectMessage) => boolean>()
  /** Transitions whose next try fails. */
  readonly failingSteps = new Set<string>()
  /** True if the next message that is sent ends with exhausted retries. */
  isExhausted = false
  /** The GIDs of its port, by their indices. */
  readonly addresses: Array<Gid>
  #queuePairs = lastReserved
  #ports = belowFreePorts

  constructor(
    network: Network<Nic>,
    host: string,
    name: string,
    place: { readonly lid: number; readonly addresses: Array<Gid> },
    acknowledges = true
  ) {
    const { draw } = network.options
    this.network = network
    this.host = host
    this.name = name
    this.acknowledges = acknowledges
    this.lid = place.lid
    this.addresses = place.addresses
    this.keys = {
      local: new KeyTable<MemoryRegion>(draw),
      remote: new KeyTable<MemoryRegion>(draw)
    }
  }

  /** Whether a fault's node is this one. */
  isNode(node: string): boolean {
    return node === this.host || node === `${this.host}/${this.name}`
  }

  /** The GID that is used by default. */
  get gid(): Gid {
    return this.addresses[0]!
  }

  /** The identifiers of its port. */
  get gids(): ReadonlyArray<GidEntry> {
    const port = { type: "roce-2", interface: `eth-${this.name}` } as const
    return this.addresses.map((gid, index) => ({ index, gid, ...port }))
  }

  newQueuePair(): number {
    this.#queuePairs += 1
    return this.#queuePairs
  }

  /** Returns the next free port; after the last one, starts from the first. */
  newPort(): number {
    do {
      this.#ports = this.#ports < lastPort ? this.#ports + 1 : belowFreePorts + 1
    } while (this.listeners.has(this.#ports))
    return this.#ports
  }

  count(sort: ResourceKind): number {
    let count = 0
    for (const { resource } of this.opened) count += resource.count(sort)
    return count
  }

  /** Handles a message from the network. */
  receive(message: Message): void {
    const queuePair = this.queuePairs.get(message.targetQueuePair)
    if (queuePair !== undefined) queuePair.receive(message)
    else if (!message.again) this.network.counters.latePosts += 1
  }

  /** Called with a peer's connect request. */
  onConnectRequest(port: number, offer: ConnectMessage): void {
    const listener = this.listeners.get(port)
    if (listener?.(offer) === true) return
    const reason = listener === undefined ? "no-listener" : "backlog-full"
    this.network.manage(this, offer.gid, () => offer.reject(reason, new Uint8Array(0)))
  }

  /** Emits to the present opener. Readers run in a later task, not within the caller's step. */
  emit(event: DeviceEvent): void {
    const opened = [...this.opened]
    this.network.after(0, () => {
      for (const { emit } of opened) emit(event)
    })
  }

  /** Removes the device, with all its resources. */
  remove(): void {
    this.emit({ _tag: "DeviceRemoved" })
    const opened = [...this.opened]
    this.opened.clear()
    for (const queuePair of this.queuePairs.values()) queuePair.fail("device-removed")
    for (const { resource } of opened) resource.markRemoved()
  }

  /** Kills the host's programs, as `kill -9`; numbers start anew, as after a restart. */
  crash(): void {
    for (const { resource } of this.opened) resource.release()
    // A port may be bound by a fiber that has not come to make its listener.
    this.listeners.clear()
    this.#queuePairs = lastReserved
    this.#ports = belowFreePorts
  }
}

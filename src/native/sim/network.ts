/**
 * The wires and the time of a simulated fabric.
 *
 * Messages of a queue pair arrive in order or not at all; between queue pairs there is no order.
 * The faults in force are a set of values, which every operation of the network consults.
 */
import type * as Random from "effect/Random"
import type { Gid } from "../../schema/Gid.ts"
import type { Mtu } from "../../schema/Mtu.ts"
import { AddressSpace } from "../verbs/software/addressSpace.ts"
import { Counters } from "./counters.ts"
import type { FabricFault } from "./FabricFault.ts"

/** Attempts to send a message of connection management. */
const managementTries = 5
/** Milliseconds between two of them. */
const managementRetryMs = 1000

/** Software takes longer than devices: a device's answer arrives first. */
const softwareDelayMs = 1

/**
 * The time of simulated devices, in milliseconds. It is exact: a device has no event loop whose
 * timers are late.
 */
export interface DeviceTime {
  readonly now: () => number
  /** Calls `act` later, never at once. */
  readonly after: (millis: number, act: () => void) => void
}

/** Keeps the order of the messages that one queue pair sends in one direction. */
export class Channel {
  readonly arrivals: Array<() => void> = []
  lastAt = 0
}

/** Time, randomness and trace of a network. */
export interface NetworkOptions {
  readonly time: DeviceTime
  readonly random: Random.Random
  readonly note: (text: string) => void
  /** 32 random bits. */
  readonly draw: () => number
}

/** A place that faults may name. */
export interface Node {
  /** Whether a fault that names this node strikes it. */
  isNode(node: string): boolean
}

/** A port that the network carries messages to. */
export interface NetworkPort extends Node {
  readonly gid: Gid
  readonly addresses: ReadonlyArray<Gid>
  readonly mtu: Mtu
}

/** A message that came before its receiver was ready; devices are named `host/device`. */
export interface EarlyPost {
  readonly from: string
  readonly to: string
  /** Of the receiver. */
  readonly state: "reset" | "init"
}

/** The one network of a fabric. */
export class Network<Port extends NetworkPort = NetworkPort> {
  readonly counters = new Counters()
  lastEarlyPost: EarlyPost | undefined = undefined
  readonly nics = new Map<string, Port>()
  /** The active faults. */
  readonly faults = new Set<FabricFault>()
  readonly options: NetworkOptions
  /** The addresses of memory, the same on all devices of a host. */
  readonly memory: AddressSpace
  readonly #latency: number

  constructor(latency: number, options: NetworkOptions) {
    this.#latency = latency
    this.options = options
    this.memory = new AddressSpace(options.draw)
  }

  /** Adds a line to the trace, if there is one. */
  note(text: string): void {
    this.options.note(text)
  }

  get now(): number {
    return this.options.time.now()
  }

  /** Calls `act` later, never within the caller. */
  after(millis: number, act: () => void): void {
    this.options.time.after(millis, act)
  }

  /** The device of a GID. */
  find(gid: Gid): Port | undefined {
    for (const nic of this.nics.values()) if (nic.addresses.includes(gid)) return nic
    return undefined
  }

  /** The active faults of one kind. */
  *active<Tag extends FabricFault["_tag"]>(
    tag: Tag
  ): Generator<Extract<FabricFault, { readonly _tag: Tag }>> {
    for (const fault of this.faults) {
      if (fault._tag === tag) yield fault as Extract<FabricFault, { readonly _tag: Tag }>
    }
  }

  isDown(nic: Node): boolean {
    for (const { node } of this.active("PortFlap")) if (nic.isNode(node)) return true
    return this.isRemoved(nic)
  }

  isRemoved(nic: Node): boolean {
    for (const { node } of this.active("DeviceRemoval")) if (nic.isNode(node)) return true
    return false
  }

  /** The largest packet that a port takes. */
  mtuOf(nic: Port): Mtu {
    let mtu = nic.mtu
    for (const fault of this.active("MtuMismatch")) {
      if (nic.isNode(fault.node) && fault.mtu < mtu) mtu = fault.mtu
    }
    return mtu
  }

  /** Additional milliseconds of a transition of a queue pair. */
  modifyDelayMs(nic: Port): number {
    let millis = 0
    for (const fault of this.active("SlowModify"))
      if (nic.isNode(fault.node)) millis += fault.millis
    return millis
  }

  /** Whether a port refuses this one of its GIDs. */
  refusesGid(nic: Port, index: number): boolean {
    for (const fault of this.active("GidRefusal")) {
      if (nic.isNode(fault.node) && fault.index === index) return true
    }
    return false
  }

  hasNoReceives(nic: Port): boolean {
    for (const { node } of this.active("Rnr")) if (nic.isNode(node)) return true
    return false
  }

  /**
   * Sends from one port to another. `arrive` is called at the target, later, unless the message is
   * lost; returns whether it will arrive, for simulated senders that try again.
   */
  carry(
    from: Port,
    source: Gid,
    target: Gid,
    channel: Channel,
    arrive: (nic: Port) => void
  ): boolean {
    const nic = this.find(target)
    if (nic === undefined || !from.addresses.includes(source) || !this.passes(from, nic)) {
      this.counters.lost += 1
      return false
    }
    const at = Math.max(channel.lastAt, this.now + this.millis(from, nic))
    channel.lastAt = at
    channel.arrivals.push(() => {
      if (nic.addresses.includes(target) && !this.isDown(nic)) arrive(nic)
      else this.counters.lost += 1
    })
    this.after(at - this.now, () => channel.arrivals.shift()!())
    return true
  }

  /**
   * Sends a message of connection management, and tries again for a while if it is lost. `giveUp`
   * is called when all tries have failed.
   */
  manage(
    from: Port,
    target: Gid,
    arrive: (nic: Port) => void,
    giveUp: () => void = () => undefined,
    tries = managementTries
  ): void {
    const channel = new Channel()
    channel.lastAt = this.now + softwareDelayMs
    if (this.carry(from, from.gid, target, channel, arrive)) return
    this.after(managementRetryMs, () => {
      if (tries === 1) giveUp()
      else this.manage(from, target, arrive, giveUp, tries - 1)
    })
  }

  /** A delay from zero to twice the mean, so that queue pairs overtake each other. */
  millis(from: Node, to: Node): number {
    let millis = 2 * this.#latency * this.options.random.nextDoubleUnsafe()
    for (const fault of this.active("Delay")) {
      if (from.isNode(fault.from) && to.isNode(fault.to)) millis += fault.millis
    }
    return millis
  }

  /** Whether a message gets through now. */
  passes(from: Node, to: Node): boolean {
    if (this.isDown(from) || this.isDown(to)) return false
    for (const fault of this.active("Cut")) {
      if (from.isNode(fault.from) && to.isNode(fault.to)) return false
    }
    for (const fault of this.active("Loss")) {
      if (!from.isNode(fault.from) || !to.isNode(fault.to)) continue
      if (this.options.random.nextDoubleUnsafe() < fault.share) return false
    }
    return true
  }
}

/**
 * A fabric of simulated RDMA devices, which is strict where real devices fail by chance.
 *
 * It keeps the rules of a reliable connection (order, retries, receiver not ready, flush on error)
 * on Effect's clock and random source, so in a simulation a run can be repeated exactly. It counts
 * events that a real fabric hides, first of all messages to a peer that is not ready yet. Faults
 * are values, see `FabricFault`.
 *
 * Make it outside of the simulated processes: it is the network between them.
 */

import * as Clock from "effect/Clock"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Gid from "../../schema/Gid.ts"
import type { ResourceKind } from "../verbs/provider/resources.ts"
import type { Counters } from "./counters.ts"
import { describe, type FabricFault } from "./FabricFault.ts"
import { type DeviceTime, type EarlyPost, Network, type NetworkOptions } from "./network.ts"
import { Nic } from "./nic.ts"
import { type Segments, TcpHost, type TcpNetwork } from "./tcpHost.ts"
import { Watch, type WatchedFabric } from "./Watch.ts"

export interface Options {
  /** The mean time of a message in one direction. Default 10 microseconds. */
  readonly latency?: Duration.Input | undefined
  /**
   * How what hosts write to sockets is cut: not at all, at random places, or at each byte. Default
   * `random`.
   */
  readonly segments?: Segments | undefined
}

/** A host of the fabric. */
export interface HostOptions {
  /** Its name in faults. Default: `host-1`, `host-2` and so on. */
  readonly host?: string | undefined
  /** The names of its devices, one port each. Default: `sim0`. */
  readonly devices?: ReadonlyArray<string> | undefined
  /** How many GIDs each port has. Default 1. */
  readonly gids?: number | undefined
  /**
   * Whether a write ends when the peer has it. Default true. Without it, a write ends when it
   * leaves, as over TCP, and may be lost with its queue pair after that.
   */
  readonly acknowledges?: boolean | undefined
}

/** Counts of the open resources of a host's devices. */
export interface Resources {
  readonly listeners: number
  readonly connections: number
  readonly queuePairs: number
  readonly regions: number
  readonly completionQueues: number
  readonly protectionDomains: number
}

/** Device time on Effect's clock. Pending timers end with the Scope. */
const effectTime: Effect.Effect<DeviceTime, never, Scope.Scope> = Effect.gen(function* () {
  const run = yield* FiberSet.makeRuntime()
  const clock = yield* Clock.Clock
  return {
    now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
    after: (millis, act) =>
      void run(Effect.andThen(Effect.sleep(Duration.millis(millis)), Effect.sync(act)))
  }
})

export class SimFabric implements WatchedFabric {
  readonly #network: Network<Nic>
  readonly #tcp: TcpNetwork
  readonly #tcpHosts = new Map<string, TcpHost>()
  #hosts = 0
  #gids = 0

  constructor(latency: number, options: NetworkOptions, segments: Segments = "random") {
    this.#network = new Network(latency, options)
    const find = (host: string): TcpHost | undefined =>
      this.#tcpHosts.get(host) ?? [...this.#tcpHosts.values()].find((one) => one.address === host)
    this.#tcp = { network: this.#network as Network<never>, segments, find }
  }

  /** Makes a fabric that lives as long as the Scope. */
  static readonly make: (options?: Options) => Effect.Effect<SimFabric, never, Scope.Scope> =
    Effect.fnUntraced(function* ({ latency = "10 micros", segments } = {}) {
      const crypto = yield* WebCrypto.WebCrypto
      const watch = yield* Watch
      const options: NetworkOptions = {
        time: watch.time ?? (yield* effectTime),
        random: yield* Random.Random,
        note: watch.note,
        draw: () => crypto.getRandomValues(new Uint32Array(1))[0]!
      }
      const millis = Duration.toMillis(Duration.fromInputUnsafe(latency))
      const fabric = new SimFabric(millis, options, segments)
      watch.attach(fabric)
      return fabric
    })

  /** The counts so far. */
  get counters(): Readonly<Counters> {
    let { doubleCompletions } = this.#network.counters
    for (const nic of this.#network.nics.values()) {
      for (const queuePair of nic.queuePairs.values()) doubleCompletions += queuePair.doubleEnds
    }
    return { ...this.#network.counters, doubleCompletions }
  }

  /** Messages so far that reached a queue pair which was not ready. A cheap read. */
  get earlyPosts(): number {
    return this.#network.counters.earlyPosts
  }

  /** Messages so far that met no posted receive. A cheap read. */
  get rnrs(): number {
    return this.#network.counters.rnrs
  }

  /** The newest of the early messages. */
  get lastEarlyPost(): EarlyPost | undefined {
    return this.#network.lastEarlyPost
  }

  /** Counts the open resources of a host, or of all of them. */
  resources(host?: string): Resources {
    const count = (sort: ResourceKind) => {
      let sum = 0
      for (const nic of this.#network.nics.values()) {
        if (host === undefined || nic.isNode(host)) sum += nic.count(sort)
      }
      return sum
    }
    return {
      listeners: count("listener"),
      connections: count("connection"),
      queuePairs: count("queue pair"),
      regions: count("region"),
      completionQueues: count("completion queue"),
      protectionDomains: count("protection domain")
    }
  }

  /** Injects a fault now. Returns whether it affects a device. */
  strike(fault: FabricFault): boolean {
    this.#network.note(`fabric: ${describe(fault)}`)
    const nodes = "node" in fault ? [fault.node] : [fault.from, fault.to]
    const places = [...this.#network.nics.values(), ...this.#tcpHosts.values()]
    const isStruck = nodes.every((node) => places.some((place) => place.isNode(node)))
    switch (fault._tag) {
      case "Reset":
        return this.#tcpHosts.get(fault.node)?.reset() === true
      case "HalfOpen": {
        const [from, to] = [this.#tcpHosts.get(fault.from), this.#tcpHosts.get(fault.to)]
        return from !== undefined && to !== undefined && from.sever(to)
      }
      case "RetryExhaustion":
        this.#each(fault.node, (nic) => void (nic.isExhausted = true))
        break
      case "QueuePairError":
        this.#each(fault.node, (nic) => this.#failQueuePair(nic, fault.step))
        break
      case "GidChange":
        this.#each(fault.node, (nic) => {
          nic.addresses[0] = this.#newGid()
          nic.emit({ _tag: "GidChanged", port: 1, index: 0 })
        })
        break
      default: {
        const lasting = { ...fault }
        this.#change(() => this.#network.faults.add(lasting))
        this.#network.after(fault.forMillis, () =>
          this.#change(() => this.#network.faults.delete(lasting))
        )
      }
    }
    return isStruck
  }

  /** Ends all faults. */
  heal(): void {
    this.#change(() => this.#network.faults.clear())
    for (const nic of this.#network.nics.values()) {
      nic.failingSteps.clear()
      nic.isExhausted = false
    }
  }

  /**
   * Kills the programs of a host, as by `kill -9`: its queue pairs are destroyed, its connections
   * are ended by its kernel.
   */
  crash(host: string): void {
    this.#each(host, (nic) => nic.crash())
    this.#tcpHosts.get(host)?.crash()
  }

  /** A host's TCP, for `IoPool.layerSim`; made when it is first asked for. */
  host(name: string): TcpHost {
    const known = this.#tcpHosts.get(name)
    if (known !== undefined) return known
    const host = new TcpHost(this.#tcp, name, Gid.toAddress(this.#newGid()))
    this.#tcpHosts.set(name, host)
    return host
  }

  /** The devices of a host, made on the first call. */
  plug({ acknowledges, devices = ["sim0"], gids = 1, host }: HostOptions): ReadonlyArray<Nic> {
    this.#hosts += 1
    const name = host ?? `host-${this.#hosts}`
    return devices.map((device) => {
      const { nics } = this.#network
      const there = nics.get(`${name}/${device}`)
      if (there !== undefined) return there
      const addresses = Array.from({ length: gids }, () => this.#newGid())
      const place = { lid: nics.size + 1, addresses }
      const nic = new Nic(this.#network, name, device, place, acknowledges)
      nics.set(`${name}/${device}`, nic)
      return nic
    })
  }

  #newGid(): Gid.Gid {
    this.#gids += 1
    return Gid.fromAddress(`10.${this.#gids >> 16}.${(this.#gids >> 8) & 255}.${this.#gids & 255}`)!
  }

  #each(node: string, act: (nic: Nic) => void): void {
    for (const nic of this.#network.nics.values()) if (nic.isNode(node)) act(nic)
  }

  #failQueuePair(nic: Nic, step: "init" | "rtr" | "rts" | "running"): void {
    if (step !== "running") return void nic.failingSteps.add(step)
    for (const queuePair of nic.queuePairs.values()) {
      if (queuePair.state === "rts") return queuePair.failFatally("the device failed it")
    }
  }

  /** Changes the set of active faults, and lets ports and devices notice. */
  #change(act: () => void): void {
    const nics = [...this.#network.nics.values()]
    const before = nics.map((nic) => [this.#network.isDown(nic), this.#network.isRemoved(nic)])
    act()
    for (const [index, nic] of nics.entries()) {
      const [wasDown, wasRemoved] = before[index]!
      const isRemoved = this.#network.isRemoved(nic)
      if (isRemoved && !wasRemoved) nic.remove()
      const isDown = this.#network.isDown(nic)
      if (isDown !== wasDown) nic.emit({ _tag: isDown ? "PortDown" : "PortUp", port: 1 })
    }
  }
}

/**
 * A seeded simulation of the cluster bus: two clusters, of three members and of two, on one network
 * whose connections are cut, reset, late and half open. Members crash, sleep, are stopped in order
 * and begin again on their journals; clocks jump; members of different clusters take each other's
 * addresses, and are told to meet each other.
 *
 * When the faults stop, each member is connected to all others of its cluster. No member holds its
 * own sleep against another one, nothing is applied twice or out of order, the clusters never
 * merge, and a member that was stopped at any point leaves nothing open.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Journal } from "../actors/kernel/Journal.ts"
import type { FabricFault } from "../native/sim/FabricFault.ts"
import type { FaultPlan } from "./FaultPlan.ts"
import * as Faults from "./Faults.ts"
import * as FaultyJournal from "./FaultyJournal.ts"
import { BusChecker, type Identity, promises } from "./internal/bus/busChecker.ts"
import { host, type Setting } from "./internal/bus/host.ts"
import { ungated, variants as made } from "./internal/bus/variants.ts"
import * as Network from "./Network.ts"
import type { Process } from "./Process.ts"
import * as Sim from "./Sim.ts"

/**
 * Known-bad variants.
 *
 * - `admit-anyone`: takes in every stranger that asks.
 * - `fooled-by-sleep`: holds its own sleep against its peers.
 * - `read-older-links`: goes on to read a link that a newer one has replaced.
 * - `drain-twice`: drains what a link has read once more when it is closed.
 * - `keep-lost-links`: does not notice that a connection has ended.
 * - `leak-dials`: connections outlive what has opened them.
 */
export type Variant = keyof typeof made

export const variants = Object.keys(made) as ReadonlyArray<Variant>

export interface Options {
  /** `"off"` takes the sender of any full frame for a member. Default `"on"`. */
  readonly gate?: "on" | "off" | undefined
  /** A known-bad variant to run: a simulation that does not find it proves nothing. */
  readonly variant?: Variant | undefined
  /** Told of each run's connections that faults have ended, and of publications received. */
  readonly onEnd?:
    | ((run: { readonly brokenConnections: number; readonly received: number }) => void)
    | undefined
}

/** A promise was broken. */
export class BusPromiseBroken extends Schema.TaggedError<BusPromiseBroken>(
  "handfast/testing/BusPromiseBroken"
)("BusPromiseBroken", { promise: Schema.String, what: Schema.String }) {
  override get message() {
    return `${this.promise}: ${this.what}`
  }
}

const clusters = { a: ["a1", "a2", "a3"], b: ["b1", "b2"] } as const
const hosts: ReadonlyArray<string> = [...clusters.a, ...clusters.b]

/** The time in which faults strike, and the longest times of forming and recovery. */
const [STORM_MS, FORMING, RECOVERY] = [8_000, "30 seconds", "60 seconds"] as const
/** The share of runs in which two members take each other's hosts. */
const SWAPPING = 0.4
/** An hour: a step of the wall clock. */
const STEP_MS = 3_600_000

type Occupants = Map<string, ReturnType<Setting["occupantOf"]>>

/** A moment of the storm, which begins now. */
const moment = Effect.gen(function* () {
  return { millis: (yield* Clock.currentTimeMillis) + (yield* Random.nextIntBetween(1, STORM_MS)) }
})

/** Wall clocks jump; monotonic ones do not. */
const clockSteps = Effect.gen(function* () {
  const steps: Array<FaultPlan[number]> = []
  for (const process of hosts) {
    if ((yield* Random.next) >= 0.3) continue
    const at = yield* moment
    const jumpMillis = (yield* Random.nextBoolean) ? STEP_MS : -STEP_MS
    steps.push({ _tag: "Skew", process, at, jumpMillis, rate: 1 })
  }
  return steps
})

/** So many connections at most are broken one by one, besides what else is drawn. */
const MOST_BROKEN = 12

/** Connections are reset, or forgotten by what lies between, all through the storm. */
const breaks = Effect.gen(function* () {
  const count = yield* Random.nextIntBetween(0, MOST_BROKEN)
  const one = Effect.gen(function* () {
    const at = yield* moment
    const from = hosts[yield* Random.nextIntBetween(0, hosts.length - 1)]!
    const fault: FabricFault = (yield* Random.nextBoolean)
      ? { _tag: "Reset", node: from }
      : { _tag: "HalfOpen", from, to: siblingOf(from) }
    return { _tag: "Fabric", at, fault } as const
  })
  return yield* Effect.forEach(Array.from({ length: count }), () => one)
})

/** A host that the members of this one's cluster may run on. */
const siblingOf = (host: string): string => {
  const names: ReadonlyArray<string> = host.startsWith("a") ? clusters.a : clusters.b
  return names[(names.indexOf(host) + 1) % names.length]!
}

/** Two members of different clusters begin again, each on the other's host. */
const swap = (occupants: Occupants, processes: ReadonlyMap<string, Process<void, unknown>>) =>
  Effect.gen(function* () {
    if ((yield* Random.next) >= SWAPPING) return
    yield* Effect.sleep(yield* Random.nextBetween(0, STORM_MS / 2))
    const first = clusters.a[yield* Random.nextIntBetween(0, clusters.a.length - 1)]!
    const second = clusters.b[yield* Random.nextIntBetween(0, clusters.b.length - 1)]!
    const [one, other] = [processes.get(first)!, processes.get(second)!]
    yield* Effect.andThen(one.crash, other.crash)
    yield* Effect.sync(() => {
      const [ofFirst, ofSecond] = [occupants.get(first)!, occupants.get(second)!]
      occupants.set(first, ofSecond).set(second, ofFirst)
    })
    // A fault may have started one of them meanwhile, with the member that has moved.
    yield* Effect.andThen(one.crash, other.crash)
    yield* Effect.andThen(one.restart, other.restart)
  })

const settingOf = (
  checker: BusChecker,
  occupants: Occupants,
  net: Network.Network<string>,
  { gate, variant }: Options
): Setting => ({
  checker,
  variant: gate === "off" ? ungated : variant === undefined ? {} : made[variant],
  occupantOf: (host) => occupants.get(host)!,
  addressOf: (host) => net.addressOf(host),
  seedOf: (cluster) => (cluster === "a" ? clusters.a[0] : clusters.b[0]),
  strangerOf: (cluster) => (cluster === "a" ? clusters.b[0] : clusters.a[0]),
  openSockets: (host) => net.openSockets(host)
})

/** One run; give it to `Sim.explore` or `it.sim`. */
export const program = (options: Options = {}): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const net: Network.Network<string> = yield* Network.make({ nodes: hosts })
    const occupants: Occupants = new Map()
    for (const [cluster, names] of Object.entries(clusters)) {
      for (const name of names) {
        const memory = yield* Effect.provide(Journal, Journal.layerMemory)
        occupants.set(name, { name, cluster, journal: FaultyJournal.make(memory) })
      }
    }
    const identities: ReadonlyArray<Identity> = [...occupants.values()]
    const checker = new BusChecker(identities)
    yield* Sim.invariant("members keep their promises", () => {
      if (checker.violation === undefined) return true
      const { promise, what } = checker.violation
      throw new BusPromiseBroken({ promise: promises[promise], what })
    })
    const setting = settingOf(checker, occupants, net, options)
    const processes = new Map<string, Process<void, unknown>>()
    for (const name of hosts) {
      const restart = { onFailure: { restartAfter: "200 millis" } } as const
      processes.set(name, yield* net.run(name, host(setting, name), restart))
    }
    yield* Sim.eventually(() => checker.isSettled, FORMING, "the clusters are formed")
    checker.isFormed = true
    yield* Faults.random({
      crash: hosts,
      pause: hosts,
      cut: hosts,
      slow: hosts,
      within: STORM_MS,
      most: 4
    })
    yield* Faults.install([...(yield* clockSteps), ...(yield* breaks)])
    const swapping = yield* Effect.forkChild(swap(occupants, processes))
    yield* Effect.sleep(STORM_MS)
    yield* Faults.heal
    checker.isHealed = true
    // Members that were down begin again.
    yield* Effect.sleep(1_000)
    swapping.interruptUnsafe()
    yield* settle(checker)
    checker.isOver = true
    for (const process of processes.values()) yield* process.exit
    if (net.openSockets() > 0) checker.violate("released", `${net.openSockets()} sockets are left`)
    const { brokenConnections } = net.fabric.counters
    options.onEnd?.({ brokenConnections, received: checker.received })
  })

/** Waits until each member is connected to its cluster. */
const settle = (checker: BusChecker) =>
  Effect.mapError(
    Sim.eventually(() => checker.isSettled, RECOVERY, promises.converges),
    () => {
      const shown = [...checker.lives.values()].map(({ shown }) => shown)
      return new BusPromiseBroken({ promise: promises.converges, what: shown.join("; ") })
    }
  )

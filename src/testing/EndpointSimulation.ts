/**
 * A seeded simulation of RDMA endpoints: hosts with two NICs each that move memory between each
 * other while queue pairs are slow, handshakes are lost, late, doubled and forged, ports flap, NICs
 * fail and are removed, stores are too small, memory is registered anew, directories are silent,
 * disks fail, and hosts are killed and start again on the journal that they left.
 *
 * No host may send before its peer is ready. Every accepted transfer ends once, durable ones over
 * all lives of their host. Memory that is reported as moved is in one registration of the peer's
 * memory, also from a host whose writes end before they arrive. When the faults stop, every host
 * reaches every other one, and no transfer fails any more.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Journal, type Store } from "../actors/kernel/Journal.ts"
import { SimFabric } from "../native/sim/SimFabric.ts"
import type { FaultPlan } from "./FaultPlan.ts"
import * as Faults from "./Faults.ts"
import * as FaultyJournal from "./FaultyJournal.ts"
import { EndpointLog } from "./internal/endpoint/endpointLog.ts"
import { devices, host } from "./internal/endpoint/host.ts"
import { type Plant, plants } from "./internal/endpoint/plants.ts"
import { promises, TransferChecker, type Violation } from "./internal/endpoint/transferChecker.ts"
import * as Sim from "./Sim.ts"
import { SimHandshakes } from "./SimHandshakes.ts"

/** Known ways to get the gate wrong, see `plants`. */
export type Planted = Plant

export {
  /**
   * The defects that can be planted: `ready-without-looking`, the answer to an acknowledgement
   * opens the gate of the connection that exists by then; `unbound-acknowledgement`, an
   * acknowledgement counts for any queue pairs.
   */
  plants as defects
}

export interface Options {
  /** `"off"` lets every host send as soon as the local half is up. Default `"on"`. */
  readonly gate?: "on" | "off" | undefined
  /** A known defect to plant: a simulation that does not find it proves nothing. */
  readonly plant?: Planted | undefined
  /** Faults for every run, besides those that are drawn. */
  readonly plan?: FaultPlan | undefined
  /** Called with the number of messages that came to a peer which was not ready. */
  readonly onEarlyPosts?: ((count: number) => void) | undefined
}

/** A promise was broken. */
export class PromiseBroken extends Schema.TaggedError<PromiseBroken>()("PromiseBroken", {
  promise: Schema.String,
  what: Schema.String,
  /** Events of the run that led to it, the last event last. */
  events: Schema.Array(Schema.String)
}) {
  override get message() {
    return [`${this.promise}: ${this.what}`, ...this.events].join("\n  ")
  }
}

const names = ["a", "b", "c"] as const

/** How long faults are injected, and how long recovery may take after the last one. */
const [STORM_MS, RECOVERY] = [2_000, "60 seconds"] as const
/** The share of runs in which a host dies until the faults stop. */
const DEADLY = 0.3
/** Milliseconds for which lost handshakes may block an endpoint after the faults. */
const SETTLE_MS = 7_000
/** So long that a transfer takes several trips, with other events between them. */
const LATENCY = "1 millis"
/** A tenth of the deadlines of handshakes over TCP, as all times here. */
const handshakes = { latestMs: 2_000, giveUpAfterMs: 6_000 }

const broken = ({ detail, events, promise }: Violation) =>
  new PromiseBroken({ promise: promises[promise], what: detail, events })

/** Checks the invariants after every step. */
const watch = Effect.fnUntraced(function* (
  fabric: SimFabric,
  checker: TransferChecker,
  log: EndpointLog,
  onEarlyPosts: Options["onEarlyPosts"]
) {
  let seen = 0
  yield* Sim.invariant("hosts keep their promises", () => {
    const more = fabric.earlyPosts - seen
    if (more > 0) onEarlyPosts?.(more)
    seen += more
    const early = fabric.lastEarlyPost
    if (early !== undefined) {
      checker.violate("gate", "a message came to a peer that was not ready", log.storyOf(early))
    }
    const { violation } = checker
    if (violation !== undefined) throw broken(violation)
    return true
  })
})

/** In some runs, kills a host that is restarted only when the faults stop. */
const death = Effect.gen(function* () {
  const process = names[yield* Random.nextIntBetween(0, names.length - 1)]!
  const at = { millis: yield* Random.nextIntBetween(1, STORM_MS / 2) }
  const crash: FaultPlan = [{ _tag: "Crash", process, at }]
  return (yield* Random.next) < DEADLY ? crash : []
})

const faults = Effect.fnUntraced(function* (plan: FaultPlan) {
  yield* Faults.install([...plan, ...(yield* death)])
  yield* Faults.random({
    fabric: { nodes: names.flatMap((name) => [name, ...devices.map((nic) => `${name}/${nic}`)]) },
    crash: names,
    pause: names,
    journal: true,
    within: STORM_MS,
    most: 6
  })
})

/** Compares the stored durable transfers with the accepted ones. */
const audit = Effect.fnUntraced(function* (
  checker: TransferChecker,
  journals: ReadonlyMap<string, Store>
) {
  for (const [name, journal] of journals) {
    const events = yield* Stream.runCollect(journal.read(`Transfers/${name}`))
    const told = events.map(({ body, type }) => {
      const { id } = JSON.parse(body) as { readonly id: string }
      return { type, id }
    })
    checker.audit(name, told)
  }
})

/** Resources that remain after all hosts have ended. */
const leftIn = (fabric: SimFabric): string | undefined => {
  const left = Object.entries(fabric.resources()).filter(([, count]) => count > 0)
  const { doubleCompletions } = fabric.counters
  if (left.length === 0 && doubleCompletions === 0) return undefined
  return `${JSON.stringify(left)}, double completions: ${doubleCompletions}`
}

/** One run; give it to `Sim.explore` or `it.sim`. */
export const program = ({
  gate = "on",
  onEarlyPosts,
  plan = [],
  plant
}: Options = {}): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make({ latency: LATENCY })
    const network = new SimHandshakes(handshakes)
    const clock = yield* Clock.Clock
    const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000
    const checker = new TransferChecker(now)
    const log = new EndpointLog(now)
    yield* watch(fabric, checker, log, onEarlyPosts)
    const journals = new Map<string, Store>()
    const hosts = yield* Effect.forEach(names, (name) =>
      Effect.gen(function* () {
        const memory = yield* Effect.provide(Journal, Journal.layerMemory)
        const journal = FaultyJournal.make(log.over(memory))
        journals.set(name, journal)
        const acknowledges = yield* Random.nextBoolean
        const around = { fabric, gate, network, checker, names, plant }
        return yield* Sim.process(name, host({ ...around, name, journal, acknowledges }), {
          onFailure: { restartAfter: "500 millis" }
        })
      })
    )
    const forging = yield* Effect.forkChild(
      Effect.forever(
        Effect.gen(function* () {
          yield* Effect.sleep("250 millis")
          yield* (yield* Random.nextBoolean) ? network.forge : network.forgeOffer
        })
      )
    )
    yield* faults(plan)
    yield* Effect.sleep(STORM_MS)
    yield* Faults.heal
    forging.interruptUnsafe()
    checker.settledAt = SETTLE_MS + now()
    checker.isHealed = true
    yield* Effect.sleep(SETTLE_MS)
    yield* Effect.mapError(
      Sim.eventually(() => checker.isDone(names), RECOVERY, promises.ends),
      () => broken({ promise: "ends", detail: "under way", events: checker.underWay })
    )
    checker.isOver = true
    yield* Effect.forEach(hosts, ({ exit }) => exit)
    yield* audit(checker, journals)
    const left = leftIn(fabric)
    if (left !== undefined) checker.violate("released", left)
    const { violation } = checker
    if (violation !== undefined) return yield* broken(violation)
  })

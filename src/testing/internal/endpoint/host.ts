/**
 * A simulated host: two NICs, an engine, a journal that outlives its crashes, and programs that
 * move memory to and from other hosts.
 *
 * Times are a tenth of those of a product, so that a few seconds hold what else takes a minute.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { Endpoints } from "../../../actors/endpoint/Endpoints.ts"
import * as Chaos from "../../../actors/kernel/Chaos.ts"
import { Journal, type Store } from "../../../actors/kernel/Journal.ts"
import { Directory, NoDescription } from "../../../actors/rdma/Directory.ts"
import { Nics } from "../../../actors/rdma/Nics.ts"
import { TransferEngine } from "../../../actors/transfer/TransferEngine.ts"
import type { SimFabric } from "../../../native/sim/SimFabric.ts"
import * as SimVerbs from "../../../native/sim/SimVerbs.ts"
import type { SimHandshakes } from "../../SimHandshakes.ts"
import { type Plant, planting, type Planting } from "./plants.ts"
import { deliver, inboxBytes, localBytes, move, pattern } from "./traffic.ts"
import type { TransferChecker } from "./transferChecker.ts"

export interface Setting {
  readonly name: string
  readonly names: ReadonlyArray<string>
  readonly fabric: SimFabric
  readonly network: SimHandshakes
  readonly checker: TransferChecker
  /** Its disk. */
  readonly journal: Store
  /** Whether a write of this host ends when the peer has it, or when it leaves. */
  readonly acknowledges: boolean
  readonly gate: "on" | "off"
  readonly plant: Plant | undefined
}

/** The names of a host's NICs. */
export const devices = ["sim0", "sim1"] as const

const engineSettings = {
  sliceBytes: 128,
  // Less than the downtime of a killed host.
  unreachableAfterMs: 1_000,
  coolDownMs: 500,
  pauseMs: 3_000,
  firstWaitMs: 5,
  longestWaitMs: 500,
  hedgeAfterMs: 25,
  stallAfterMs: 1_000,
  openWithinMs: 1_500,
  drainWithinMs: 600
}
const rules = { depth: 2, readyWithinMs: 1_000, openWithinMs: 18_000, repeatAfterMs: 100 }
const confirmWithinMs = 200
/** Milliseconds after which messages of an ended life have arrived or are lost. */
const forgetAfter = 100
/** The pause between two registrations of an inbox, and how long there is none, in milliseconds. */
const [replaceEvery, awayFor] = [2_000, 300]
/** The share of lives that replace their inbox. */
const replacing = 0.5
const everything = ["local-write", "remote-write", "remote-read"] as const

/**
 * Answers late, or never, at chaos sites; a host that is down answers with its last description.
 */
const directoryOf = ({ checker }: Setting) =>
  Layer.succeed(Directory, {
    resolve: (peer) =>
      Effect.gen(function* () {
        const chaos = yield* Chaos.Chaos
        if (chaos.fires("directory silent")) return yield* Effect.never
        yield* Chaos.site("directory late")
        const life = checker.lifeOf(peer)
        if (life !== undefined) return yield* life.description
        return yield* new NoDescription({ peer, reason: "unknown", detail: "never seen" })
      })
  })

/** All layers of a host, over the simulated NICs. */
const layerOf = (setting: Setting, { handshakes }: Planting) => {
  const { acknowledges, fabric, gate, journal, name, names, network } = setting
  // One host has fewer slots than peers have NICs, so that endpoints are evicted.
  const others = devices.length * (names.length - 1)
  const capacity = name === names[0] ? others - 1 : others
  const endpoints = Endpoints.layer({
    capacity,
    answered: others,
    confirmWithinMs,
    rules: { ...rules, gate }
  })
  return TransferEngine.layerDurable(name, engineSettings).pipe(
    Layer.provideMerge(endpoints),
    Layer.provideMerge(
      Nics.layer(
        devices.map((device) => ({
          path: `${name}@${device}`,
          device,
          reopenEveryMs: 100,
          completions: 32
        }))
      )
    ),
    Layer.provide([
      directoryOf(setting),
      handshakes(network.layer),
      Layer.succeed(Journal, journal),
      SimVerbs.layer(fabric, { host: name, devices, gids: 2, acknowledges })
    ])
  )
}

const life = Effect.fnUntraced(function* (setting: Setting, { reception }: Planting) {
  const { checker, name, names, network } = setting
  const engine = yield* TransferEngine
  for (const [path, store] of yield* Endpoints) {
    yield* network.serve(path, reception(path, store))
  }
  const openInbox = Effect.gen(function* () {
    const scope = yield* Scope.make()
    const memory = new SharedArrayBuffer(inboxBytes(names))
    const bytes = new Uint8Array(memory)
    pattern(bytes, yield* Random.nextIntBetween(0, 255))
    checker.registered(name, bytes)
    yield* Scope.provide(engine.register({ name: "inbox", memory, access: everything }), scope)
    return scope
  })
  let inbox = yield* openInbox
  const replace = Effect.gen(function* () {
    while (!checker.isHealed) {
      yield* Effect.sleep(yield* Random.nextBetween(0, replaceEvery))
      yield* Scope.close(inbox, Exit.void)
      if (yield* Random.nextBoolean) yield* Effect.sleep(yield* Random.nextBetween(0, awayFor))
      inbox = yield* openInbox
    }
  })
  const outbox = yield* engine.register({
    name: "outbox",
    memory: localBytes(names),
    access: everything
  })
  checker.begin(name, { description: engine.description })
  const isReplacing = (yield* Random.next) < replacing
  yield* Effect.all(
    [
      isReplacing ? replace : Effect.void,
      move(setting, outbox, true),
      move(setting, outbox, false),
      deliver(setting)
    ],
    { concurrency: "unbounded", discard: true }
  )
  // Others may still need this side.
  while (!checker.isOver) yield* Effect.sleep("1 second")
  yield* Scope.close(inbox, Exit.void)
})

/** A host from its first start to the end of the run; it may be killed, and start again. */
export const host = (setting: Setting) =>
  Effect.suspend(() => {
    const planted = planting(setting.plant)
    return Effect.provide(life(setting, planted), layerOf(setting, planted))
  }).pipe(Effect.delay(forgetAfter))

/**
 * A simulated host: a member of one of the clusters, with the journal that goes where it goes. It
 * is stopped in order at random moments, and begins again.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { Parts } from "../../../actors/bus/internal/parts.ts"
import { Node } from "../../../actors/bus/internal/node.ts"
import { BusNode, type MembersView } from "../../../actors/bus/BusNode.ts"
import { Journal, type Store } from "../../../actors/kernel/Journal.ts"
import { IoPool } from "../../../native/io/IoPool.ts"
import { type BusChecker, type Identity, type Life, nodeTimeoutMs } from "./busChecker.ts"
import type { Variant } from "./variants.ts"

/** The port of the bus on every host. */
const port = 7_000
const channel = "numbers"
/** Milliseconds between two publications, and between two beats that show a process awake. */
const [publishEvery, beatEvery] = [150, 50]
/** The share of lives that are stopped in order, within how many milliseconds, and the pause. */
const [stopping, stopWithin, pauseAfter] = [0.3, 3_000, 500]
/** The share of lives in which a member is told to meet a node of the other cluster. */
const straying = 0.2

/** Where a member can run, and what is true of all members. */
export interface Setting {
  readonly checker: BusChecker
  readonly variant: Variant
  /** The member that runs on a host now. */
  readonly occupantOf: (host: string) => Identity & { readonly journal: Store }
  readonly addressOf: (host: string) => string
  /** Where the first member of a cluster runs at first. */
  readonly seedOf: (cluster: string) => string
  /** A host of another cluster. */
  readonly strangerOf: (cluster: string) => string
  readonly openSockets: (host: string) => number
}

const layerOf = ({ addressOf, checker, occupantOf, seedOf, variant }: Setting, host: string) => {
  const { cluster, journal, name } = occupantOf(host)
  return BusNode.layer({
    name,
    listen: { host: "0.0.0.0", port },
    meet: [`${addressOf(seedOf(cluster))}:${port}`],
    admit: () => !checker.isFormed,
    nodeTimeoutMs
  }).pipe(
    Layer.provide(Layer.succeed(Journal, journal)),
    Layer.provide(Layer.succeed(Parts, { Node: variant.Node ?? Node }))
  )
}

const now = Effect.map(Clock.Clock, (clock) => Number(clock.monotonicTimeNanosUnsafe()) / 1e6)

const follow = (life: Life, members: Stream.Stream<MembersView>) =>
  Stream.runForEach(members, (view) => Effect.map(now, (millis) => life.saw(view, millis)))

const publish = ({ checker }: Setting, bus: BusNode["Service"]) =>
  Effect.gen(function* () {
    yield* Effect.sleep(publishEvery)
    yield* Effect.ignore(bus.publish(channel, String(checker.nextNumber())))
  }).pipe(Effect.forever)

const subscribe = (life: Life, bus: BusNode["Service"]) =>
  Stream.runForEach(bus.publications, (element) =>
    Effect.sync(() => {
      if (element._tag === "Missed") return
      life.received(element.from, Number(Buffer.from(element.message).toString()))
    })
  )

const beat = (life: Life) =>
  Effect.andThen(
    Effect.sleep(beatEvery),
    Effect.map(now, (millis) => life.beat(millis))
  ).pipe(Effect.forever)

/** Asks a node of the other cluster to take it in, as a wrong setting would. */
const stray = (setting: Setting, cluster: string, bus: BusNode["Service"]) =>
  Effect.gen(function* () {
    if ((yield* Random.next) >= straying) return
    yield* Effect.sleep(yield* Random.nextBetween(0, stopWithin))
    yield* Effect.exit(bus.meet(`${setting.addressOf(setting.strangerOf(cluster))}:${port}`))
  })

/** One life, until it is stopped in order. */
const life = Effect.fnUntraced(function* (setting: Setting, host: string) {
  const { checker, occupantOf } = setting
  const identity = occupantOf(host)
  const bus = yield* BusNode
  const life = checker.begin(host, identity, bus.id, yield* now)
  const { isFormed } = checker
  yield* Effect.forkScoped(follow(life, bus.members))
  yield* Effect.forkScoped(subscribe(life, bus))
  yield* Effect.forkScoped(publish(setting, bus))
  yield* Effect.forkScoped(beat(life))
  if (isFormed) yield* Effect.forkScoped(stray(setting, identity.cluster, bus))
  const isShort = isFormed && !checker.isHealed && (yield* Random.next) < stopping
  if (isShort) return yield* Effect.sleep(yield* Random.nextBetween(0, stopWithin))
  return yield* Effect.repeat(Effect.sleep(100), { until: () => checker.isOver })
})

/** Resources still open when a member has been stopped, and the pool lives on. */
const audit = Effect.fnUntraced(function* ({ checker, openSockets }: Setting, host: string) {
  const { jobsOut, lanes } = yield* (yield* IoPool).stats
  const sockets = openSockets(host)
  if (lanes + jobsOut + sockets === 0) return
  const what = `${host} has ${lanes} lanes, ${jobsOut} jobs and ${sockets} sockets after its stop`
  checker.violate("released", what)
})

/** All lives of a host's process, one after the other. */
export const host = (setting: Setting, name: string) =>
  Effect.gen(function* () {
    const { checker, variant } = setting
    const own = yield* IoPool
    const pool = variant.pool?.(own) ?? own
    const one = Effect.gen(function* () {
      yield* life(setting, name).pipe(
        Effect.scoped,
        Effect.provide(Layer.fresh(layerOf(setting, name))),
        Effect.provideService(IoPool, pool)
      )
      checker.lives.delete(name)
      yield* audit(setting, name)
      if (!checker.isOver) yield* Effect.sleep(yield* Random.nextBetween(0, pauseAfter))
    })
    yield* Effect.repeat(one, { until: () => checker.isOver })
  })

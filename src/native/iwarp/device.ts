/** A network interface as an RDMA device. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as RcRef from "effect/RcRef"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomInt } from "node:crypto"
import { networkInterfaces } from "node:os"
import { IoPool } from "../io/IoPool.ts"
import type { Device, DeviceInfo, DeviceLimits, PortInfo } from "../verbs/Device.ts"
import { HeldCompletions } from "../verbs/software/completions.ts"
import { deviceOf } from "../verbs/provider/device.ts"
import type { Maker } from "../verbs/provider/domain.ts"
import { makeEvents } from "../verbs/provider/events.ts"
import { hold } from "../verbs/provider/resources.ts"
import { DeviceNotFound, type OpenError, Unsupported } from "../verbs/VerbsError.ts"
import { Card } from "./openDevice.ts"
import { connect, IwarpConnection } from "./connecting.ts"
import { hasAddress, namesIn } from "./interfaces.ts"
import { hear, listen } from "./listening.ts"
import { Meeting } from "./rendezvous.ts"
import { QueueMemory } from "./queueMemory.ts"
import { type Host, IwarpQueuePair } from "./queuePair.ts"
import { regionLimit } from "./regionTable.ts"
import { IwarpRegion, ownMemory } from "./regions.ts"
import { type Resolved, resolve, type Settings } from "./settings.ts"
import type { Provider, Reach } from "../verbs/Verbs.ts"
import { opening } from "../verbs/provider/open.ts"

/** Bounded by the memory that queues take, and by what other ends are known to do. */
const limits: DeviceLimits = {
  queuePairs: 65_536,
  depth: 32_768,
  parts: 16,
  inline: 512,
  completionQueues: 65_536,
  completions: 1_048_576,
  regions: regionLimit,
  regionBytes: 2 ** 32 - 1,
  messageBytes: 2 ** 32 - 1,
  reads: 128
}

/** Octets of private data: what MPA carries beside its own prefix. */
const privateData = { connect: 508, accept: 508, reject: 508 }
/** Callers that wait in the kernel. */
const callersBehind = 128
/** Tries to find a port that is free on all addresses. */
const portTries = 8

/** The interfaces of this machine. */
const devices = (): ReadonlyArray<DeviceInfo> =>
  namesIn(networkInterfaces()).map((name) => ({ name, ports: [1], limits }))

const hostOf = (card: Card, meeting: Meeting): Host => ({
  regions: card.regions,
  meet: (queuePair) => meeting.meet(queuePair),
  awaited: (queuePair) => meeting.awaited(queuePair),
  fatal: ({ number: queuePair }, detail) =>
    card.emit({ _tag: "QueuePairFatal", queuePair, detail }),
  gids: () => card.gids,
  afterBarrier: (act) => card.fork(Effect.andThen(card.barrier, Effect.sync(act)))
})

/** Regions and queue pairs: their memory is made known to the threads that serve it. */
const makerOf = (card: Card, host: Host): Maker<HeldCompletions, IwarpQueuePair> => ({
  region: (known, place) =>
    Effect.map(
      card.pool.register(known.memory),
      ({ id }) => new IwarpRegion(card.regions, known, place, id)
    ),
  queuePair: (wanted) => {
    const { limits, receiveDepth, sendDepth } = wanted
    const memory = QueueMemory.make({ sendDepth, receiveDepth, ...limits })
    return Effect.map(card.pool.register(memory.memory), ({ id: buffer }) => {
      const number = card.newNumber()
      const released = () => card.queuePairs.delete(number)
      const made = new IwarpQueuePair({ ...wanted, host, number, memory, buffer, released })
      card.queuePairs.set(number, made)
      return made
    })
  }
})

/** Takes callers of out-of-band queue pairs, on one port of all addresses, also of later ones. */
const takeCallers = Effect.fnUntraced(function* (card: Card, meeting: Meeting) {
  const { addresses: hosts } = card
  if (hosts.length === 0) return yield* new DeviceNotFound({ device: card.name, available: [] })
  const at = { hosts, isEverywhere: true, port: 0, backlog: callersBehind }
  const { port } = yield* hear(card, at, (link, said) => meeting.called(link, said)).pipe(
    Scope.provide(card.scope),
    Effect.retry({ times: portTries }),
    Effect.mapError(
      ({ message: detail }) =>
        new Unsupported({ provider: "iwarp", feature: "out-of-band callers", detail })
    )
  )
  card.lid = port
})

const portOf = (card: Card): Omit<PortInfo, "number"> => {
  card.look()
  const { gids, lid, port } = card
  return { state: port.isUp ? "active" : "down", activeMtu: 4096, lid, gids }
}

/** Looks at the interface again and again, for as long as anybody's Scope is open. */
const makeWatch = Effect.fnUntraced(function* (card: Card) {
  const { lookEvery } = card.settings
  const look = Effect.sync(() => card.look())
  const looking = Effect.forever(Effect.andThen(Effect.sleep(lookEvery), look))
  return RcRef.get(yield* RcRef.make({ acquire: Effect.andThen(look, Effect.forkScoped(looking)) }))
})

/** Opens a device. */
const open: (
  info: DeviceInfo,
  pool: IoPool["Service"],
  settings: Resolved,
  reach: Reach
) => Effect.Effect<Device, OpenError, Scope.Scope> = Effect.fnUntraced(
  function* (info, pool, settings, reach) {
    const events = yield* makeEvents
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) =>
      Scope.close(scope, Exit.void)
    )
    const context = yield* Effect.context()
    const fork = (effect: Effect.Effect<unknown>): void => {
      Effect.runForkWith(context)(Effect.forkIn(effect, scope))
    }
    const { name } = info
    const { emit } = events
    const card = yield* hold(
      Effect.sync(
        () => new Card({ name, pool, settings, reach, scope, emit, fork }, randomInt(2 ** 24))
      )
    )
    card.look()
    const meeting = new Meeting(card)
    yield* takeCallers(card, meeting)
    const watch = yield* makeWatch(card)
    return deviceOf<HeldCompletions, IwarpConnection>({
      info,
      memory: ownMemory,
      holding: card.holding,
      events: Stream.unwrap(Effect.as(watch, events.stream)),
      port: () => portOf(card),
      completions: (capacity) => new HeldCompletions(capacity, card.holding),
      ...makerOf(card, hostOf(card, meeting)),
      privateData,
      patience: settings.connectWithin,
      connection: (queuePair, peer) => new IwarpConnection(queuePair, peer),
      connect: (connection, wishes) => connect(card, connection, wishes),
      addresses: () => {
        card.look()
        return card.addresses
      },
      listen: (at, ask) =>
        Effect.andThen(at.isEverywhere ? watch : Effect.void, listen(card, at, ask))
    })
  }
)

/** The interfaces of this machine as devices of a provider, on the pool in the context. */
export const makeProvider = (settings: Settings): Effect.Effect<Provider, never, IoPool> =>
  Effect.map(IoPool, (pool) => ({
    name: "iwarp",
    capabilities: {
      atomics: true,
      writeImmediate: true,
      remoteInvalidate: true,
      acknowledges: false,
      rnrRetries: false
    },
    devices: Effect.sync(devices),
    open: opening({
      there: devices,
      open: (device, reach) => open(device, pool, resolve(settings), reach),
      has: ({ name }, host) => hasAddress(networkInterfaces(), name, host)
    })
  }))

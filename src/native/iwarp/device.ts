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
import { DeviceCompletionQueue } from "../verbs/software/completions.ts"
import { deviceOf } from "../verbs/provider/device.ts"
import type { ResourceBackend } from "../verbs/provider/domain.ts"
import { makeEvents } from "../verbs/provider/events.ts"
import { acquireResource } from "../verbs/provider/resources.ts"
import { DeviceNotFound, type DeviceOpenError, Unsupported } from "../verbs/VerbsError.ts"
import { IwarpDevice } from "./openDevice.ts"
import { connect, IwarpConnection } from "./connecting.ts"
import { hasAddress, namesIn } from "./interfaces.ts"
import { routeTo } from "./route.ts"
import { listenForCallers, listen } from "./listening.ts"
import { Rendezvous } from "./rendezvous.ts"
import { QueueMemory } from "./queueMemory.ts"
import { type QueuePairHost, IwarpQueuePair } from "./queuePair.ts"
import { regionLimit } from "./regionTable.ts"
import { IwarpRegion } from "./regions.ts"
import { type Resolved, resolve, type Settings } from "./settings.ts"
import type { Provider, Reach } from "../verbs/Verbs.ts"
import { openByNameOrAddress } from "../verbs/provider/create.ts"

/** Bounded by the memory of the queues, and by the limits of known peers. */
const limits: DeviceLimits = {
  queuePairs: 65_536,
  depth: 32_768,
  scatterEntries: 16,
  inlineBytes: 512,
  completionQueues: 65_536,
  completions: 1_048_576,
  regions: regionLimit,
  regionBytes: 2 ** 32 - 1,
  messageBytes: 2 ** 32 - 1,
  reads: 128
}

/** Bytes of private data: MPA's field without its prefix. */
const privateData = { connect: 508, accept: 508, reject: 508 }
/** Callers that wait in the kernel. */
const callersBehind = 128
/** Tries to find a port that is free on all addresses. */
const portTries = 8

/** The interfaces of this machine. */
const devices = (): ReadonlyArray<DeviceInfo> =>
  namesIn(networkInterfaces()).map((name) => ({ name, ports: [1], limits }))

const hostOf = (device: IwarpDevice, meeting: Rendezvous): QueuePairHost => ({
  regions: device.regions,
  connectTo: (queuePair) => meeting.connectTo(queuePair),
  startPeerTimeout: (queuePair) => meeting.startPeerTimeout(queuePair),
  onFatal: ({ number: queuePair }, detail) =>
    device.emit({ _tag: "QueuePairFatal", queuePair, detail }),
  gids: () => device.gids,
  afterBarrier: (act) => device.fork(Effect.andThen(device.barrier, Effect.sync(act)))
})

/** Creates regions and queue pairs, whose memory the threads that serve it can find. */
const makerOf = (
  device: IwarpDevice,
  host: QueuePairHost
): ResourceBackend<DeviceCompletionQueue, IwarpQueuePair> => ({
  region: (spec, owner) =>
    Effect.map(
      device.pool.register(spec.memory),
      ({ id }) => new IwarpRegion(device.regions, spec, owner, id)
    ),
  queuePair: (wanted) => {
    const { limits, receiveDepth, sendDepth } = wanted
    const memory = QueueMemory.make({ sendDepth, receiveDepth, ...limits })
    return Effect.map(device.pool.register(memory.memory), ({ id: buffer }) => {
      const number = device.newNumber()
      const released = () => device.queuePairs.delete(number)
      const made = new IwarpQueuePair({ ...wanted, host, number, memory, buffer, released })
      device.queuePairs.set(number, made)
      return made
    })
  }
})

/** Accepts callers of out-of-band queue pairs, on one port of all addresses, also of later ones. */
const takeCallers = Effect.fnUntraced(function* (device: IwarpDevice, meeting: Rendezvous) {
  const { addresses: hosts } = device
  if (hosts.length === 0) return yield* new DeviceNotFound({ device: device.name, available: [] })
  const at = { hosts, isEverywhere: true, port: 0, backlog: callersBehind }
  const { port } = yield* listenForCallers(device, at, (link, said) =>
    meeting.onCaller(link, said)
  ).pipe(
    Scope.provide(device.scope),
    Effect.retry({ times: portTries }),
    Effect.mapError(
      ({ message: detail }) =>
        new Unsupported({ provider: "iwarp", feature: "out-of-band callers", detail })
    )
  )
  device.lid = port
})

const portOf = (device: IwarpDevice): Omit<PortInfo, "number"> => {
  device.refreshAddresses()
  const { gids, lid, port } = device
  return { state: port.isUp ? "active" : "down", activeMtu: 4096, lid, gids }
}

/** Refreshes the addresses periodically, while any Scope of it is open. */
const makeWatch = Effect.fnUntraced(function* (device: IwarpDevice) {
  const { refreshEveryMs } = device.settings
  const look = Effect.sync(() => device.refreshAddresses())
  const looking = Effect.forever(Effect.andThen(Effect.sleep(refreshEveryMs), look))
  return RcRef.get(yield* RcRef.make({ acquire: Effect.andThen(look, Effect.forkScoped(looking)) }))
})

/** Opens a device. */
const open: (
  info: DeviceInfo,
  pool: IoPool["Service"],
  settings: Resolved,
  reach: Reach
) => Effect.Effect<Device, DeviceOpenError, Scope.Scope> = Effect.fnUntraced(
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
    const device = yield* acquireResource(
      Effect.sync(
        () =>
          new IwarpDevice({ name, pool, settings, reach, scope, emit, fork }, randomInt(2 ** 24))
      )
    )
    device.refreshAddresses()
    const meeting = new Rendezvous(device)
    yield* takeCallers(device, meeting)
    const watch = yield* makeWatch(device)
    return deviceOf<DeviceCompletionQueue, IwarpConnection>({
      info,
      resource: device.resource,
      events: Stream.unwrap(Effect.as(watch, events.stream)),
      port: () => Effect.sync(() => portOf(device)),
      completionQueue: (capacity) =>
        Effect.sync(() => new DeviceCompletionQueue(capacity, device.resource)),
      ...makerOf(device, hostOf(device, meeting)),
      privateData,
      connectTimeoutMs: settings.connectWithinMs,
      makeConnection: (queuePair, peer) => new IwarpConnection(queuePair, peer),
      connect: (connection, params) => connect(device, connection, params),
      addresses: () => {
        device.refreshAddresses()
        return device.addresses
      },
      listen: (at, ask) =>
        Effect.andThen(at.isEverywhere ? watch : Effect.void, listen(device, at, ask))
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
      rnrRetries: false,
      randomKeys: true
    },
    devices: Effect.sync(devices),
    open: openByNameOrAddress({
      list: devices,
      open: (device, reach) => open(device, pool, resolve(settings), reach),
      hasAddress: ({ name }, host) => hasAddress(networkInterfaces(), name, host)
    }),
    route: routeTo
  }))

/** The RDMA devices of this machine as a provider. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { canonicalHost } from "../../schema/Address.ts"
import * as Gid from "../../schema/Gid.ts"
import type { Device } from "../verbs/Device.ts"
import { deviceOf } from "../verbs/provider/device.ts"
import { openByNameOrAddress } from "../verbs/provider/create.ts"
import type { ResolvedQueuePairOptions, ResourceBackend } from "../verbs/provider/domain.ts"
import { makeEvents } from "../verbs/provider/events.ts"
import { acquireResource } from "../verbs/provider/resources.ts"
import { type DeviceOpenError, Released, type Unsupported } from "../verbs/VerbsError.ts"
import type { Provider, Reach } from "../verbs/Verbs.ts"
import { Block } from "./block.ts"
import { IbCompletionQueue } from "./completions.ts"
import { connect, IbConnection } from "./connecting.ts"
import { ControlQueue } from "./control.ts"
import { createFailure, noDevices, openFailure, releaseReason } from "./failures.ts"
import { constants, offsets, sizes } from "./layout.ts"
import {
  type Libraries,
  load as loadLibraries,
  type NativeFailure,
  type Pointer
} from "./library.ts"
import { listen } from "./listening.ts"
import { addressesOf, type FoundDevice, listDevices, markerPlaces, openDevice } from "./listing.ts"
import { Manager } from "./manager.ts"
import { OpenDevice } from "./openDevice.ts"
import { queryPort } from "./ports.ts"
import { IbQueuePair } from "./queuePair.ts"
import { registerRegion } from "./regions.ts"
import { routeTo } from "./route.ts"
import { type Resolved, resolve, type Settings } from "./settings.ts"

/** Bytes of private data that a connection manager of InfiniBand carries. */
const privateData = { connect: 56, accept: 196, reject: 148 } as const

const at = offsets.ibv_qp_init_attr

/** Memory that a driver locks for each place of a queue, about. */
const bytesOfPlace = 128

const initAttributes = (
  libraries: Libraries,
  wanted: ResolvedQueuePairOptions<IbCompletionQueue>
): Block => {
  const block = new Block(libraries, sizes.ibv_qp_init_attr)
  const { view } = block
  const { limits, receiveDepth, receives, sendDepth, sends } = wanted
  view.setBigUint64(at.send_cq, BigInt(sends.pointer), true)
  view.setBigUint64(at.recv_cq, BigInt(receives.pointer), true)
  view.setUint32(at["cap.max_send_wr"], sendDepth + 1, true)
  view.setUint32(at["cap.max_recv_wr"], Math.max(1, receiveDepth), true)
  view.setUint32(at["cap.max_send_sge"], Math.max(1, limits.scatterEntries), true)
  view.setUint32(at["cap.max_recv_sge"], Math.max(1, limits.scatterEntries), true)
  view.setUint32(at["cap.max_inline_data"], limits.inlineBytes, true)
  view.setInt32(at.qp_type, constants.IBV_QPT_RC, true)
  return block
}

/** Creates the resources of a device. */
const makerOf = (device: OpenDevice): ResourceBackend<IbCompletionQueue, IbQueuePair> => {
  const { control, domains, info, libraries } = device
  const failure = (kind: string, bytes: number) => (failed: NativeFailure) =>
    createFailure(info.name, kind, bytes, failed)
  return {
    domain: (number) =>
      control
        .run(() =>
          device.create(
            [device.resource],
            "ibv_dealloc_pd",
            () => libraries.later("ibv_alloc_pd", device.context),
            (pointer) => {
              domains.set(number, pointer)
              const release = () =>
                control.addRelease(() => {
                  domains.delete(number)
                  return libraries.later("ibv_dealloc_pd", pointer)
                })
              return { release, settled: control.idle }
            }
          )
        )
        .pipe(Effect.mapError(failure("protection domain", 0))),
    region: (spec, owner) => registerRegion(device, spec, owner),
    queuePair: (wanted) =>
      control
        .run(() =>
          device.create(
            wanted.owners,
            "ibv_destroy_qp",
            () =>
              libraries.later(
                "ibv_create_qp",
                domains.get(wanted.domain)!,
                initAttributes(libraries, wanted)
              ),
            (pointer) => {
              const number = libraries.uint32At(pointer + offsets.ibv_qp.qp_num)
              return new IbQueuePair(device, wanted, { pointer, number })
            }
          )
        )
        .pipe(
          Effect.mapError(
            failure("queue pair", (wanted.sendDepth + wanted.receiveDepth) * bytesOfPlace)
          )
        )
  }
}

const makeQueue = (device: OpenDevice, capacity: number) => {
  const { channel, context, control, info, libraries } = device
  const places = Math.max(1, capacity) + markerPlaces
  return control
    .run(() =>
      device.create(
        [device.resource],
        "ibv_destroy_cq",
        () => libraries.later("ibv_create_cq", context, places, 0, channel, 0),
        (pointer) => new IbCompletionQueue(device, capacity, pointer)
      )
    )
    .pipe(
      Effect.mapError((failed) =>
        createFailure(info.name, "completion queue", places * bytesOfPlace, failed)
      )
    )
}

const portOf = (device: OpenDevice, number: number) =>
  device.control
    .run(async () => {
      const { activeMtu, lid, state } = await queryPort(device.libraries, device.context, number)
      await device.refreshGids()
      return { activeMtu, lid, state, gids: device.gids(number) }
    })
    .pipe(
      Effect.mapError((failure) => {
        const reason = releaseReason(failure) ?? "device-removed"
        return new Released({ resource: "port", reason })
      })
    )

/** The native parts of an open device, or none of them. */
const openParts = async (libraries: Libraries, name: string) => {
  const context = await openDevice(libraries, name)
  let channel: Pointer = 0
  try {
    channel = await libraries.later("ibv_create_comp_channel", context)
    return { context, channel, events: await libraries.later("rdma_create_event_channel") }
  } catch (error) {
    if (channel !== 0) await libraries.later("ibv_destroy_comp_channel", channel)
    await libraries.later("ibv_close_device", context)
    throw error
  }
}

const open = Effect.fnUntraced(function* (
  libraries: Libraries,
  settings: Resolved,
  found: FoundDevice,
  { admits = () => true, host }: Reach
): Effect.fn.Return<Device, DeviceOpenError, Scope.Scope> {
  const { emit, stream } = yield* makeEvents
  const opening = listing
    .run(async () => {
      const { channel, context, events } = await openParts(libraries, found.name)
      const device = new OpenDevice({ libraries, settings, found, context, channel, emit })
      const manager = new Manager(libraries, device.control, events)
      device.onEnd.add(() => manager.close(device.isRemoved))
      return { device, manager, resource: device.resource, settled: device.control.idle }
    })
    .pipe(Effect.mapError((failure) => openFailure(found.name, failure)))
  const managed = yield* acquireResource(opening)
  const { device } = managed
  const addresses = () => {
    const all = addressesOf(device.allGids)
    const only = canonicalHost(host ?? "")
    return all.includes(only) ? [only] : all
  }
  return deviceOf<IbCompletionQueue, IbConnection>({
    info: device.info,
    resource: device.resource,
    events: stream,
    port: (number) => portOf(device, number),
    completionQueue: (capacity) => makeQueue(device, capacity),
    ...makerOf(device),
    privateData,
    connectTimeoutMs: settings.connectWithinMs,
    makeConnection: (queuePair, peer) => new IbConnection(queuePair, peer),
    connect: (connection, params) => connect(managed, connection, params),
    addresses,
    listen: (where, ask) =>
      listen(managed, where, (request) => (admits(request.peer.host) ? ask(request) : undefined))
  })
})

/** Lists and opens devices, one after the other. */
const listing = new ControlQueue()

const list = (libraries: Libraries): Effect.Effect<ReadonlyArray<FoundDevice>, Unsupported> =>
  listing
    .run(() => listDevices(libraries))
    .pipe(Effect.mapError((failure) => openFailure("the first device", failure)))

/** The RDMA devices of this machine. Other libraries than its own are for tests. */
export const makeProvider = (
  settings: Settings,
  load: Effect.Effect<Libraries, Unsupported> = loadLibraries
): Provider => {
  const resolved = resolve(settings)
  return {
    name: "ib",
    capabilities: {
      atomics: true,
      writeImmediate: true,
      remoteInvalidate: false,
      acknowledges: true,
      rnrRetries: true,
      randomKeys: false
    },
    devices: Effect.flatMap(load, list),
    open: Effect.fnUntraced(function* (name, reach) {
      const libraries = yield* load
      const found = yield* list(libraries)
      if (found.length === 0) return yield* noDevices()
      return yield* openByNameOrAddress({
        list: () => found,
        open: (device, reach) => open(libraries, resolved, device, reach),
        hasAddress: ({ gids }, host) => gids.some(({ gid }) => gid === Gid.fromAddress(host))
      })(name, reach)
    }),
    route: (host) => routeTo(host, resolved, load)
  }
}

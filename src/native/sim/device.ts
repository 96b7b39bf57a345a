/** A simulated device as a program sees it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Gid from "../../schema/Gid.ts"
import type { Device, DeviceInfo, DeviceLimits, PortInfo } from "../verbs/Device.ts"
import type { Region } from "../verbs/Region.ts"
import { DeviceCompletionQueue } from "../verbs/software/completions.ts"
import { deviceOf } from "../verbs/provider/device.ts"
import type { RegionSpec, ResourceOwner } from "../verbs/provider/domain.ts"
import { makeEvents } from "../verbs/provider/events.ts"
import { acquireResource, Resource } from "../verbs/provider/resources.ts"
import { MemoryRegion } from "../verbs/software/memory.ts"
import { connect, listen, SimConnection } from "./connection.ts"
import { type Nic, OpenDevice } from "./nic.ts"
import { SimQueuePair } from "./queuePair.ts"

/** The limits of a common network card. */
const limits: DeviceLimits = {
  queuePairs: 65536,
  depth: 32768,
  scatterEntries: 30,
  inlineBytes: 512,
  completionQueues: 65536,
  completions: 4_194_303,
  regions: 1 << 20,
  regionBytes: 2 ** 40,
  messageBytes: 2 ** 30,
  reads: 16
}

/** Bytes of private data that a connection manager of InfiniBand carries. */
const privateData = { connect: 56, accept: 196, reject: 148 } as const
/** Milliseconds until an unanswered attempt to connect is given up. */
const connectTimeoutMs = 30_000

/** The description of a device. */
export const infoOf = (nic: Nic): DeviceInfo => ({ name: nic.name, ports: [1], limits })

/** A region with its resource. */
class SimRegion extends MemoryRegion implements Region {
  readonly resource: Resource
  readonly revoke = Effect.sync(() => this.revokeUnsafe())

  constructor(nic: Nic, spec: RegionSpec, { domain, owners }: ResourceOwner) {
    super(spec, nic.network.memory.of(spec.memory) + spec.offset, domain, nic.keys)
    this.resource = new Resource("region", owners, () => this.releaseUnsafe())
  }
}

const portOf = (nic: Nic): Omit<PortInfo, "number"> => {
  const { gids, lid, network } = nic
  return {
    state: network.isDown(nic) ? "down" : "active",
    activeMtu: network.mtuOf(nic),
    lid,
    gids
  }
}

/** Opens a device. */
export const open = Effect.fnUntraced(function* (
  nic: Nic
): Effect.fn.Return<Device, never, Scope.Scope> {
  const events = yield* makeEvents
  const { resource } = yield* acquireResource(Effect.sync(() => new OpenDevice(nic, events.emit)))
  return deviceOf<DeviceCompletionQueue, SimConnection>({
    info: infoOf(nic),
    resource,
    events: events.stream,
    port: () => Effect.sync(() => portOf(nic)),
    completionQueue: (capacity) => Effect.sync(() => new DeviceCompletionQueue(capacity, resource)),
    region: (spec, owner) => Effect.sync(() => new SimRegion(nic, spec, owner)),
    queuePair: (options) => Effect.sync(() => new SimQueuePair(nic, options)),
    privateData,
    connectTimeoutMs,
    makeConnection: (queuePair, peer) => new SimConnection(queuePair, peer),
    connect: (connection, params) => connect(nic, connection, params),
    addresses: () => nic.addresses.map(Gid.toAddress),
    listen: (at, ask) => listen(nic, at, ask)
  })
})

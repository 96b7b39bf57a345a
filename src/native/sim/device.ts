/** A simulated device as a program sees it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Gid from "../../schema/Gid.ts"
import type { Device, DeviceInfo, DeviceLimits, PortInfo } from "../verbs/Device.ts"
import type { Region } from "../verbs/Region.ts"
import { AddressSpace } from "../verbs/software/addressSpace.ts"
import { HeldCompletions } from "../verbs/software/completions.ts"
import { deviceOf } from "../verbs/provider/device.ts"
import type { Place } from "../verbs/provider/domain.ts"
import { makeEvents } from "../verbs/provider/events.ts"
import { hold, Holding } from "../verbs/provider/resources.ts"
import { type Known, MemoryRegion } from "../verbs/software/memory.ts"
import { connect, listen, SimConnection } from "./connection.ts"
import type { Network } from "./network.ts"
import { type Nic, OpenDevice } from "./nic.ts"
import { SimQueuePair } from "./queuePair.ts"

/** What a common network card gives. */
const limits: DeviceLimits = {
  queuePairs: 65536,
  depth: 32768,
  parts: 30,
  inline: 512,
  completionQueues: 65536,
  completions: 4_194_303,
  regions: 1 << 20,
  regionBytes: 2 ** 40,
  messageBytes: 2 ** 30,
  reads: 16
}

/** Octets of private data that a connection manager of InfiniBand carries. */
const privateData = { connect: 56, accept: 196, reject: 148 } as const
/** How long the other side may think before the connection is given up, in milliseconds. */
const patience = 30_000

/** What a network card says of itself. */
export const infoOf = (nic: Nic): DeviceInfo => ({ name: nic.name, ports: [1], limits })

/** What peers call the memory of a device's host. */
const memoryOf = ({ defects, memory, surroundings }: Network): AddressSpace =>
  defects.addressPerDevice === true ? new AddressSpace(surroundings.draw) : memory

/** A region, and what holds it. */
class HeldRegion extends MemoryRegion implements Region {
  readonly holding: Holding
  readonly revoke = Effect.sync(() => this.revokeUnsafe())

  constructor(nic: Nic, known: Known, { domain, owners }: Place) {
    super(known, domain, nic.keys)
    this.holding = new Holding("region", owners, () => this.releaseUnsafe())
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
  const { holding } = yield* hold(Effect.sync(() => new OpenDevice(nic, events.emit)))
  return deviceOf<HeldCompletions, SimConnection>({
    info: infoOf(nic),
    memory: memoryOf(nic.network),
    holding,
    events: events.stream,
    port: () => portOf(nic),
    completions: (capacity) => new HeldCompletions(capacity, holding),
    region: (known, place) => Effect.sync(() => new HeldRegion(nic, known, place)),
    queuePair: (wanted) => Effect.sync(() => new SimQueuePair(nic, wanted)),
    privateData,
    patience,
    connection: (queuePair, peer) => new SimConnection(queuePair, peer),
    connect: (connection, wishes) => connect(nic, connection, wishes),
    addresses: () => nic.addresses.map(Gid.toAddress),
    listen: (at, ask) => listen(nic, at, ask)
  })
})

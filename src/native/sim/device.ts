/** A simulated device as a program sees it. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type {
  Device,
  DeviceEvent,
  DeviceInfo,
  DeviceLimits,
  PortInfo,
  ProtectionDomain
} from "../verbs/Device.ts"
import type { Options as QueuePairOptions, QueuePair } from "../verbs/QueuePair.ts"
import type { Options as RegionOptions, Region } from "../verbs/Region.ts"
import { SoftCompletionQueue } from "../verbs/soft/completions.ts"
import { hold, Holding, type Sort } from "../verbs/soft/holdings.ts"
import { MemoryRegion, offence } from "../verbs/soft/memory.ts"
import { type CreateError, InvalidAttribute, LimitExceeded, Released } from "../verbs/VerbsError.ts"
import { connect } from "./connection.ts"
import { listen } from "./listener.ts"
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

/** The most events that a reader may be behind; the oldest go first. */
const eventsBehind = 256
/** Places of a completion queue whose size nobody chose. */
const defaultCompletions = 4096
const page = 4096

/** What a network card says of itself. */
export const infoOf = (nic: Nic): DeviceInfo => ({ name: nic.name, ports: [1], limits })

const gone = (device: OpenDevice, owner: Holding): Released | undefined => {
  if (device.isRemoved) {
    return new Released({ resource: device.nic.name, reason: "device-removed" })
  }
  return owner.isReleased ? new Released({ resource: owner.sort, reason: "released" }) : undefined
}

/** Makes something on the device, if that is there and can have it in these sizes. */
const create = <A extends { readonly holding: Holding }>(
  device: OpenDevice,
  owner: Holding,
  sort: Sort,
  sizes: ReadonlyArray<readonly [resource: string, wanted: number, limit: number]>,
  make: () => A | CreateError
): Effect.Effect<A, CreateError, Scope.Scope> =>
  hold(
    Effect.suspend(() => {
      const absent = gone(device, owner)
      if (absent !== undefined) return Effect.fail(absent)
      const { name } = device.nic
      const over = sizes.find(([, wanted, limit]) => wanted > limit)
      if (over !== undefined) {
        const [resource, wanted, limit] = over
        return Effect.fail(new LimitExceeded({ device: name, resource, wanted, limit }))
      }
      const low = sizes.find(([, wanted]) => !Number.isInteger(wanted) || wanted < 0)
      if (low !== undefined) {
        const [attribute, wanted] = low
        const detail = `${wanted} is no size`
        return Effect.fail(new InvalidAttribute({ operation: `new ${sort}`, attribute, detail }))
      }
      const made = make()
      return "holding" in made ? Effect.succeed(made) : Effect.fail(made)
    })
  )

/** A region, and what holds it. */
class HeldRegion extends MemoryRegion implements Region {
  readonly holding: Holding
  readonly revoke = Effect.sync(() => this.revokeUnsafe())

  constructor(
    options: RegionOptions,
    address: number,
    domain: number,
    device: OpenDevice,
    owner: Holding
  ) {
    super(options, address, domain, device.nic.keys)
    this.holding = new Holding("region", [owner], () => this.releaseUnsafe())
  }
}

/** A protection domain. */
class Domain implements ProtectionDomain {
  readonly holding: Holding
  readonly #device: OpenDevice
  readonly #number: number

  constructor(device: OpenDevice) {
    this.#device = device
    this.#number = device.nic.newDomain()
    this.holding = new Holding("protection domain", [device.holding], () => undefined)
  }

  register(options: RegionOptions): Effect.Effect<Region, CreateError, Scope.Scope> {
    const device = this.#device
    const { memory } = options
    const bytes = options.length ?? (typeof memory === "number" ? memory : memory.byteLength)
    const sizes = [["octets of a region", bytes, limits.regionBytes]] as const
    return create(device, this.holding, "region", sizes, () => {
      const wrong = offence(options)
      if (wrong !== undefined) return new InvalidAttribute({ operation: "register", ...wrong })
      // Addresses are as hard to guess as keys, and keep the alignment of the memory.
      const base = page * (1 + device.nic.network.surroundings.draw())
      const address = base + ((options.offset ?? 0) % page)
      return new HeldRegion(options, address, this.#number, device, this.holding)
    })
  }

  queuePair(options: QueuePairOptions): Effect.Effect<QueuePair, CreateError, Scope.Scope> {
    const { maxInline = 64, maxParts = 4, receiveDepth = 256, sendDepth = 256 } = options
    const { sendCompletions: sends, receiveCompletions: receives = sends } = options
    const sizes = [
      ["queue pairs", this.#device.nic.queuePairs.size + 1, limits.queuePairs],
      ["sendDepth", sendDepth, limits.depth],
      ["receiveDepth", receiveDepth, limits.depth],
      ["maxParts", maxParts, limits.parts],
      ["maxInline", maxInline, limits.inline]
    ] as const
    return create(this.#device, this.holding, "queue pair", sizes, () => {
      if (!(sends instanceof HeldCompletions) || !(receives instanceof HeldCompletions)) {
        const detail = "not one of this device"
        return new InvalidAttribute({ operation: "queuePair", attribute: "completions", detail })
      }
      if (sends.isReleased || receives.isReleased) {
        return new Released({ resource: "completion queue", reason: "released" })
      }
      return new SimQueuePair({
        device: this.#device,
        domain: this.#number,
        owners: [this.holding, sends.holding, receives.holding],
        sends,
        receives,
        sendDepth,
        receiveDepth,
        limits: { parts: maxParts, inline: maxInline, messageBytes: limits.messageBytes }
      })
    })
  }
}

/** A completion queue, and what holds it. */
class HeldCompletions extends SoftCompletionQueue {
  readonly holding: Holding

  constructor(device: OpenDevice, capacity: number) {
    super(capacity, "completion queue")
    this.holding = new Holding("completion queue", [device.holding], () => this.releaseUnsafe())
  }
}

const portOf = Effect.fnUntraced(function* (
  device: OpenDevice,
  number: number
): Effect.fn.Return<PortInfo, Released | InvalidAttribute> {
  const { holding, nic } = device
  const absent = gone(device, holding)
  if (absent !== undefined) return yield* absent
  if (number !== 1) {
    const detail = `there is no port ${number}`
    return yield* new InvalidAttribute({ operation: "port", attribute: "number", detail })
  }
  const { gid, lid, network } = nic
  return {
    number,
    state: network.isDown(nic) ? "down" : "active",
    activeMtu: network.mtuOf(nic),
    lid,
    gids: [{ index: 0, gid, type: "roce-2", interface: `eth-${nic.name}` }]
  }
})

/** Opens a device. */
export const open = Effect.fnUntraced(function* (
  nic: Nic
): Effect.fn.Return<Device, never, Scope.Scope> {
  const events = yield* PubSub.sliding<DeviceEvent>(eventsBehind)
  const device = yield* hold(
    Effect.sync(() => new OpenDevice(nic, (event) => void PubSub.publishUnsafe(events, event)))
  )
  const { holding } = device
  return {
    info: infoOf(nic),
    port: (number = 1) => portOf(device, number),
    events: Stream.takeUntil(Stream.fromPubSub(events), ({ _tag }) => _tag === "DeviceRemoved"),
    protectionDomain: create(device, holding, "protection domain", [], () => new Domain(device)),
    completionQueue: (capacity = defaultCompletions) => {
      const sizes = [["completions", capacity, limits.completions]] as const
      return create(
        device,
        holding,
        "completion queue",
        sizes,
        () => new HeldCompletions(device, capacity)
      )
    },
    listen: (options = {}) => listen(device, options),
    connect: (options) => connect(device, options)
  }
})

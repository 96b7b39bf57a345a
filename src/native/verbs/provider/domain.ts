/**
 * Validates the creation of regions and queue pairs in a protection domain, and calls the backend.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CompletionQueue } from "../Completion.ts"
import type { DeviceInfo, ProtectionDomain } from "../Device.ts"
import type { Options as QueuePairOptions, QueuePair } from "../QueuePair.ts"
import type { InvalidValue } from "../QueuePairState.ts"
import { Access, type Options as RegionOptions, type Region } from "../Region.ts"
import { type CreateError, InvalidAttribute } from "../VerbsError.ts"
import { create } from "./create.ts"
import { type HasResource, isMadeBy, Resource } from "./resources.ts"

/** The owner of a new resource: the number of its protection domain, and the resource above it. */
export interface ResourceOwner {
  readonly domain: number
  readonly owners: ReadonlyArray<Resource>
}

/** A region to register: validated, and with its memory. */
export interface RegionSpec {
  readonly memory: SharedArrayBuffer
  readonly offset: number
  readonly length: number
  readonly access: ReadonlyArray<Access>
}

/** Limits of one work request on a queue pair. */
export interface WorkLimits {
  readonly scatterEntries: number
  readonly inlineBytes: number
  readonly messageBytes: number
}

/** The options of a queue pair, with all defaults filled in. */
export interface ResolvedQueuePairOptions<Completions> extends ResourceOwner {
  readonly sends: Completions
  readonly receives: Completions
  readonly sendDepth: number
  readonly receiveDepth: number
  readonly limits: WorkLimits
  /** Reads and atomic operations that may be under way in one direction. */
  readonly reads: number
}

/** A domain that a device has made. */
export interface DeviceDomain {
  readonly release: () => void
  readonly settled: Effect.Effect<void>
}

/** Creates resources whose options have been checked. */
export interface ResourceBackend<Completions, Pair> {
  /** Makes what the device needs for a domain. Default: nothing. */
  readonly domain?: (number: number) => Effect.Effect<DeviceDomain, CreateError>
  readonly region: (
    spec: RegionSpec,
    owner: ResourceOwner
  ) => Effect.Effect<Region & HasResource, CreateError, Scope.Scope>
  readonly queuePair: (
    options: ResolvedQueuePairOptions<Completions>
  ) => Effect.Effect<Pair & HasResource, CreateError, Scope.Scope>
}

/** Objects created by a device. Used to reject objects of another device. */
export interface DeviceObjects<Completions extends object, Pair extends object> {
  readonly info: DeviceInfo
  readonly completions: WeakSet<Completions>
  readonly queuePairs: WeakSet<Pair>
}

/** Numbers are unique among all devices: memory of one device must not count as another's. */
let lastDomain = 0

const allocate = (bytes: number): SharedArrayBuffer | undefined => {
  try {
    return new SharedArrayBuffer(bytes)
  } catch {
    return undefined
  }
}

const invalid = (operation: string, attribute: string, detail: string) =>
  Effect.fail(new InvalidAttribute({ operation, attribute, detail }))

/** Checks the memory, the bounds and the rights of a region. */
export const validateRegion = (options: RegionOptions): InvalidValue | undefined => {
  const { access = [], memory, offset = 0 } = options
  const size = memory instanceof SharedArrayBuffer ? memory.byteLength : memory
  const length = options.length ?? size - offset
  if (!Number.isSafeInteger(size) || size < 1) {
    const detail = `${typeof memory === "number" ? size : typeof memory} bytes are no memory`
    return { attribute: "memory", detail }
  }
  if (![offset, length].every(Number.isSafeInteger) || offset < 0 || length < 1) {
    return { attribute: "length", detail: `${length} bytes at ${offset} are no region` }
  }
  if (offset + length > size) {
    return { attribute: "length", detail: `${length} bytes at ${offset} of ${size} do not fit` }
  }
  const { literals: rights } = Access
  // Programs without types come here with any rights.
  if (!Array.isArray(access) || !access.every((right) => rights.includes(right))) {
    return { attribute: "access", detail: `${access} are no rights: ${rights.join(", ")}` }
  }
  const writes = access.includes("remote-write") || access.includes("remote-atomic")
  return writes && !access.includes("local-write")
    ? { attribute: "access", detail: "a peer may only write where this side may: local-write" }
    : undefined
}

const softwareDomain = Effect.succeed<DeviceDomain>({
  release: () => undefined,
  settled: Effect.void
})

/** A protection domain. */
export class ProviderDomain<
  Completions extends CompletionQueue & HasResource,
  Pair extends QueuePair
> implements ProtectionDomain {
  readonly resource: Resource
  readonly settled: Effect.Effect<void>
  readonly #objects: DeviceObjects<Completions, Pair>
  readonly #backend: ResourceBackend<Completions, Pair>
  readonly #number: number

  private constructor(
    device: Resource,
    objects: DeviceObjects<Completions, Pair>,
    backend: ResourceBackend<Completions, Pair>,
    number: number,
    { release, settled }: DeviceDomain
  ) {
    this.#objects = objects
    this.#backend = backend
    this.#number = number
    this.settled = settled
    this.resource = new Resource("protection domain", [device], release)
  }

  static make<Completions extends CompletionQueue & HasResource, Pair extends QueuePair>(
    device: Resource,
    objects: DeviceObjects<Completions, Pair>,
    backend: ResourceBackend<Completions, Pair>
  ): Effect.Effect<ProviderDomain<Completions, Pair>, CreateError> {
    return Effect.suspend(() => {
      const number = ++lastDomain
      return Effect.map(
        backend.domain?.(number) ?? softwareDomain,
        (made) => new ProviderDomain(device, objects, backend, number, made)
      )
    })
  }

  register(options: RegionOptions): Effect.Effect<Region, CreateError, Scope.Scope> {
    const { attribute, detail } = validateRegion(options) ?? {}
    if (attribute !== undefined) return invalid("register", attribute, detail!)
    const { access = ["local-write"], memory: given, offset = 0 } = options
    const bytes = typeof given === "number" ? given : given.byteLength
    const { info } = this.#objects
    const length = options.length ?? bytes - offset
    const sizes = [["bytes of a region", length, info.limits.regionBytes]] as const
    const make = Effect.suspend(() => {
      const memory = typeof given === "number" ? allocate(given) : given
      if (memory === undefined) return invalid("register", "memory", `no ${bytes} bytes are left`)
      const owner = { domain: this.#number, owners: [this.resource] }
      return this.#backend.region({ memory, offset, length, access }, owner)
    })
    return create(info, this.resource, "region", sizes, make)
  }

  queuePair(options: QueuePairOptions): Effect.Effect<QueuePair, CreateError, Scope.Scope> {
    const { receiveDepth = 256, sendDepth = 256 } = options
    const { maxInlineBytes: inlineBytes = 64, maxScatterEntries: scatterEntries = 4 } = options
    const { sendCompletions: sends, receiveCompletions: receives = sends } = options
    const { completions, info, queuePairs } = this.#objects
    const { limits } = info
    const sizes = [
      ["sendDepth", sendDepth, limits.depth],
      ["receiveDepth", receiveDepth, limits.depth],
      ["maxScatterEntries", scatterEntries, limits.scatterEntries],
      ["maxInlineBytes", inlineBytes, limits.inlineBytes]
    ] as const
    const make = Effect.suspend(() => {
      if (!isMadeBy(completions, sends) || !isMadeBy(completions, receives)) {
        return invalid("queuePair", "completions", "not one of this device")
      }
      const released = sends.resource.releasedError() ?? receives.resource.releasedError()
      if (released !== undefined) return Effect.fail(released)
      const { messageBytes, reads } = limits
      const made = this.#backend.queuePair({
        domain: this.#number,
        owners: [this.resource, sends.resource, receives.resource],
        sends,
        receives,
        sendDepth,
        receiveDepth,
        limits: { scatterEntries, inlineBytes, messageBytes },
        reads
      })
      return Effect.tap(made, (queuePair) => Effect.sync(() => queuePairs.add(queuePair)))
    })
    return create(info, this.resource, "queue pair", sizes, make)
  }
}

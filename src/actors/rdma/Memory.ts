/**
 * Memory that is registered on every NIC of an engine, under one name.
 *
 * It has one address on all NICs. The length of a region may be limited: then the memory is several
 * regions on each NIC, cut at the same offsets, one after the other.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Device } from "../../native/verbs/Device.ts"
import type { Access, Region } from "../../native/verbs/Region.ts"
import { type CreateError, InvalidAttribute } from "../../native/verbs/VerbsError.ts"
import type { Epoch } from "../../schema/Epoch.ts"
import type { PeerBuffer } from "./Directory.ts"
import type { Nic } from "./Nic.ts"

/** Memory to register. */
export interface Options {
  /** The name for peers, and for transfers that survive the process. Default: a number. */
  readonly name?: string | undefined
  /** A buffer, or the number of bytes to allocate. */
  readonly memory: SharedArrayBuffer | number
  /** Allowed accesses. Default: `local-write`. */
  readonly access?: ReadonlyArray<Access> | undefined
}

/** A part of registered memory. */
export interface Piece {
  readonly memory: Memory
  readonly offset: number
  readonly length: number
}

/** Registered memory. It is released with its Scope, after all work that uses it has ended. */
export interface Memory {
  readonly name: string
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly access: ReadonlyArray<Access>
  /** Its description for peers. */
  readonly buffers: ReadonlyArray<PeerBuffer>
  /** A part of it, whose range is checked when it is used. */
  slice(offset?: number, length?: number): Piece
}

/** Another memory has this name. */
export class NameTaken extends Schema.TaggedError<NameTaken>()("NameTaken", {
  name: Schema.String
}) {
  override get message() {
    return `memory named ${this.name} is registered already`
  }
}

/** The description would become longer than peers accept: no memory may be added. */
export class DescriptionFull extends Schema.TaggedError<DescriptionFull>()("DescriptionFull", {
  name: Schema.String,
  bytes: Schema.Int,
  limit: Schema.Int
}) {
  override get message() {
    return `with ${this.name}, the description has ${this.bytes} bytes; peers take ${this.limit}`
  }
}

/** Registers memory on a NIC, by its index. */
type RegisterOn = (index: number) => Effect.Effect<ReadonlyArray<Region>, CreateError>

/** Memory as the engine uses it. */
export class RegisteredMemory implements Memory {
  readonly name: string
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly access: ReadonlyArray<Access>
  /** Bytes of each region but the last. */
  readonly chunkBytes: number
  /** The regions of each NIC, in order; none while its device is gone. */
  readonly regions: Array<ReadonlyArray<Region>>
  /** The epoch of this registration for peers; a reopened device does not change it. */
  readonly epoch: Epoch
  readonly #registerOn: RegisterOn
  isReleased = false

  constructor(
    name: string,
    bytes: Uint8Array<SharedArrayBuffer>,
    chunkBytes: number,
    regions: Array<ReadonlyArray<Region>>,
    registerOn: RegisterOn,
    epoch: Epoch
  ) {
    this.name = name
    this.bytes = bytes
    this.chunkBytes = chunkBytes
    this.regions = regions
    this.#registerOn = registerOn
    this.epoch = epoch
    this.access = this.#some[0]?.access ?? []
  }

  /** The regions on a NIC with a device: their addresses are the same on all NICs. */
  get #some(): ReadonlyArray<Region> {
    return this.regions.find(({ length }) => length > 0) ?? []
  }

  get buffers(): ReadonlyArray<PeerBuffer> {
    const access = this.access.filter((right) => right !== "local-write")
    const isForOthers = access.length > 0
    const some = this.#some
    return some.map(({ address, length }, chunk) => ({
      name: some.length === 1 ? this.name : `${this.name}#${chunk}`,
      address,
      length,
      keys: isForOthers ? this.regions.map((regions) => regions[chunk]?.remoteKey ?? 0) : [],
      access,
      epoch: this.epoch
    }))
  }

  /** Registers the memory again on a NIC whose device was reopened. */
  renew(index: number): Effect.Effect<void, CreateError> {
    return Effect.map(this.#registerOn(index), (regions) => void (this.regions[index] = regions))
  }

  slice(offset = 0, length = this.bytes.length - offset): Piece {
    return { memory: this, offset, length }
  }
}

const invalid = (detail: string) =>
  new InvalidAttribute({ operation: "register", attribute: "memory", detail })

const bufferOf = (
  memory: SharedArrayBuffer | number
): Effect.Effect<SharedArrayBuffer, InvalidAttribute> => {
  if (memory instanceof SharedArrayBuffer) return Effect.succeed(memory)
  if (!Number.isSafeInteger(memory) || memory < 1) {
    return Effect.fail(invalid("it is neither a SharedArrayBuffer nor a number of bytes"))
  }
  return Effect.try({
    try: () => new SharedArrayBuffer(memory),
    catch: (error) => invalid(String(error))
  })
}

const isGone = (error: CreateError): boolean =>
  error._tag === "Released" && error.reason === "device-removed"

/** Registers memory on all NICs; on one without a device, when that is reopened. */
export const register = Effect.fnUntraced(function* (
  nics: ReadonlyArray<Nic>,
  name: string,
  { access, memory }: Options,
  epoch: Epoch
): Effect.fn.Return<RegisteredMemory, CreateError, Scope.Scope> {
  const buffer = yield* bufferOf(memory)
  const chunk = Math.min(...nics.map(({ device }) => device.info.limits.regionBytes))
  const count = Math.max(1, Math.ceil(buffer.byteLength / chunk))
  const chunks = Array.from({ length: count }, (_, index) => ({
    memory: buffer,
    offset: index * chunk,
    length: Math.min(chunk, buffer.byteLength - index * chunk),
    access
  }))
  const scope = yield* Effect.scope
  const devices: Array<Device> = []
  const registerOn: RegisterOn = (index) =>
    Effect.suspend(() => {
      const { device, domain } = nics[index]!
      devices[index] = device
      const each = Effect.forEach(chunks, (options) => domain.register(options))
      return Scope.provide(each, scope)
    })
  const regions: Array<ReadonlyArray<Region>> = []
  // A device may be replaced while the memory is registered on another one.
  for (let index = 0; index >= 0; index = nics.findIndex((nic, at) => nic.device !== devices[at])) {
    const none = () => Effect.succeed<ReadonlyArray<Region>>([])
    regions[index] = yield* Effect.catchIf(registerOn(index), isGone, none)
  }
  // Without any NIC it is an error.
  if (regions.every(({ length }) => length === 0)) regions[0] = yield* registerOn(0)
  return new RegisteredMemory(name, new Uint8Array(buffer), chunk, regions, registerOn, epoch)
})

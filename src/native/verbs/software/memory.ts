/**
 * Registered memory of providers that move the bytes themselves, and the checks of access to it.
 *
 * Every check is here: of a peer that names a key, and of posted work that names a region. Without
 * Effect, so that a worker thread may load it.
 */
import { copyBytes } from "../../../schema/copyBytes.ts"
import { locate, AccessError, type Region as WireRegion } from "../../../schema/iwarp/Region.ts"
import type { Access, Region } from "../Region.ts"
import type { ScatterEntry, ScatterList } from "../WorkRequest.ts"
import type { RegionSpec } from "../provider/domain.ts"
import type { KeyTable } from "./keyTable.ts"

/** The right that a peer's operation needs. */
export type Right = "remoteWrite" | "remoteRead" | "remoteAtomic"

/** Reasons to refuse an access; all below zero, unlike offsets. */
export const AccessRefusal = {
  unknownKey: -11,
  otherDomain: -12,
  noRight: -13,
  wraps: AccessError.wraps,
  outside: AccessError.outside,
  misaligned: -14
} as const

/** The keys of a device. */
export interface Keys {
  readonly local: KeyTable<MemoryRegion>
  readonly remote: KeyTable<MemoryRegion>
}

/** The memory of a region, and its local rights. */
export class RegionMemory {
  readonly memory: SharedArrayBuffer
  readonly offset: number
  readonly length: number
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly access: ReadonlyArray<Access>
  readonly address: number
  /** The number of its protection domain. */
  readonly domain: number
  readonly localWrite: boolean
  isReleased = false

  constructor({ access, length, memory, offset }: RegionSpec, address: number, domain: number) {
    this.memory = memory
    this.offset = offset
    this.length = length
    this.bytes = new Uint8Array(memory, offset, length)
    this.access = access
    this.address = address
    this.domain = domain
    this.localWrite = access.includes("local-write")
  }
}

/** A region whose keys are in tables. */
export class MemoryRegion extends RegionMemory implements Omit<Region, "revoke">, WireRegion {
  readonly localKey: number
  readonly remoteWrite: boolean
  readonly remoteRead: boolean
  readonly remoteAtomic: boolean
  remoteKey: number
  readonly #keys: Keys

  constructor(spec: RegionSpec, address: number, domain: number, keys: Keys) {
    super(spec, address, domain)
    const { access } = spec
    this.remoteWrite = access.includes("remote-write")
    this.remoteRead = access.includes("remote-read")
    this.remoteAtomic = access.includes("remote-atomic")
    this.#keys = keys
    this.localKey = keys.local.issue(this)
    this.remoteKey = keys.remote.issue(this)
  }

  get base(): number {
    return this.address
  }

  renewKey(): number {
    const previous = this.remoteKey
    this.revokeUnsafe()
    if (!this.isReleased) this.remoteKey = this.#keys.remote.issue(this, previous)
    return this.remoteKey
  }

  revokeUnsafe(): void {
    this.#keys.remote.void(this.remoteKey)
    this.remoteKey = 0
  }

  releaseUnsafe(): void {
    this.revokeUnsafe()
    this.#keys.local.void(this.localKey)
    this.isReleased = true
  }
}

/**
 * Checks a peer's access. Returns the offset in the region, or an `AccessRefusal`.
 */
export const locateAccess = (
  region: MemoryRegion | undefined,
  domain: number,
  right: Right,
  high: number,
  low: number,
  length: number
): number => {
  if (region === undefined) return AccessRefusal.unknownKey
  if (region.domain !== domain) return AccessRefusal.otherDomain
  if (!region[right]) return AccessRefusal.noRight
  const at = locate(region, high, low, length)
  return at >= 0 && right === "remoteAtomic" && (region.offset + at) % 8 !== 0
    ? AccessRefusal.misaligned
    : at
}

/** Whether posted work may use this part: a source, or a sink that is written to. */
export const isUsable = (
  { length, offset, region }: ScatterEntry,
  domain: number,
  isSink: boolean
): boolean =>
  region instanceof RegionMemory &&
  !region.isReleased &&
  region.domain === domain &&
  (region.localWrite || !isSink) &&
  offset >= 0 &&
  length >= 0 &&
  offset + length <= region.length

/** Whether posted work may use all of its parts. */
export const areUsable = (parts: ScatterList, domain: number, areSinks: boolean): boolean => {
  for (let index = 0; index < parts.count; index++) {
    if (!isUsable(parts.at(index), domain, areSinks)) return false
  }
  return true
}

/** Copies the bytes of all parts one after the other. */
export const gather = (parts: ScatterList, into: Uint8Array): void => {
  let at = 0
  for (let index = 0; index < parts.count; index++) {
    const { length, offset, region } = parts.at(index)
    copyBytes(into, at, region!.bytes, offset, offset + length)
    at += length
  }
}

/** Fills the parts in their order. They must have room, see `ScatterList.byteLength`. */
export const scatter = (bytes: Uint8Array, parts: ScatterList): void => {
  let at = 0
  for (let index = 0; at < bytes.length; index++) {
    const { length, offset, region } = parts.at(index)
    const count = Math.min(length, bytes.length - at)
    copyBytes(region!.bytes, offset, bytes, at, at + count)
    at += count
  }
}

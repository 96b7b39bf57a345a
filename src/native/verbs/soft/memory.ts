/**
 * Registered memory of providers that move the octets themselves, and who may touch it.
 *
 * Every check is here: of a peer that names a key, and of posted work that names a region. Without
 * Effect, so that a worker thread may load it.
 */
import { copyOctets } from "../../../schema/iwarp/copyOctets.ts"
import { locate, missed, type Region as WireRegion } from "../../../schema/iwarp/Region.ts"
import type { Access, Options, Region } from "../Region.ts"
import type { Parts } from "../WorkRequest.ts"
import type { Offence } from "../QueuePairState.ts"
import type { KeyTable } from "./keyTable.ts"

/** What a peer wants to do. */
export type Right = "remoteWrite" | "remoteRead" | "remoteAtomic"

/** Why a peer gets no place; all below zero, so that a place is not. */
export const Refusal = {
  unknownKey: -11,
  otherDomain: -12,
  noRight: -13,
  wraps: missed.wraps,
  outside: missed.outside,
  misaligned: -14
} as const

/** Whatever draws and keeps the keys of a device. */
export interface Keys {
  readonly local: KeyTable<MemoryRegion>
  readonly remote: KeyTable<MemoryRegion>
}

/** A region in memory that this process has. */
export class MemoryRegion implements Omit<Region, "revoke">, WireRegion {
  readonly memory: SharedArrayBuffer
  readonly offset: number
  readonly length: number
  readonly octets: Uint8Array<SharedArrayBuffer>
  readonly access: ReadonlyArray<Access>
  readonly address: number
  readonly localKey: number
  /** The number of its protection domain. */
  readonly domain: number
  readonly remoteWrite: boolean
  readonly remoteRead: boolean
  readonly remoteAtomic: boolean
  readonly localWrite: boolean
  remoteKey: number
  readonly #keys: Keys
  #released = false

  constructor(options: Options, address: number, domain: number, keys: Keys) {
    const { access = ["local-write"], memory, offset = 0 } = options
    this.memory = typeof memory === "number" ? new SharedArrayBuffer(memory) : memory
    this.offset = offset
    this.length = options.length ?? this.memory.byteLength - offset
    this.octets = new Uint8Array(this.memory, offset, this.length)
    this.access = access
    this.address = address
    this.domain = domain
    this.localWrite = access.includes("local-write")
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

  get isReleased(): boolean {
    return this.#released
  }

  renewKey(): number {
    const previous = this.remoteKey
    this.revokeUnsafe()
    if (!this.#released) this.remoteKey = this.#keys.remote.issue(this, previous)
    return this.remoteKey
  }

  revokeUnsafe(): void {
    this.#keys.remote.void(this.remoteKey)
    this.remoteKey = 0
  }

  releaseUnsafe(): void {
    this.revokeUnsafe()
    this.#keys.local.void(this.localKey)
    this.#released = true
  }
}

/** What is wrong with a wish to register memory. */
export const offence = (options: Options): Offence | undefined => {
  const { access = [], memory, offset = 0 } = options
  const size = typeof memory === "number" ? memory : memory.byteLength
  const length = options.length ?? size - offset
  if (!Number.isSafeInteger(size) || size < 1) {
    return { attribute: "memory", detail: `${size} octets are no memory` }
  }
  if (![offset, length].every(Number.isSafeInteger) || offset < 0 || length < 1) {
    return { attribute: "length", detail: `${length} octets at ${offset} are no region` }
  }
  if (offset + length > size) {
    return { attribute: "length", detail: `${length} octets at ${offset} of ${size} do not fit` }
  }
  const writes = access.includes("remote-write") || access.includes("remote-atomic")
  return writes && !access.includes("local-write")
    ? { attribute: "access", detail: "a peer may only write where this side may: local-write" }
    : undefined
}

/**
 * Where a peer may act: the place in the region, or a `Refusal`. `rights` are those of the queue
 * pair that it comes through.
 */
export const reach = (
  region: MemoryRegion | undefined,
  domain: number,
  right: Right,
  high: number,
  low: number,
  length: number
): number => {
  if (region === undefined) return Refusal.unknownKey
  if (region.domain !== domain) return Refusal.otherDomain
  if (!region[right]) return Refusal.noRight
  const at = locate(region, high, low, length)
  return at >= 0 && right === "remoteAtomic" && (region.offset + at) % 8 !== 0
    ? Refusal.misaligned
    : at
}

/** Whether posted work may use these parts: sources, or sinks that are written to. */
export const mayUse = (parts: Parts, domain: number, areSinks: boolean): boolean => {
  for (let index = 0; index < parts.count; index++) {
    const { length, offset, region } = parts.at(index)
    if (!(region instanceof MemoryRegion) || region.isReleased || region.domain !== domain) {
      return false
    }
    if (areSinks && !region.localWrite) return false
    if (offset < 0 || length < 0 || offset + length > region.length) return false
  }
  return true
}

/** Puts the octets of all parts one behind the other. */
export const gather = (parts: Parts, into: Uint8Array): void => {
  let at = 0
  for (let index = 0; index < parts.count; index++) {
    const { length, offset, region } = parts.at(index)
    copyOctets(into, at, region!.octets, offset, offset + length)
    at += length
  }
}

/** Fills the parts in their order. They must have room, see `Parts.bytes`. */
export const scatter = (octets: Uint8Array, parts: Parts): void => {
  let at = 0
  for (let index = 0; at < octets.length; index++) {
    const { length, offset, region } = parts.at(index)
    const count = Math.min(length, octets.length - at)
    copyOctets(region!.octets, offset, octets, at, at + count)
    at += count
  }
}

/** The registered memory of one device, on the main thread. */
import * as Effect from "effect/Effect"
import { randomFillSync } from "node:crypto"
import type { Access, Region } from "../verbs/Region.ts"
import { AddressSpace } from "../verbs/software/addressSpace.ts"
import type { RegionSpec, ResourceOwner } from "../verbs/provider/domain.ts"
import { Resource } from "../verbs/provider/resources.ts"
import { isUsable, RegionMemory } from "../verbs/software/memory.ts"
import type { ScatterList } from "../verbs/WorkRequest.ts"
import { type Entry, RegionTable, Right } from "./regionTable.ts"

const bits: ReadonlyArray<readonly [Access, number]> = [
  ["local-write", Right.localWrite],
  ["remote-write", Right.remoteWrite],
  ["remote-read", Right.remoteRead],
  ["remote-atomic", Right.remoteAtomic]
]

/** Rights as bits. */
export const rightsOf = (access: ReadonlyArray<Access>): number =>
  bits.reduce((rights, [name, bit]) => (access.includes(name) ? rights | bit : rights), 0)

const remoteRights = Right.remoteWrite | Right.remoteRead | Right.remoteAtomic

const drawn = new Uint32Array(64)
let undrawn = 0

const drawKey = (): number => {
  if (undrawn === 0) {
    randomFillSync(drawn)
    undrawn = drawn.length
  }
  undrawn -= 1
  return drawn[undrawn]!
}

/** The addresses of this process's memory, the same on all its devices. */
const addressSpace = new AddressSpace(drawKey)

/**
 * The regions of a device and their keys.
 *
 * Removing a region waits for sessions that use it. A session that does not leave in time may have
 * no processor, or be dead: the region's row is stuck. It is waited for once, gets no more keys and
 * is given to no other region.
 */
export class Regions {
  readonly table = new RegionTable()
  /** Returns when each session has been outside of all regions once, or is dead. */
  readonly barrier: Effect.Effect<void>
  readonly #stuck = new Set<number>()
  readonly #free: Array<number> = []
  readonly #byKey = new Map<number, IwarpRegion>()
  #rows = 0

  constructor(barrier: Effect.Effect<void>) {
    this.barrier = barrier
  }

  acquireRow(): number {
    return this.#free.pop() ?? this.#rows++
  }

  /** Frees the row of a removed region. */
  releaseRow(row: number): void {
    this.table.remove(row)
    if (this.waitUntilUnused(row)) this.#free.push(row)
  }

  /** Waits for sessions that use the row; false if they do not leave, or did not before. */
  waitUntilUnused(row: number): boolean {
    if (this.#stuck.has(row)) return false
    if (this.table.waitUntilUnused(row)) return true
    this.#stuck.add(row)
    return false
  }

  /** A new key; 0 if the row is stuck, since an old one may still be in use. */
  grant(region: IwarpRegion, previous: number): number {
    if (this.#stuck.has(region.row)) return 0
    for (;;) {
      const key = drawKey()
      if (key === previous || !this.table.grant(key, region.row)) continue
      this.#byKey.set(key, region)
      return key
    }
  }

  invalidate(key: number): void {
    if (!this.#byKey.delete(key)) return
    this.table.invalidate(key)
  }

  /** Handles a key that a peer has voided in the table. */
  invalidated(key: number): void {
    this.#byKey.get(key)?.forget(key)
    this.#byKey.delete(key)
  }
}

/** A region that this device's sessions can reach. */
export class IwarpRegion extends RegionMemory implements Region {
  readonly localKey = drawKey()
  readonly row: number
  readonly generation: number
  readonly resource: Resource
  readonly revoke = Effect.suspend(() => (this.#revoke() ? Effect.void : this.#regions.barrier))
  remoteKey = 0
  readonly #regions: Regions
  readonly #rights: number

  /** `buffer`: the number of the memory in the I/O pool. */
  constructor(
    regions: Regions,
    spec: RegionSpec,
    { domain, owners }: ResourceOwner,
    buffer: number
  ) {
    const { length, offset } = spec
    const address = addressSpace.of(spec.memory) + offset
    super(spec, address, domain)
    this.#regions = regions
    this.#rights = rightsOf(this.access)
    this.row = regions.acquireRow()
    const entry: Entry = { buffer, domain, rights: this.#rights, offset, length, address }
    this.generation = regions.table.add(this.row, entry)
    this.remoteKey = this.#grant(0)
    this.resource = new Resource("region", owners, () => this.#release())
  }

  readonly renewKey = (): number => {
    const previous = this.remoteKey
    this.#revoke()
    if (!this.isReleased) this.remoteKey = this.#grant(previous)
    return this.remoteKey
  }

  /** Handles the peer's invalidation of this key. */
  forget(key: number): void {
    if (this.remoteKey === key) this.remoteKey = 0
  }

  #grant(previous: number): number {
    return (this.#rights & remoteRights) === 0 ? 0 : this.#regions.grant(this, previous)
  }

  /** Voids the key; false if a session may still be using it. */
  #revoke(): boolean {
    this.#regions.invalidate(this.remoteKey)
    this.remoteKey = 0
    return this.#regions.waitUntilUnused(this.row)
  }

  #release(): void {
    this.isReleased = true
    this.#regions.invalidate(this.remoteKey)
    this.remoteKey = 0
    this.#regions.releaseRow(this.row)
  }
}

const nowhere = { row: -1, generation: 0 }

/** Finds the rows of parts that may be sources, or sinks, in a protection domain. */
export const rowFinder =
  (domain: number, areSinks: boolean) =>
  (parts: ScatterList, index: number): { readonly row: number; generation: number } => {
    const part = parts.at(index)
    return part.region instanceof IwarpRegion && isUsable(part, domain, areSinks)
      ? part.region
      : nowhere
  }

/**
 * Places payload in memory, found by a peer's key or by a scatter entry of posted work.
 *
 * Only numbers of regions are kept; their bytes are looked up for each use: a session may live for
 * months, and must not keep released memory alive.
 */
import { copyBytes } from "../../schema/copyBytes.ts"
import type { Region } from "../../schema/iwarp/Region.ts"
import type { PostedPart, QueueMemory } from "./queueMemory.ts"
import { type RegionTable, Right } from "./regionTable.ts"

/** A destination of payload. */
export interface Sink extends Region {
  /** False if the memory has been revoked. */
  readonly place: (at: number, bytes: Uint8Array, from: number, to: number) => boolean
}

/** Finds the memory of an I/O pool's number; undefined once that is released. */
export type BufferOf = (id: number) => Uint8Array | undefined

/** A region that posted work names. */
interface LocalRegion {
  readonly generation: number
  readonly buffer: number
  readonly offset: number
}

/** A region that a peer's key names, with the rights that the peer has by this queue pair. */
export class TaggedBuffer implements Sink {
  readonly base: number
  readonly length: number
  readonly domain: number
  readonly remoteWrite: boolean
  readonly remoteRead: boolean
  readonly remoteAtomic: boolean
  readonly key: number
  readonly row: number
  readonly generation: number
  readonly #table: RegionTable
  readonly #bufferOf: BufferOf
  readonly #buffer: number
  readonly #offset: number

  constructor(table: RegionTable, key: number, row: number, rights: number, bufferOf: BufferOf) {
    const entry = table.entry(row)
    const granted = entry.rights & rights
    this.#table = table
    this.#bufferOf = bufferOf
    this.#buffer = entry.buffer
    this.#offset = entry.offset
    this.base = entry.address
    this.length = entry.length
    this.domain = entry.domain
    this.remoteWrite = (granted & Right.remoteWrite) !== 0
    this.remoteRead = (granted & Right.remoteRead) !== 0
    this.remoteAtomic = (granted & Right.remoteAtomic) !== 0
    this.key = key
    this.row = row
    this.generation = table.generation(row)
  }

  /**
   * Calls `act` while the region cannot be revoked; false if it has been. The region begins at
   * `offset` of `memory`.
   */
  use(act: (memory: Uint8Array, offset: number) => void): boolean {
    if (!this.#table.acquireByKey(this.row, this.key)) return false
    try {
      const memory = this.#bufferOf(this.#buffer)
      if (memory === undefined) return false
      act(memory, this.#offset)
      return true
    } finally {
      this.#table.release(this.row)
    }
  }

  place(at: number, bytes: Uint8Array, from: number, to: number): boolean {
    return this.use((memory, offset) => copyBytes(memory, offset + at, bytes, from, to))
  }
}

/** The buffers that a session may use, with the rights of its queue pair. */
export class BufferTable {
  readonly table: RegionTable
  readonly #bufferOf: BufferOf
  readonly #domain: number
  readonly #rights: number
  /** Both by row, so that new keys and regions replace old ones. */
  readonly #keyed = new Map<number, TaggedBuffer>()
  readonly #local = new Map<number, LocalRegion>()

  constructor(table: RegionTable, bufferOf: BufferOf, domain: number, rights: number) {
    this.table = table
    this.#bufferOf = bufferOf
    this.#domain = domain
    this.#rights = rights
  }

  /** The region that a peer's key names now. */
  keyed(key: number): TaggedBuffer | undefined {
    const row = this.table.find(key)
    if (row < 0) return undefined
    const known = this.#keyed.get(row)
    if (known?.key === key && known.generation === this.table.generation(row)) return known
    const sink = new TaggedBuffer(this.table, key, row, this.#rights, this.#bufferOf)
    this.#keyed.set(row, sink)
    return sink
  }

  /** The offset of a part's region in its memory; -1 if the region has changed. */
  offsetOf({ generation, row }: PostedPart): number {
    if (row < 0 || this.table.generation(row) !== generation) return -1
    const known = this.#local.get(row)
    if (known?.generation === generation) return known.offset
    const { buffer, domain, offset } = this.table.entry(row)
    if (domain !== this.#domain) return -1
    this.#local.set(row, { generation, buffer, offset })
    return offset
  }

  /** The memory of a part whose region `offsetOf` has found. */
  memoryOf({ row }: PostedPart): Uint8Array | undefined {
    return this.#bufferOf(this.#local.get(row)!.buffer)
  }
}

/** The parts of a receive, a read or an atomic operation, as one run of bytes. */
export class ScatterBuffer implements Sink {
  readonly base = 0
  length = 0
  readonly domain = 0
  readonly remoteWrite = false
  readonly remoteRead = false
  readonly remoteAtomic = false
  readonly #memory: BufferTable
  readonly #parts: Array<PostedPart> = []
  #count = 0

  constructor(memory: BufferTable) {
    this.#memory = memory
  }

  load(queues: QueueMemory, partsAt: number, count: number): this {
    this.#count = count
    this.length = 0
    for (let index = 0; index < count; index++) {
      const part = (this.#parts[index] ??= { row: 0, generation: 0, offset: 0, length: 0 })
      this.length += queues.readPart(partsAt, index, part).length
    }
    return this
  }

  /** Whether all parts are memory that may be used now. */
  get isSound(): boolean {
    for (let index = 0; index < this.#count; index++) {
      if (this.#memory.offsetOf(this.#parts[index]!) < 0) return false
    }
    return true
  }

  /** Adds views of the parts to a payload; false if one of them is missing. */
  gather(into: Array<Uint8Array>): boolean {
    for (let index = 0; index < this.#count; index++) {
      const part = this.#parts[index]!
      const from = this.#memory.offsetOf(part) + part.offset
      const memory = from < part.offset ? undefined : this.#memory.memoryOf(part)
      if (memory === undefined) return false
      if (part.length > 0) into.push(memory.subarray(from, from + part.length))
    }
    return true
  }

  place(at: number, bytes: Uint8Array, from: number, to: number): boolean {
    let skip = at
    let next = from
    for (let index = 0; index < this.#count && next < to; index++) {
      const part = this.#parts[index]!
      if (skip >= part.length) skip -= part.length
      else {
        const end = Math.min(to, next + part.length - skip)
        if (!this.#put(part, part.offset + skip, bytes, next, end)) return false
        next = end
        skip = 0
      }
    }
    return true
  }

  #put(part: PostedPart, at: number, bytes: Uint8Array, from: number, to: number): boolean {
    const offset = this.#memory.offsetOf(part)
    const { table } = this.#memory
    if (offset < 0 || !table.acquire(part.row, part.generation)) return false
    try {
      const memory = this.#memory.memoryOf(part)
      if (memory === undefined) return false
      copyBytes(memory, offset + at, bytes, from, to)
      return true
    } finally {
      table.release(part.row)
    }
  }
}

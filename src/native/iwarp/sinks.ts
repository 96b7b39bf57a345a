/** Memory as a session finds it: by a peer's key, or by a part of its own side's work. */
import { copyOctets } from "../../schema/copyOctets.ts"
import type { Region } from "../../schema/iwarp/Region.ts"
import type { PostedPart, QueueMemory } from "./queueMemory.ts"
import { type RegionTable, Right } from "./regionTable.ts"

/** Where payload can be put. */
export interface Sink extends Region {
  /** False if the memory was taken back meanwhile. */
  readonly place: (at: number, bytes: Uint8Array, from: number, to: number) => boolean
}

/** A region that the own side's work names. */
interface Local {
  readonly generation: number
  readonly domain: number
  readonly octets: Uint8Array
}

/** A region that a peer's key names, with the rights that the peer has by this queue pair. */
export class KeyedSink implements Sink {
  readonly base: number
  readonly length: number
  readonly domain: number
  readonly remoteWrite: boolean
  readonly remoteRead: boolean
  readonly remoteAtomic: boolean
  readonly key: number
  readonly row: number
  readonly generation: number
  readonly octets: Uint8Array
  readonly #table: RegionTable

  constructor(table: RegionTable, key: number, row: number, rights: number, memory: Uint8Array) {
    const entry = table.entry(row)
    const granted = entry.rights & rights
    this.#table = table
    this.base = entry.address
    this.length = entry.length
    this.domain = entry.domain
    this.remoteWrite = (granted & Right.remoteWrite) !== 0
    this.remoteRead = (granted & Right.remoteRead) !== 0
    this.remoteAtomic = (granted & Right.remoteAtomic) !== 0
    this.key = key
    this.row = row
    this.generation = table.generation(row)
    this.octets = memory.subarray(entry.offset, entry.offset + entry.length)
  }

  /** The region cannot be taken back until `leave`; false if it has been. */
  enter(): boolean {
    return this.#table.enterByKey(this.row, this.key)
  }

  leave(): void {
    this.#table.leave(this.row)
  }

  /** Does something with the region while it cannot be taken back; false if it has been. */
  use(act: () => void): boolean {
    if (!this.enter()) return false
    act()
    this.leave()
    return true
  }

  place(at: number, bytes: Uint8Array, from: number, to: number): boolean {
    if (!this.enter()) return false
    copyOctets(this.octets, at, bytes, from, to)
    this.leave()
    return true
  }
}

/** Finds memory; each session has its own, for the rights of its queue pair. */
export class Memory {
  readonly table: RegionTable
  readonly #buffer: (id: number) => Uint8Array | undefined
  readonly #domain: number
  readonly #rights: number
  readonly #byKey = new Map<number, KeyedSink>()
  readonly #byRow = new Map<number, Local>()

  constructor(
    table: RegionTable,
    buffer: (id: number) => Uint8Array | undefined,
    domain: number,
    rights: number
  ) {
    this.table = table
    this.#buffer = buffer
    this.#domain = domain
    this.#rights = rights
  }

  /** The region that a peer's key names now. */
  keyed(key: number): KeyedSink | undefined {
    const row = this.table.find(key)
    const known = this.#byKey.get(key)
    if (row >= 0 && known?.row === row && known.generation === this.table.generation(row)) {
      return known
    }
    this.#byKey.delete(key)
    if (row < 0) return undefined
    const buffer = this.#buffer(this.table.entry(row).buffer)
    if (buffer === undefined) return undefined
    const sink = new KeyedSink(this.table, key, row, this.#rights, buffer)
    this.#byKey.set(key, sink)
    return sink
  }

  /** The octets of the region that a part names, if it is still that one. */
  local({ generation, row }: PostedPart): Uint8Array | undefined {
    if (row < 0 || this.table.generation(row) !== generation) return undefined
    const known = this.#byRow.get(row)
    if (known?.generation === generation) return known.octets
    const { buffer, domain, length, offset } = this.table.entry(row)
    const octets = this.#buffer(buffer)?.subarray(offset, offset + length)
    if (octets === undefined || domain !== this.#domain) return undefined
    this.#byRow.set(row, { generation, domain, octets })
    return octets
  }
}

/** The parts of a receive, a read or an atomic operation, as one run of octets. */
export class Scatter implements Sink {
  readonly base = 0
  length = 0
  readonly domain = 0
  readonly remoteWrite = false
  readonly remoteRead = false
  readonly remoteAtomic = false
  readonly #memory: Memory
  readonly #parts: Array<PostedPart> = []
  #count = 0

  constructor(memory: Memory) {
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
      if (this.#memory.local(this.#parts[index]!) === undefined) return false
    }
    return true
  }

  /** Adds views of the parts to a payload; false if one of them is not there. */
  gather(into: Array<Uint8Array>): boolean {
    for (let index = 0; index < this.#count; index++) {
      const part = this.#parts[index]!
      const octets = this.#memory.local(part)
      if (octets === undefined) return false
      if (part.length > 0) into.push(octets.subarray(part.offset, part.offset + part.length))
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
    const octets = this.#memory.local(part)
    const { table } = this.#memory
    if (octets === undefined || !table.enter(part.row, part.generation)) return false
    copyOctets(octets, at, bytes, from, to)
    table.leave(part.row)
    return true
  }
}

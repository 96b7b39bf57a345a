/**
 * The registered regions and their keys, in shared memory: the main thread writes the table, and
 * sessions in workers read it, also while the main thread is busy.
 *
 * A region has a row with a generation, odd while it is registered. A remote key is 32 random bits,
 * never 0; its low bits give the key's row, so it is found in one step and still hard to guess.
 * Revoking a key clears its row and waits for sessions that are using the region.
 */
import { waitUntilUnused } from "./quiesce.ts"

/** Regions of one device. Rows are untouched memory until they are used. */
export const regionLimit = 16_384

/** Four for each region: then a random key mostly finds a free row at the first try. */
const keyRows = 65_536
const keyMask = keyRows - 1
const rowWords = 16
const keysAt = regionLimit * rowWords
const totalWords = keysAt + keyRows * 2

/** Words of a row; the last three are numbers of 64 bits. */
const Row = { generation: 0, users: 1, buffer: 2, domain: 3, rights: 4 } as const
const Long = { offset: 3, length: 4, address: 5 } as const

/** Rights on a region, as bits. */
export const Right = { remoteWrite: 1, remoteRead: 2, remoteAtomic: 4, localWrite: 8 } as const

/** A region as it is registered. */
export interface Entry {
  /** The number of its buffer in the I/O pool. */
  readonly buffer: number
  readonly domain: number
  readonly rights: number
  readonly offset: number
  readonly length: number
  readonly address: number
}

/** The table, on either side. */
export class RegionTable {
  readonly memory: SharedArrayBuffer
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #longs: Float64Array<SharedArrayBuffer>

  constructor(memory = new SharedArrayBuffer(totalWords * 4)) {
    this.memory = memory
    this.#words = new Int32Array(memory)
    this.#longs = new Float64Array(memory, 0, keysAt / 2)
  }

  /** Registers a region in a free row; returns its generation. */
  add(row: number, entry: Entry): number {
    const at = row * rowWords
    const words = this.#words
    words[at + Row.buffer] = entry.buffer
    words[at + Row.domain] = entry.domain
    words[at + Row.rights] = entry.rights
    this.#longs[at / 2 + Long.offset] = entry.offset
    this.#longs[at / 2 + Long.length] = entry.length
    this.#longs[at / 2 + Long.address] = entry.address
    return Atomics.add(words, at + Row.generation, 1) + 1
  }

  /** Removes a region. Call `waitUntilUnused` before its memory is reused. */
  remove(row: number): void {
    Atomics.add(this.#words, row * rowWords + Row.generation, 1)
  }

  /** Gives a region a key; false if the key's row is taken. */
  grant(key: number, row: number): boolean {
    const at = keysAt + (key & keyMask) * 2
    if (key === 0 || Atomics.load(this.#words, at) !== 0) return false
    this.#words[at + 1] = row
    Atomics.store(this.#words, at, key | 0)
    return true
  }

  /** Voids a key; false if it was void. Sessions may do this for a peer that asks. */
  invalidate(key: number): boolean {
    const at = keysAt + (key & keyMask) * 2
    return key !== 0 && Atomics.compareExchange(this.#words, at, key | 0, 0) === (key | 0)
  }

  /** Waits for sessions that use a region now; false if they do not leave. */
  waitUntilUnused(row: number): boolean {
    return waitUntilUnused(this.#words, row * rowWords + Row.users)
  }

  /** The row of the region that a key names, or -1. */
  find(key: number): number {
    const at = keysAt + (key & keyMask) * 2
    if (key === 0 || Atomics.load(this.#words, at) !== (key | 0)) return -1
    return this.#words[at + 1]!
  }

  generation(row: number): number {
    return Atomics.load(this.#words, row * rowWords + Row.generation)
  }

  /** Begins to use a region; ends with `release`. False if its generation has changed. */
  acquire(row: number, generation: number): boolean {
    Atomics.add(this.#words, row * rowWords + Row.users, 1)
    if (this.generation(row) === generation) return true
    this.release(row)
    return false
  }

  /** Begins to use the region of a key; ends with `release`. */
  acquireByKey(row: number, key: number): boolean {
    Atomics.add(this.#words, row * rowWords + Row.users, 1)
    if (this.find(key) === row) return true
    this.release(row)
    return false
  }

  release(row: number): void {
    Atomics.sub(this.#words, row * rowWords + Row.users, 1)
  }

  entry(row: number): Entry {
    const at = row * rowWords
    return {
      buffer: this.#words[at + Row.buffer]!,
      domain: this.#words[at + Row.domain]!,
      rights: this.#words[at + Row.rights]!,
      offset: this.#longs[at / 2 + Long.offset]!,
      length: this.#longs[at / 2 + Long.length]!,
      address: this.#longs[at / 2 + Long.address]!
    }
  }
}

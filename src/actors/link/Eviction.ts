/**
 * Which entry of a full store goes: SIEVE, and first in first out.
 *
 * A policy only keeps an order. Who asks for a victim also says which entries may not go, since a
 * store must not give up an endpoint that is being connected or has work posted; they are passed
 * over. Deterministic, and without any effect.
 */

export interface Eviction<K> {
  readonly size: number
  /** Takes in a new entry. One that is there already is only touched. */
  add(key: K): void
  /** The entry was used. */
  touch(key: K): void
  /** The entry is gone for another reason. */
  remove(key: K): void
  /** Takes out a victim; nothing if no entry may go. */
  evict(mayGo: (key: K) => boolean): K | undefined
}

/** Entries stand in a ring around a root: `newer` of the root is the oldest entry. */
class Entry<K> {
  visited = false
  newer: Entry<K> = this
  older: Entry<K> = this
  readonly key: K

  constructor(key: K) {
    this.key = key
  }
}

class Ring<K> implements Eviction<K> {
  readonly #root: Entry<K | undefined> = new Entry<K | undefined>(undefined)
  readonly #entries = new Map<K, Entry<K>>()
  readonly #isSieve: boolean
  /** Where the search goes on: an entry, or the root. */
  #hand: Entry<K | undefined> = this.#root

  constructor(isSieve: boolean) {
    this.#isSieve = isSieve
  }

  get size(): number {
    return this.#entries.size
  }

  add(key: K): void {
    if (this.#entries.has(key)) return this.touch(key)
    const entry = new Entry<K | undefined>(key)
    entry.newer = this.#root
    entry.older = this.#root.older
    entry.older.newer = entry
    this.#root.older = entry
    this.#entries.set(key, entry as Entry<K>)
  }

  touch(key: K): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined) entry.visited = this.#isSieve
  }

  remove(key: K): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined) this.#take(entry)
  }

  evict(mayGo: (key: K) => boolean): K | undefined {
    // The first round may do no more than clear marks; what the second finds is all there is.
    for (let steps = 2 * this.size; steps > 0; steps--) {
      if (this.#hand === this.#root) this.#hand = this.#root.newer
      const entry = this.#hand as Entry<K>
      this.#hand = entry.newer
      if (!mayGo(entry.key)) continue
      if (!entry.visited) {
        this.#take(entry)
        if (!this.#isSieve) this.#hand = this.#root
        return entry.key
      }
      entry.visited = false
    }
    if (!this.#isSieve) this.#hand = this.#root
    return undefined
  }

  #take(entry: Entry<K>): void {
    if (this.#hand === entry) this.#hand = entry.newer
    entry.older.newer = entry.newer
    entry.newer.older = entry.older
    this.#entries.delete(entry.key)
  }
}

/**
 * SIEVE: a hand walks from the oldest entry to the newest and round again. What was used since it
 * last came by gets another round, the first that was not goes. A new entry is not used yet.
 */
export const sieve = <K>(): Eviction<K> => new Ring<K>(true)

/** The oldest entry goes, used or not. */
export const fifo = <K>(): Eviction<K> => new Ring<K>(false)

/**
 * Chooses the entry of a full store to evict: SIEVE, and first in first out.
 *
 * A policy only keeps an order. The caller that asks for a victim also names the entries that must
 * stay, because a store must not evict an endpoint that is being connected or has posted work; they
 * are skipped. Deterministic, and without effects.
 */

import { RingEntry } from "./ring.ts"

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

class Ring<K> implements Eviction<K> {
  readonly #root: RingEntry<K | undefined> = new RingEntry<K | undefined>(undefined)
  readonly #entries = new Map<K, RingEntry<K | undefined>>()
  readonly #isSieve: boolean
  /** Where the search goes on: an entry, or the root. */
  #hand: RingEntry<K | undefined> = this.#root

  constructor(isSieve: boolean) {
    this.#isSieve = isSieve
  }

  get size(): number {
    return this.#entries.size
  }

  add(key: K): void {
    if (this.#entries.has(key)) return this.touch(key)
    const entry = new RingEntry<K | undefined>(key)
    entry.join(this.#root)
    this.#entries.set(key, entry)
  }

  touch(key: K): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined) entry.isMarked = this.#isSieve
  }

  remove(key: K): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined) this.#take(key, entry)
  }

  evict(mayGo: (key: K) => boolean): K | undefined {
    // The first round may do no more than clear marks; what the second finds is all there is.
    for (let steps = 2 * this.size; steps > 0; steps--) {
      if (this.#hand === this.#root) this.#hand = this.#root.newer
      const entry = this.#hand as RingEntry<K>
      this.#hand = entry.newer
      if (!mayGo(entry.value)) continue
      if (!entry.isMarked) {
        this.#take(entry.value, entry)
        if (!this.#isSieve) this.#hand = this.#root
        return entry.value
      }
      entry.isMarked = false
    }
    if (!this.#isSieve) this.#hand = this.#root
    return undefined
  }

  #take(key: K, entry: RingEntry<K | undefined>): void {
    if (this.#hand === entry) this.#hand = entry.newer
    entry.leave()
    this.#entries.delete(key)
  }
}

/**
 * SIEVE: a hand walks from the oldest entry to the newest and round again. What was used since it
 * last came by gets another round, the first that was not goes. A new entry is not used yet.
 */
export const sieve = <K>(): Eviction<K> => new Ring<K>(true)

/** The oldest entry goes, used or not. */
export const fifo = <K>(): Eviction<K> => new Ring<K>(false)

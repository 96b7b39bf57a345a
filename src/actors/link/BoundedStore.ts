/**
 * Entries by key, up to a capacity. A full store evicts an entry that is not in use: by SIEVE, so
 * that a scan by unknown peers does not evict frequently used entries.
 *
 * Entries that only peers have requested are *guests*. They have a separate limit and only replace
 * one another, so that peers cannot take the whole store. An entry that this side uses is no guest
 * any more.
 *
 * Pure. The caller decides which entries are in use, and releases the resources of an evicted
 * entry.
 */

import assert from "node:assert/strict"
import { type Eviction, fifo, sieve } from "./internal/eviction.ts"

export interface StoreLimits {
  readonly capacity: number
  readonly guests: number
}

/** The side that asks for an entry. */
export type AskedBy = "local" | "peer"

export class BoundedStore<K, V> {
  readonly #limits: StoreLimits
  readonly #order: Eviction<K>
  readonly #entries = new Map<K, V>()
  readonly #guests = new Set<K>()

  /** With `"fifo"` the oldest entry goes, whether it was used or not. */
  constructor(limits: StoreLimits, eviction: "sieve" | "fifo" = "sieve") {
    this.#limits = limits
    this.#order = eviction === "fifo" ? fifo() : sieve()
  }

  get size(): number {
    return this.#entries.size
  }

  get values(): ReadonlyArray<V> {
    return [...this.#entries.values()]
  }

  /** Looks an entry up. That does not count as a use. */
  get(key: K): V | undefined {
    return this.#entries.get(key)
  }

  /** Uses an entry. */
  use(key: K, by: AskedBy): V | undefined {
    if (by === "local") this.#guests.delete(key)
    this.#order.touch(key)
    return this.#entries.get(key)
  }

  /** The limit that keeps out one more entry; undefined if there is room. */
  limitReached(by: AskedBy): number | undefined {
    const { capacity, guests } = this.#limits
    if (this.#isCrowded(by)) return guests
    return this.#entries.size < capacity ? undefined : capacity
  }

  /**
   * Gives up an entry that may go, and returns its key and value; undefined if none may. If it is
   * the limit of guests that is reached, a guest goes.
   */
  evict(by: AskedBy, mayGo: (value: V) => boolean): readonly [key: K, value: V] | undefined {
    const isCrowded = this.#isCrowded(by)
    const key = this.#order.evict(
      (key) => (!isCrowded || this.#guests.has(key)) && mayGo(this.#valueOf(key))
    )
    if (key === undefined) return undefined
    const value = this.#valueOf(key)
    this.delete(key)
    return [key, value]
  }

  /** Adds an entry of a new key. The caller has made room. */
  add(key: K, value: V, by: AskedBy): void {
    assert.ok(!this.#entries.has(key), "the key has an entry already")
    assert.ok(this.limitReached(by) === undefined, "there is no room")
    this.#entries.set(key, value)
    this.#order.add(key)
    if (by === "peer") this.#guests.add(key)
  }

  delete(key: K): void {
    this.#entries.delete(key)
    this.#guests.delete(key)
    this.#order.remove(key)
  }

  #valueOf(key: K): V {
    assert.ok(this.#entries.has(key), "the order and the entries hold the same keys")
    return this.#entries.get(key) as V
  }

  #isCrowded(by: AskedBy): boolean {
    return by === "peer" && this.#guests.size >= this.#limits.guests
  }
}

/**
 * Work that waits for a gate, a credit or a turn, in order: urgent work first, and each kind in the
 * order in which it came. Work that waits has no timer and no fiber, and leaves at any time in
 * constant time, for example when its caller is interrupted.
 *
 * Effect's `Queue` is not used: it gives work to any taker, and no item can leave it from the
 * middle.
 */

import { RingEntry } from "./internal/ring.ts"

export class WaitingWork<A> {
  readonly #urgent = new RingEntry<A | undefined>(undefined)
  readonly #others = new RingEntry<A | undefined>(undefined)
  readonly #entries = new Map<A, RingEntry<A | undefined>>()

  get size(): number {
    return this.#entries.size
  }

  /** Puts work behind what waits already. Work that waits already keeps its place. */
  add(work: A, isUrgent = false): void {
    if (this.#entries.has(work)) return
    const entry = new RingEntry<A | undefined>(work)
    entry.join(isUrgent ? this.#urgent : this.#others)
    this.#entries.set(work, entry)
  }

  /** Returns false if it does not wait, for example because its turn has come. */
  remove(work: A): boolean {
    this.#entries.get(work)?.leave()
    return this.#entries.delete(work)
  }

  /** The work whose turn is next. */
  get first(): A | undefined {
    return this.#urgent.newer.value ?? this.#others.newer.value
  }

  /** Takes out the work whose turn is next. */
  next(): A | undefined {
    const work = this.first
    if (work !== undefined) this.remove(work)
    return work
  }
}

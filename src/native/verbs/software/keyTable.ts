/**
 * Random keys that are hard to guess: 32 bits, never 0.
 *
 * A peer that tries keys finds a valid one with the chance of live keys in 2^32. Pure, and shared
 * by all providers that check keys themselves.
 */

/** Issues keys, and finds their objects. */
export class KeyTable<A> {
  readonly #draw: () => number
  readonly #byKey = new Map<number, A>()

  /** `draw` gives 32 random bits. */
  constructor(draw: () => number) {
    this.#draw = draw
  }

  get size(): number {
    return this.#byKey.size
  }

  /** A key that is not in use; `previous` is not given again. */
  issue(thing: A, previous = 0): number {
    for (;;) {
      const key = this.#draw() >>> 0
      if (key === 0 || key === previous || this.#byKey.has(key)) continue
      this.#byKey.set(key, thing)
      return key
    }
  }

  void(key: number): void {
    this.#byKey.delete(key)
  }

  find(key: number): A | undefined {
    return this.#byKey.get(key)
  }
}

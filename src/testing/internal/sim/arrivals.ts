/**
 * Orders events from outside of Effect by the fibers that they resume: a thread pool completes its
 * work in another order each time.
 */

interface Arrival {
  readonly fiber: number
  readonly act: () => void
}

/** Holds tasks of fibers while a run waits for work outside of Effect. */
export class Arrivals {
  /** The fiber that is resumed from outside. */
  fiber = 0
  #held: Array<Arrival> | undefined = undefined

  hold(): void {
    this.#held ??= []
  }

  get isHeld(): boolean {
    return this.#held !== undefined
  }

  /** Lets a task of the fiber wait for `admit`. */
  add(act: () => void): void {
    this.#held?.push({ fiber: this.fiber, act })
  }

  admit(): void {
    const arrivals = this.#held?.toSorted((a, b) => a.fiber - b.fiber) ?? []
    this.#held = undefined
    for (const { act } of arrivals) act()
  }
}

/**
 * What comes into a run from outside of Effect, in the order of the fibers that it resumes: the
 * parts of a thread pool are done in another order each time.
 */

interface Arrival {
  readonly fiber: number
  readonly act: () => void
}

/** Holds what fibers schedule while a run waits for work outside of Effect. */
export class Arrivals {
  /** The fiber that is resumed from elsewhere. */
  fiber = 0
  #held: Array<Arrival> | undefined = undefined

  hold(): void {
    this.#held ??= []
  }

  get isHeld(): boolean {
    return this.#held !== undefined
  }

  /** What the fiber schedules waits for `admit`. */
  add(act: () => void): void {
    this.#held?.push({ fiber: this.fiber, act })
  }

  admit(): void {
    const arrivals = this.#held?.toSorted((a, b) => a.fiber - b.fiber) ?? []
    this.#held = undefined
    for (const { act } of arrivals) act()
  }
}

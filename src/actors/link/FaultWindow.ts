/**
 * Pauses something after several faults within a short time. Faults far apart do not add up.
 *
 * Pure: time is a value. It only says that something is paused: what a pause means is up to the
 * caller, for example that it is tried only while there is no alternative. Effect's
 * `CircuitBreaker.rate` cannot be asked without running a call.
 */

export interface FaultWindowSettings {
  /** This many faults within `withinMs` start a pause. */
  readonly faults: number
  readonly withinMs: number
  readonly pauseMs: number
}

export class FaultWindow {
  readonly #settings: FaultWindowSettings
  /** The latest faults, the oldest first. */
  #times: ReadonlyArray<number> = []
  #pausedUntil = -Infinity

  constructor(settings: FaultWindowSettings) {
    this.#settings = settings
  }

  fault(now: number): void {
    const { faults, pauseMs, withinMs } = this.#settings
    this.#times = [...this.#times, now].slice(-faults)
    const [oldest = now] = this.#times
    if (this.#times.length < faults || now - oldest > withinMs) return
    this.#times = []
    this.#pausedUntil = now + pauseMs
  }

  isPaused(now: number): boolean {
    return now < this.#pausedUntil
  }
}

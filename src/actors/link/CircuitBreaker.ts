/**
 * Circuit breaker of a peer. Pure: time is a value.
 *
 * An outage begins when the first attempt begins that fails after data moved. Work waits through
 * it for `patienceMs`; then no attempt begins any more, and when those under way have failed the
 * breaker opens: work that waits or comes later fails at once. When it has cooled down, one more
 * attempt is allowed: it closes the breaker or opens it again.
 *
 * `effect/persistence/CircuitBreaker` is not used: it counts the outcomes of single calls and never
 * waits. Here one attempt to connect stands for all work of a peer, and it is the length of the
 * outage that counts, which no policy of Effect's sees. Its store is also asked by an effect, where
 * this is read for each post.
 */

export interface CircuitBreakerSettings {
  /** How long work waits for a peer that cannot be reached. */
  readonly patienceMs: number
  /** How long an open breaker refuses. */
  readonly coolDownMs: number
}

export class CircuitBreaker {
  readonly #settings: CircuitBreakerSettings
  #outageSince: number | undefined = undefined
  #isSpent = false
  #openUntil = -Infinity

  constructor(settings: CircuitBreakerSettings) {
    this.#settings = settings
  }

  /** While it is open, work is refused. */
  isOpen(now: number): boolean {
    return now < this.#openUntil
  }

  /** True if an attempt has failed since data moved. */
  get isOutage(): boolean {
    return this.#outageSince !== undefined
  }

  /** True if work has waited long enough: only an attempt under way can end the outage. */
  get isSpent(): boolean {
    return this.#isSpent
  }

  /** Work comes for an idle peer: an outage that no work waited through does not count. */
  begin(): void {
    this.#isSpent = false
    if (this.#openUntil === -Infinity) this.#outageSince = undefined
  }

  /**
   * A connection was made, by either side. A peer that was given up can be reached again: work
   * waits for it as for any other one, and if the connection moves nothing, an outage begins then.
   */
  connected(): void {
    if (this.#openUntil !== -Infinity) this.moved()
  }

  /** Data moved: the outage is over. */
  moved(): void {
    this.#outageSince = undefined
    this.#isSpent = false
    this.#openUntil = -Infinity
  }

  /**
   * An attempt that began at `began` failed. Returns true if the breaker opens by that: the outage
   * has lasted too long, and no other attempt is under way.
   */
  failed(now: number, isLast: boolean, began = now): boolean {
    this.#outageSince ??= began
    this.#isSpent = now - this.#outageSince >= this.#settings.patienceMs
    if (!isLast || !this.#isSpent) return false
    this.#isSpent = false
    this.#openUntil = now + this.#settings.coolDownMs
    return true
  }
}

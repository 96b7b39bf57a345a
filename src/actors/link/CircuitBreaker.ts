/**
 * The circuit breaker of a peer. Pure: time is a value.
 *
 * An outage begins with the first failed attempt after data moved. Work waits through it, up to a
 * bound; then the breaker opens, and what waits, and what comes, fails at once. After a while one
 * more attempt is allowed: it closes the breaker or opens it again.
 */

/** Milliseconds. */
export interface Settings {
  /** How long work waits for a peer that cannot be reached. */
  readonly patience: number
  /** How long an open breaker refuses. */
  readonly coolDown: number
}

export class Breaker {
  readonly #settings: Settings
  #outageSince: number | undefined = undefined
  #openUntil = -Infinity

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Whether it refuses. */
  isOpen(now: number): boolean {
    return now < this.#openUntil
  }

  /** Whether an attempt has failed since data moved. */
  get isOutage(): boolean {
    return this.#outageSince !== undefined
  }

  /** Work comes for an idle peer: an outage that nobody waited through does not count. */
  begin(): void {
    if (this.#openUntil === -Infinity) this.#outageSince = undefined
  }

  moved(): void {
    this.#outageSince = undefined
    this.#openUntil = -Infinity
  }

  /**
   * An attempt failed. True if the breaker opens by that: the outage has lasted too long, and no
   * other attempt is under way.
   */
  failed(now: number, isLast: boolean): boolean {
    this.#outageSince ??= now
    if (!isLast || now - this.#outageSince < this.#settings.patience) return false
    this.#openUntil = now + this.#settings.coolDown
    return true
  }
}

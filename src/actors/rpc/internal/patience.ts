/** Time limits, in milliseconds, by which a silent responder is told from a slow handler. */
export interface PatienceSettings {
  readonly overdueAfterMs: number
  readonly probeWithinMs: number
  readonly zombieWithinMs: number
}

/** No limit grows beyond this many times its setting. */
const maxFactor = 64

/**
 * How long calls are waited for. With each connection that is given up as mute the patience
 * doubles: a handler that is slower than the limit would be sent again forever. A reply resets it.
 */
export class Patience {
  readonly #settings: PatienceSettings
  #factor = 1

  constructor(settings: PatienceSettings) {
    this.#settings = settings
  }

  /** The age at which a call without a reply leads to a NULL call. */
  get overdueAfterMs(): number {
    return this.#settings.overdueAfterMs * this.#factor
  }

  /** The time for the reply to a NULL call. */
  get probeWithinMs(): number {
    return this.#settings.probeWithinMs * this.#factor
  }

  /** The longest time that an interrupted call keeps its credit. */
  get zombieWithinMs(): number {
    return this.#settings.zombieWithinMs
  }

  grow(): void {
    this.#factor = Math.min(maxFactor, 2 * this.#factor)
  }

  reset(): void {
    this.#factor = 1
  }
}

/** Time limits, in milliseconds, by which a silent responder is told from a slow handler. */
export interface PatienceSettings {
  readonly overdueAfterMs: number
  readonly probeWithinMs: number
  readonly zombieWithinMs: number
  readonly keepAliveAfterMs: number
}

/** A call that is out. */
interface Waiting {
  /** Undefined for an interrupted call. */
  readonly call: object | undefined
  readonly isProbe: boolean
  readonly since: number
}

/** When a limit is reached: of a NULL call, an interrupted one, or of the peer's silence. */
export interface Deadline {
  readonly kind: "probe" | "zombie" | "silence"
  readonly at: number
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

  /** No call that begins now has a deadline before so many milliseconds. */
  get shortestMs(): number {
    const { keepAliveAfterMs, zombieWithinMs } = this.#settings
    return Math.min(this.#overdueAfterMs, this.#probeWithinMs, zombieWithinMs, keepAliveAfterMs)
  }

  get #overdueAfterMs(): number {
    return this.#settings.overdueAfterMs * this.#factor
  }

  get #probeWithinMs(): number {
    return this.#settings.probeWithinMs * this.#factor
  }

  /**
   * Returns the deadline that is reached first, among those of the calls that are out. A call that
   * is overdue and a connection without calls lead to a NULL call, after the last sign of life.
   */
  next(out: Iterable<Waiting>, aliveAt: number): Deadline {
    const { keepAliveAfterMs, zombieWithinMs } = this.#settings
    let first: Deadline = { kind: "silence", at: Infinity }
    let [isAsking, isIdle, oldest] = [false, true, Infinity]
    for (const { call, isProbe, since } of out) {
      isIdle = false
      isAsking ||= isProbe
      if (!isProbe && call !== undefined) oldest = Math.min(oldest, since)
      else {
        const at = since + (isProbe ? this.#probeWithinMs : zombieWithinMs)
        if (at < first.at) first = { kind: isProbe ? "probe" : "zombie", at }
      }
    }
    if (isAsking) return first
    const at = isIdle
      ? aliveAt + keepAliveAfterMs
      : Math.max(oldest, aliveAt) + this.#overdueAfterMs
    return at < first.at ? { kind: "silence", at } : first
  }

  grow(): void {
    this.#factor = Math.min(maxFactor, 2 * this.#factor)
  }

  reset(): void {
    this.#factor = 1
  }
}

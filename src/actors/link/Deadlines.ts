/**
 * Deadlines of one length, for things that mostly end long before.
 *
 * One timer runs for the oldest of them, so that starting and stopping one costs next to nothing.
 * Timers of their own show in what a handshake costs.
 */
export class Deadlines<A> {
  readonly millis: number
  readonly #expired: (item: A) => void
  /** Since when each runs, the oldest first. */
  readonly #since = new Map<A, number>()
  #timer: NodeJS.Timeout | undefined = undefined

  constructor(millis: number, expired: (item: A) => void) {
    this.millis = millis
    this.#expired = expired
  }

  /** Of an item that runs already, the deadline begins anew. */
  start(item: A): void {
    this.#since.delete(item)
    this.#since.set(item, performance.now())
    if (this.#timer === undefined) this.#look(this.millis)
  }

  stop(item: A): void {
    this.#since.delete(item)
  }

  /** The timer does not keep the process alive: what it is for has a socket, which does. */
  #look(within: number): void {
    this.#timer = setTimeout(() => this.#expire(), Math.ceil(within)).unref()
  }

  #expire(): void {
    const before = performance.now() - this.millis
    for (const [item, since] of this.#since) {
      if (since > before) return this.#look(since - before)
      this.#since.delete(item)
      this.#expired(item)
    }
    this.#timer = undefined
  }
}

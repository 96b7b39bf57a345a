/**
 * When a worker wakes the main thread for what it has published: at the end of the turn, except
 * that bulk waits for more of it, and news for other news. A wake-up costs the main thread as much
 * as hundreds of records.
 */
import type { Doorbell } from "./doorbell.ts"

/** A turn that published so much is likely to be followed by another one at once. */
const bulkBytes = 16_384

/**
 * Bytes that may lie published before the main thread is woken in any case: with much less the
 * wake-ups cost it more than all the rest.
 */
const patience = 4_194_304
/** Milliseconds after which it is woken for fewer: not every stream is as fast as memory. */
const patientFor = 2

/**
 * Milliseconds from one wake-up for news to the next one. In a storm of handshakes a worker is done
 * with one in each millisecond, and then the wake-ups cost the main thread more than all the rest.
 * What comes alone is told at once, and in a storm nobody notices 4 ms.
 */
const newsEvery = 4

/** Wakes the main thread. */
export class Waker {
  readonly #bell: Doorbell
  /** Bytes published in this turn, and since the last doorbell. */
  #turnBytes = 0
  #unrung = 0
  /** Since when bytes lie there. */
  #since = 0
  /** Something that the main thread may wait for was published since the last doorbell. */
  #isAwaited = false
  /** Runs while a wake-up for news is not long ago; whether there is more to tell after it. */
  #pause: NodeJS.Timeout | undefined
  #hasNews = false

  constructor(bell: Doorbell) {
    this.#bell = bell
  }

  /** So many bytes more lie published that the main thread is woken before this turn ends. */
  get isOverdue(): boolean {
    return this.#unrung >= patience
  }

  /** Frames of so many bytes will be published. */
  bytes(length: number): void {
    if (this.#unrung === 0) this.#since = performance.now()
    this.#turnBytes += length
    this.#unrung += length
    this.#isAwaited = true
  }

  /** Something that is no news will be published, or the main thread asked for a doorbell. */
  awaited(): void {
    this.#isAwaited = true
  }

  /** Somebody may wait for news that was held back. */
  hurry(): void {
    if (this.#hasNews) this.#ring()
  }

  /** The turn's records are published. False: look again at the end of the next turn. */
  turnEnds(): boolean {
    const isBulk = this.#turnBytes >= bulkBytes
    this.#turnBytes = 0
    if (isBulk && !this.isOverdue && performance.now() - this.#since < patientFor) return false
    const isAwaited = this.#isAwaited
    if (isAwaited || this.#pause === undefined) {
      this.#unrung = 0
      this.#isAwaited = false
      this.#ring()
      if (!isAwaited) this.#rest()
    } else this.#hasNews = true
    return true
  }

  /** What is awaited and not published yet stays awaited. */
  #ring(): void {
    this.#hasNews = false
    this.#bell.ring()
  }

  #rest(): void {
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      if (!this.#hasNews) return
      this.#ring()
      this.#rest()
    }, newsEvery)
  }
}

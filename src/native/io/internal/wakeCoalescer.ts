/**
 * Coalesces wake-ups of the main thread: bulk data up to 4 MiB or 2 ms, deferrable records up to
 * 4 ms, everything else at the end of the turn. A wake-up costs the main thread as much as hundreds
 * of records.
 */
import type { Doorbell } from "./doorbell.ts"

/** A turn that published so much is likely to be followed by another one at once. */
const bulkBytes = 16_384

/**
 * Published bytes after which the main thread is woken in any case: with much less the wake-ups
 * cost it more than all the rest.
 */
const coalesceBytesMax = 4_194_304
/** Milliseconds after which it is woken for fewer: not every stream is as fast as memory. */
const coalesceMsMax = 2

/**
 * Milliseconds from one wake-up for deferrable records to the next one. In a storm of handshakes a
 * worker completes one in each millisecond, and then the wake-ups cost the main thread more than
 * all the rest. A lone record wakes it at once; in a storm 4 ms do not matter.
 */
const deferredEveryMs = 4

/** Wakes the main thread. */
export class WakeCoalescer {
  readonly #bell: Doorbell
  /** Bytes published in this turn, and since the last doorbell. */
  #turnBytes = 0
  #coalescedBytes = 0
  /** When the oldest of these bytes were published. */
  #since = 0
  /** A record that is not deferrable was published since the last doorbell. */
  #isUrgent = false
  /** Runs for `deferredEveryMs` after a wake-up for deferrable records. */
  #pause: NodeJS.Timeout | undefined
  #hasDeferred = false

  constructor(bell: Doorbell) {
    this.#bell = bell
  }

  /** Whether so many bytes are published that the main thread is woken before this turn ends. */
  get isOverdue(): boolean {
    return this.#coalescedBytes >= coalesceBytesMax
  }

  /** Counts bytes of frames that will be published. */
  bytes(length: number): void {
    if (this.#coalescedBytes === 0) this.#since = performance.now()
    this.#turnBytes += length
    this.#coalescedBytes += length
    this.#isUrgent = true
  }

  /** Marks a record that is not deferrable, or a doorbell that the main thread has asked for. */
  urgent(): void {
    this.#isUrgent = true
  }

  /** Wakes the main thread for deferrable records that wait. */
  flushDeferred(): void {
    if (this.#hasDeferred) this.#ring()
  }

  /** Called when the turn's records are published. False: call again after the next turn. */
  turnEnds(): boolean {
    const isBulk = this.#turnBytes >= bulkBytes
    this.#turnBytes = 0
    if (isBulk && !this.isOverdue && performance.now() - this.#since < coalesceMsMax) return false
    const isAwaited = this.#isUrgent
    if (isAwaited || this.#pause === undefined) {
      this.#coalescedBytes = 0
      this.#isUrgent = false
      this.#ring()
      if (!isAwaited) this.#startPause()
    } else this.#hasDeferred = true
    return true
  }

  #ring(): void {
    this.#hasDeferred = false
    this.#bell.ring()
  }

  #startPause(): void {
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      if (!this.#hasDeferred) return
      this.#ring()
      this.#startPause()
    }, deferredEveryMs)
  }
}

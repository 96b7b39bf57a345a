/**
 * Staying awake for the answer to a lone frame.
 *
 * To fall asleep and be woken again costs a thread 20 to 40 µs, about the time in which the main
 * thread wakes and answers. So a worker that has just woken the main thread looks at its inbox
 * for a moment longer, but only where answers have lately come that fast: a lane that is only
 * listened to, or whose user takes his time, costs nothing. Waiting in vain, as on a machine
 * where the thread that waits keeps the one that answers from running, doubles the number of
 * prompt answers that must be seen before the next try.
 */

/** Prompt answers in a row before the first try, and at most. */
const fewest = 4
const most = 4_096

/** Looks at the inbox between two looks at the clock, which cost more. */
const looksPerClock = 16

/** Tells the processor that this thread waits. Older engines have no such word. */
const pause = (Atomics as { readonly pause?: () => void }).pause ?? (() => {})

/** One thread's guess, from what it saw, whether waiting is worth it. */
export class Linger {
  readonly #millis: number
  /** Prompt answers in a row, and how many it takes. */
  #prompt = 0
  #needed = fewest
  #since = 0
  #asked = false

  constructor(micros: number) {
    this.#millis = micros / 1000
  }

  /** The other thread was woken. */
  asked(): void {
    if (this.#millis === 0) return
    if (this.#asked) this.#prompt = 0
    this.#asked = true
    this.#since = performance.now()
  }

  /** The other thread has answered. Without lingering, this thread had to wake for it too. */
  answered(): void {
    if (!this.#asked) return
    this.#asked = false
    const late = performance.now() - this.#since > 2 * this.#millis
    this.#prompt = late ? 0 : Math.min(most, this.#prompt + 1)
  }

  get likely(): boolean {
    return this.#asked && this.#prompt >= this.#needed
  }

  /** Waits for an answer while one is likely. */
  wait(there: () => boolean): void {
    const until = this.#since + this.#millis
    do {
      for (let looks = 0; looks < looksPerClock; looks++) {
        if (there()) {
          this.#needed = Math.max(fewest, this.#needed >> 1)
          return
        }
        pause()
      }
    } while (performance.now() < until)
    this.#needed = Math.min(most, this.#needed * 2)
    this.#prompt = 0
  }
}

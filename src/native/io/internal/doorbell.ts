/**
 * Wakes a sleeping event loop at most once per sleep.
 *
 * A thread that goes to sleep raises a flag, checks its rings once more, and only then waits. A
 * thread that published checks the flag after the publication. In any order, one of the two sees
 * the other, so no record waits for a thread that sleeps. Ringing while the other side is awake
 * costs one load; a wake-up costs far more with every primitive (`wakes` in the benchmarks).
 */
const epochAt = 0
const asleepAt = 16

/** Bytes of shared memory that a doorbell needs: its two words lie on separate cache lines. */
export const doorbellBytes = 128

/** A doorbell in shared memory. Any thread may ring it, one thread sleeps on it. */
export class Doorbell {
  readonly #words: Int32Array
  #epoch = 0

  constructor(words: Int32Array) {
    this.#words = words
  }

  /** Wakes the sleeper if it sleeps. Call after publishing. */
  ring(): void {
    if (this.takeSleeper()) this.wake()
  }

  /** Lowers the flag; true for the one thread that lowered it and now owes the wake-up. */
  takeSleeper(): boolean {
    if (Atomics.load(this.#words, asleepAt) === 0) return false
    return Atomics.exchange(this.#words, asleepAt, 0) !== 0
  }

  /** Wakes the thread whose flag was taken, or one that no other thread is left to wake. */
  wake(): void {
    Atomics.add(this.#words, epochAt, 1)
    Atomics.notify(this.#words, epochAt)
  }

  /** Before sleep: notes the epoch and raises the flag. After this, check the rings once more. */
  arm(): void {
    this.note()
    this.raise()
  }

  /** First half of `arm`. */
  note(): void {
    this.#epoch = Atomics.load(this.#words, epochAt)
  }

  /** Second half of `arm`. */
  raise(): void {
    Atomics.store(this.#words, asleepAt, 1)
  }

  /** The last check found work: stay awake. A doorbell that is under way has no effect. */
  disarm(): void {
    Atomics.store(this.#words, asleepAt, 0)
  }

  /**
   * Falls asleep, unless a last check with the flag up finds work: the promise of the next ring, or
   * undefined when there is work or it rang since. The check must cover all work that the thread
   * could be rung for.
   */
  sleepUnless(work: () => boolean): Promise<unknown> | undefined {
    this.arm()
    if (!work()) return this.sleep()
    this.disarm()
    return undefined
  }

  /**
   * Last step: the promise of the next ring, or undefined when it rang since `arm`. A waiter
   * does not keep its event loop alive; keep a referenced handle where that matters, and keep
   * one waiter at a time. Until the ring the runtime holds the promise and all that its reactions
   * reach, even where no other thread is left to ring: then the sleeper's thread does.
   */
  sleep(): Promise<unknown> | undefined {
    const wait = Atomics.waitAsync(this.#words, epochAt, this.#epoch)
    return wait.async ? wait.value : undefined
  }
}

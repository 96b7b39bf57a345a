/**
 * Calls that the kernel or the device may take time for, in order and off this thread.
 *
 * Each open device has one queue. A job begins when the one before has ended, whatever became of
 * it and of its caller, so the order of the jobs is the order in which the device sees them:
 * what is released last is destroyed last. A driver that hangs holds up its own device and one
 * thread of libuv's pool.
 */
import * as Effect from "effect/Effect"
import { constants } from "node:os"
import { NativeFailure } from "./library.ts"

/** Jobs of one device. */
export class ControlQueue {
  #last: Promise<unknown> = Promise.resolve()
  #hasEnded = false
  /** Waits until all jobs that were added before have ended. */
  readonly idle: Effect.Effect<void> = Effect.promise(() => this.#last.then(() => undefined))

  /** Adds a job. What it throws rejects the promise, and does not hold up the others. */
  add<A>(job: () => A | Promise<A>): Promise<A> {
    const result = this.#last.then(() => {
      if (this.#hasEnded) throw new NativeFailure("the device is closed", constants.errno.ECANCELED)
      return job()
    })
    this.#last = result.catch(() => undefined)
    return result
  }

  /** Adds the last job. Jobs behind it fail: nothing that they could call with is left. */
  addLast(job: () => unknown): void {
    this.addRelease(() => {
      this.#hasEnded = true
      return job()
    })
  }

  /** Adds a job that has no waiter: a failure means that its object is gone already. */
  addRelease(job: () => unknown): void {
    this.add(job).catch(() => undefined)
  }

  /**
   * Adds a job and waits for it, also when it is interrupted: what follows then meets no call under
   * way. Only failures of native calls are failures of the effect.
   */
  run<A>(job: () => A | Promise<A>): Effect.Effect<A, NativeFailure> {
    return Effect.suspend(() => {
      const result = this.add(job)
      const outcome = result.then(Effect.succeed, (error) =>
        error instanceof NativeFailure ? Effect.fail(error) : Effect.die(error)
      )
      return Effect.uninterruptible(Effect.flatten(Effect.promise(() => outcome)))
    })
  }
}

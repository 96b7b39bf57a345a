/**
 * Waits until no worker uses a resource that the main thread has just revoked.
 *
 * Worker: increment `users`, then load the state; if revoked, decrement and stop.
 * Main:   store the state, then wait here until `users` is 0.
 * Both use sequentially consistent atomics, so at least one of them sees the other. Sessions on the
 * main thread are never inside such a section when this runs.
 */

/** Checks in quick succession: most users have left by then. */
const quickChecks = 1_000
/** Milliseconds between later checks: users do not notify when they leave. */
const pauseMs = 1
/** About a second in all. A user that remains has no processor, or died with its worker. */
const checksMax = 2_000

/**
 * Waits until at most `dead` users are left, which takes microseconds. Returns false if others are
 * still there after a second: then the caller must not reuse the memory.
 */
export const waitUntilUnused = (
  words: Int32Array<ArrayBufferLike>,
  at: number,
  dead = 0
): boolean => {
  for (let look = 0; look < checksMax; look++) {
    const users = Atomics.load(words, at)
    if (users <= dead) return true
    if (look < quickChecks) continue
    Atomics.wait(words as Int32Array<SharedArrayBuffer>, at, users, pauseMs)
  }
  return false
}

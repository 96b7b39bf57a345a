/**
 * Ends the use of something by other threads, at once.
 *
 * A user announces itself, looks whether it may, acts for some microseconds and leaves. Whoever
 * forbids the use writes that down first and waits here for the last one: afterwards nobody uses
 * it any more. Sessions on the same thread are never in the middle of anything when this runs.
 */

/** Looks in quick succession: most users have left by then. */
const quickChecks = 1_000
/** How long to wait between later looks, in milliseconds: users need not ring when they leave. */
const pauseMs = 1
/** About a second in all. A user that is still there has no processor, or died with its worker. */
const checksMax = 2_000

/**
 * Waits until at most `dead` users are left, which takes microseconds. False if others are still
 * there after a second: what they use must not be given to anybody else.
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

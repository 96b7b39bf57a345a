/**
 * Shows the main thread that a worker gets on, and notices when one does not.
 *
 * Worker: adds to one word of shared memory whenever it has done something: a turn of its loop, a
 * read, a frame that its framer consumed, a connection opened, accepted or closed.
 * Main thread: looks ten times within `stuckAfterMs`. A worker that has nothing to do sleeps, so
 * each look that finds no progress also rings its doorbell, which gives it a turn.
 *
 * Looks are counted, not milliseconds: while the main thread is busy, or the whole process stands
 * still, there are no looks, so that time is not held against the worker.
 */

/** Looks in a row without progress that make a worker stuck. */
const checksMax = 10

/** Bytes of shared memory that a worker's progress needs. */
export const progressBytes = 4

/** The word of this thread. Nothing reads the main thread's. */
let word: Int32Array = new Int32Array(1)

/** From here on this thread's progress is counted there. */
export const countIn = (memory: SharedArrayBuffer): void => {
  word = new Int32Array(memory)
}

/** This thread has done something. A plain store: it is enough that it is seen some time later. */
export const madeProgress = (): void => {
  word[0] = (word[0]! + 1) | 0
}

/** Milliseconds between two looks. */
export const progressCheckMs = (stuckAfterMs: number): number => stuckAfterMs / checksMax

/** The main thread's view of one worker's progress. */
export class ProgressMonitor {
  readonly #word: Int32Array
  #seen = 0
  #checksWithout = 0

  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory)
  }

  /** One look. A worker that has not come up yet has counted nothing: it is starting, not stuck. */
  check(): "progress" | "none" | "stuck" {
    const count = Atomics.load(this.#word, 0)
    const hasMoved = count !== this.#seen || count === 0
    this.#seen = count
    this.#checksWithout = hasMoved ? 0 : this.#checksWithout + 1
    if (hasMoved) return "progress"
    return this.#checksWithout < checksMax ? "none" : "stuck"
  }
}

/**
 * Detects workers that make no progress.
 *
 * Worker: adds to one word of shared memory after each step: a turn of its loop, a read, a frame
 * that its framer consumed, a connection opened, accepted or closed.
 * Main thread: checks the word ten times within `stuckAfterMs`. An idle worker sleeps, so each
 * check that finds no progress also rings its doorbell, which gives it a turn.
 *
 * Checks are counted, not milliseconds: while the main thread is busy, or the whole process is
 * stopped, there are no checks, so that time does not count against the worker.
 */

/** Checks in a row without progress that make a worker stuck. */
const checksMax = 10

/** Bytes of shared memory that a worker's progress needs. */
export const progressBytes = 4

/** The word of this thread. The main thread's is not read. */
let word: Int32Array = new Int32Array(1)

/** Sets the memory in which this thread counts its progress. */
export const countIn = (memory: SharedArrayBuffer): void => {
  word = new Int32Array(memory)
}

/** Counts a step of this thread. A plain store: it need only be seen some time later. */
export const madeProgress = (): void => {
  word[0] = (word[0]! + 1) | 0
}

/** Milliseconds between two checks. */
export const progressCheckMs = (stuckAfterMs: number): number => stuckAfterMs / checksMax

/** The main thread's view of one worker's progress. */
export class ProgressMonitor {
  readonly #word: Int32Array
  #seen = 0
  #checksWithout = 0

  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory)
  }

  /** Checks once. A worker that has not counted anything yet is starting, not stuck. */
  check(): "progress" | "none" | "stuck" {
    const count = Atomics.load(this.#word, 0)
    const hasMoved = count !== this.#seen || count === 0
    this.#seen = count
    this.#checksWithout = hasMoved ? 0 : this.#checksWithout + 1
    if (hasMoved) return "progress"
    return this.#checksWithout < checksMax ? "none" : "stuck"
  }
}

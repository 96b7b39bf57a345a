/**
 * Which jobs of a lane are out, and when the lane may be released.
 *
 * A lane is released once: after it has ended and after its last job has come back, whichever
 * is later. Closing it while jobs are out only marks it. At most one write and one half-close
 * are out at a time, and each has a result of its own.
 */
type Phase = "open" | "closing" | "ended" | "released"

/** The jobs of one lane. */
export class LaneJobs {
  #phase: Phase = "open"
  #writing = false
  #finishing = false

  get out(): number {
    return Number(this.#writing) + Number(this.#finishing)
  }

  /** Whether the user may still send. */
  get open(): boolean {
    return this.#phase === "open"
  }

  get ended(): boolean {
    return this.#phase === "ended" || this.#phase === "released"
  }

  get released(): boolean {
    return this.#phase === "released"
  }

  get finishing(): boolean {
    return this.#finishing
  }

  get writing(): boolean {
    return this.#writing
  }

  /** Whether a job of this kind may be dispatched now. */
  may(kind: "write" | "finish"): boolean {
    return kind === "write" ? !this.ended && !this.#writing : !this.ended && !this.#finishing
  }

  /** A job is dispatched. If that fails, it has come back. */
  dispatched(kind: "write" | "finish"): void {
    if (kind === "write") this.#writing = true
    else this.#finishing = true
  }

  /** A job has come back; true when the lane is to be released now. */
  returned(kind: "write" | "finish"): boolean {
    if (kind === "write") this.#writing = false
    else this.#finishing = false
    return this.#release()
  }

  /** The user lets go: nothing more is sent. Doing so twice changes nothing. */
  close(): void {
    if (this.#phase === "open") this.#phase = "closing"
  }

  /** The socket is gone; true when the lane is to be released now. */
  end(): boolean {
    if (!this.ended) this.#phase = "ended"
    return this.#release()
  }

  #release(): boolean {
    if (this.#phase !== "ended" || this.out > 0) return false
    this.#phase = "released"
    return true
  }
}

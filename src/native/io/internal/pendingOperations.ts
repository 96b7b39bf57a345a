/**
 * Tracks which jobs of a lane are out, and when the lane may be released.
 *
 * A lane is released once: after it has ended and after its last job has come back, whichever is
 * later. Closing it while jobs are out only marks it. At most one write and one half-close are out
 * at a time, and each has one result.
 */
type Phase = "open" | "closing" | "ended" | "released"

/** The jobs of one lane. */
export class PendingOperations {
  #phase: Phase = "open"
  #isWriting = false
  #isFinishing = false

  get pending(): number {
    return Number(this.#isWriting) + Number(this.#isFinishing)
  }

  /** Whether the user may still send. */
  get isOpen(): boolean {
    return this.#phase === "open"
  }

  get hasEnded(): boolean {
    return this.#phase === "ended" || this.#phase === "released"
  }

  get isReleased(): boolean {
    return this.#phase === "released"
  }

  get isFinishing(): boolean {
    return this.#isFinishing
  }

  get isWriting(): boolean {
    return this.#isWriting
  }

  /** Whether a job of this kind may be dispatched now. */
  canStart(kind: "write" | "finish"): boolean {
    return kind === "write"
      ? !this.hasEnded && !this.#isWriting
      : !this.hasEnded && !this.#isFinishing
  }

  /** Marks a job as dispatched. If the dispatch fails, call `completed`. */
  started(kind: "write" | "finish"): void {
    if (kind === "write") this.#isWriting = true
    else this.#isFinishing = true
  }

  /** Marks a job as completed; true when the lane is to be released now. */
  completed(kind: "write" | "finish"): boolean {
    if (kind === "write") this.#isWriting = false
    else this.#isFinishing = false
    return this.#release()
  }

  /** Ends sending by the user. Idempotent. */
  close(): void {
    if (this.#phase === "open") this.#phase = "closing"
  }

  /** Marks the socket as closed; true when the lane is to be released now. */
  end(): boolean {
    if (!this.hasEnded) this.#phase = "ended"
    return this.#release()
  }

  #release(): boolean {
    if (this.#phase !== "ended" || this.pending > 0) return false
    this.#phase = "released"
    return true
  }
}

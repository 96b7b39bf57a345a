/** A piece of an operation, and who has it. Slices are made once and used again and again. */
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import { Found, type PeerMemory } from "./slicing.ts"
import type { Job } from "./job.ts"
import type { Trail } from "./writeConfirmation.ts"
import type { Way } from "./rail.ts"

/**
 * A slice has one owner at a time: its job while it waits, then the card that it is posted on,
 * which gives it back when its completion has come. Nothing else ends it.
 */
export class Slice {
  job: Job | undefined = undefined
  /** Which operation of the job. */
  operation = 0
  /** From the start of the operation. */
  at = 0
  length = 0
  /** How often it was posted and failed. */
  attempts = 0
  /** What the peer had told when its place was found. */
  told: PeerMemory | undefined = undefined
  /** Where it goes in the peer's memory, as of the post. */
  readonly found = new Found()
  /** Which way it is posted on, and which life of that. */
  way: Way | undefined = undefined
  link: ReadyLink | undefined = undefined
  /**
   * Of a write that may not have arrived when it ends. A slice with a trail and without a job is
   * the question whether its writes have.
   */
  trail: Trail | undefined = undefined
  queuePair = 0
  /** Of an empty read that only shows whether the peer answers on this link. */
  onAnswer: ((isThere: boolean) => void) | undefined = undefined
  /** Its place in the trail, or the last place that the question covers. */
  number = 0
  /** The number of its completion, while it is posted. */
  id = 0
  /** The next one in the same list. */
  next: Slice | undefined = undefined
}

/** Slices that nobody uses. There are never more than were posted or failed at one time. */
export class SlicePool {
  #free: Slice | undefined = undefined

  take(): Slice {
    const slice = this.#free ?? new Slice()
    this.#free = slice.next
    slice.next = undefined
    return slice
  }

  give(slice: Slice): void {
    slice.job = slice.way = slice.link = slice.trail = slice.onAnswer = undefined
    slice.attempts = 0
    slice.told = undefined
    slice.found.buffer = undefined
    slice.next = this.#free
    this.#free = slice
  }
}

/** A piece of an operation. Slices are pooled: a transfer of any size makes few of them. */
import { BufferCursor, type PeerMemory } from "./slicing.ts"

/**
 * A slice has one owner at a time: its job while it waits, then the work that carries it, which
 * gives it back when it ends.
 */
export class Slice {
  /** Index of the operation in its job. */
  operation = 0
  /** From the start of the operation. */
  at = 0
  length = 0
  /** How often it was posted and failed. */
  attempts = 0
  /** The description in which its remote place was found. */
  peerMemory: PeerMemory | undefined = undefined
  /** Its remote place, as of the post. */
  readonly found = new BufferCursor()
  /** The next one in the same list. */
  next: Slice | undefined = undefined
}

/** Free slices. There are never more than were posted or failed at one time. */
export class SlicePool {
  #free: Slice | undefined = undefined

  acquire(): Slice {
    const slice = this.#free ?? new Slice()
    this.#free = slice.next
    slice.next = undefined
    return slice
  }

  release(slice: Slice): void {
    slice.attempts = 0
    slice.peerMemory = undefined
    slice.found.buffer = undefined
    slice.next = this.#free
    this.#free = slice
  }
}

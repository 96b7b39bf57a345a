/**
 * Doubly linked ring around a root, so that an entry is added and removed in constant time. A `Set`
 * is not: taking its first element passes over all that were deleted before it.
 */
export class RingEntry<A> {
  readonly value: A
  /** Of the root, the oldest entry. */
  newer: RingEntry<A> = this
  /** Of the root, the newest entry. */
  older: RingEntry<A> = this
  isMarked = false

  constructor(value: A) {
    this.value = value
  }

  /** Becomes the newest entry. */
  join(root: RingEntry<A>): void {
    this.newer = root
    this.older = root.older
    root.older.newer = this
    root.older = this
  }

  leave(): void {
    this.older.newer = this.newer
    this.newer.older = this.older
  }
}

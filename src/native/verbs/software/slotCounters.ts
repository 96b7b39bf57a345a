/**
 * Slots of a work queue, as three counters that only rise.
 *
 * A slot is taken by a post, ended once by the transport, and free again when its completion, or a
 * later one, has been polled: until then the caller does not know that it has ended. Pure, and
 * shared by all providers.
 */

/** The slots of one work queue. */
export class SlotCounters {
  readonly depth: number
  /** Posted so far. */
  posted = 0
  /** Of these, ended: with or without a completion. */
  ended = 0
  /** Of these, reported by a poll. */
  reclaimed = 0
  /** Ends of missing work: a defect of the provider. */
  doubleEnds = 0

  constructor(depth: number) {
    this.depth = depth
  }

  /** Slots that are free. */
  get free(): number {
    return this.depth - (this.posted - this.reclaimed)
  }

  get outstanding(): number {
    return this.posted - this.ended
  }

  /** Ends the oldest work; `false` if there is none. */
  end(): boolean {
    if (this.ended === this.posted) {
      this.doubleEnds += 1
      return false
    }
    this.ended += 1
    return true
  }

  /** Frees the slots of all work before `upTo`; returns their number. */
  reclaim(upTo: number): number {
    const freed = upTo - this.reclaimed
    if (freed <= 0) return 0
    this.reclaimed = upTo
    return freed
  }
}

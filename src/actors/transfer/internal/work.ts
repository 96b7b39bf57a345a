/** Work that a NIC has: one posted request each. It is pooled, so that a post makes no object. */
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { Job, JobSlice } from "./job.ts"
import type { Rail } from "./rail.ts"
import type { Slice } from "./slice.ts"

/**
 * Carries a slice of a job, a read that confirms writes (`writes` without a `job`), or a probe
 * (`onAnswer`). Only its completion ends it, or the loss of its link or device.
 */
export class Work implements JobSlice {
  job: Job | undefined = undefined
  slice: Slice | undefined = undefined
  rail: Rail | undefined = undefined
  link: ReadyLink | undefined = undefined
  queuePair = 0
  /** The id of its completion, while it is posted. */
  id = 0
  /** The unconfirmed writes that it is one of, or that it confirms. */
  writes: UnconfirmedWrites | undefined = undefined
  /** Sequence number of this write, or the last one that a confirming read covers. */
  number = 0
  /** Called with the result of a probe. */
  onAnswer: ((isThere: boolean) => void) | undefined = undefined
  /** The next one in the pool. */
  next: Work | undefined = undefined
}

/** Writes of one queue pair whose delivery is not confirmed yet. */
export class UnconfirmedWrites {
  readonly rail: Rail
  readonly link: ReadyLink
  readonly queuePair: number
  /** In the order of their posts. */
  readonly writes: Array<Work> = []
  /** Writes so far, and how many of them the last confirming read covers. */
  count = 0
  covered = 0
  /** Confirming reads that have not ended. */
  pendingReads = 0

  constructor(rail: Rail, link: ReadyLink, queuePair: number) {
    this.rail = rail
    this.link = link
    this.queuePair = queuePair
  }

  /** Removes the oldest ones, up to the one of that sequence number. */
  take(number: number): ReadonlyArray<Work> {
    const { writes } = this
    let taken = 0
    while (taken < writes.length && writes[taken]!.number <= number) taken += 1
    return writes.splice(0, taken)
  }
}

/** Free work objects. There are never more than were posted at one time. */
export class WorkPool {
  #free: Work | undefined = undefined

  acquire(): Work {
    const work = this.#free ?? new Work()
    this.#free = work.next
    work.next = undefined
    return work
  }

  release(work: Work): void {
    work.job = work.slice = work.rail = work.link = work.writes = work.onAnswer = undefined
    work.next = this.#free
    this.#free = work
  }
}

/**
 * Confirms the delivery of writes.
 *
 * Some providers complete a write when its bytes have left, whether or not they arrive. Such writes
 * are followed by a zero-length read on the same queue pair: a peer answers in order, so the
 * completion of the read means that all writes before it are in its memory. The writes themselves
 * are unsignalled: they complete only if they fail.
 *
 * Work completes in order, so writes behind a confirming read complete after it. Therefore each
 * turn of a rail confirms its writes with a separate read while others are under way: a queue pair
 * whose writes all wait for one read would have nothing to send until it ends.
 */
import { Completion, type Status } from "../../../native/verbs/Completion.ts"
import type { Posted } from "../../../native/verbs/WorkRequest.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import { blameOf } from "./railSelection.ts"
import { UnconfirmedWrites, type Work } from "./posting.ts"
import type { Rail } from "./rail.ts"

/** The NIC that the writes are posted on. */
export interface ConfirmationHost {
  /** Posts a zero-length read behind the writes. */
  readonly postConfirmingRead: (unconfirmed: UnconfirmedWrites) => Posted | "not-ready"
  /** Called when work has ended; a later completion of it is dropped. */
  readonly onEnded: (work: Work) => void
  readonly onArrived: (rail: Rail, work: Work) => void
  readonly onFailed: (rail: Rail, work: Work, end: Completion) => void
}

/** The unconfirmed writes of one NIC. */
export class WriteConfirmations {
  readonly #host: ConfirmationHost
  readonly #all = new Map<ReadyLink, Array<UnconfirmedWrites>>()
  /** Those with writes that no confirming read covers. */
  #uncovered: Array<UnconfirmedWrites> = []

  constructor(host: ConfirmationHost) {
    this.#host = host
  }

  /** Adds a write that was posted. */
  onWritePosted(work: Work): void {
    const unconfirmed = this.#of(work)
    if (unconfirmed.count === unconfirmed.covered) this.#uncovered.push(unconfirmed)
    work.writes = unconfirmed
    work.number = unconfirmed.count += 1
    unconfirmed.writes.push(work)
  }

  /** Handles the completion of a write, which was signalled or has failed. */
  onWriteCompleted(work: Work, unconfirmed: UnconfirmedWrites, { status }: Completion): void {
    this.#host.onEnded(work)
    if (status === "success") return
    // Those before it have left, and no later confirming read can succeed.
    const before = unconfirmed.take(work.number - 1)
    this.#lose(unconfirmed, before, "flushed")
    this.#lose(unconfirmed, unconfirmed.take(work.number), status)
    this.#removeEmpty(unconfirmed)
  }

  /** Handles the completion of a confirming read. */
  onConfirmed(read: Work, unconfirmed: UnconfirmedWrites, { status }: Completion): void {
    this.#host.onEnded(read)
    unconfirmed.pendingReads -= 1
    const writes = unconfirmed.take(read.number)
    if (status !== "success") this.#lose(unconfirmed, writes, statusOf(writes, status))
    else {
      for (const work of writes) {
        this.#host.onEnded(work)
        this.#host.onArrived(unconfirmed.rail, work)
      }
    }
    this.#removeEmpty(unconfirmed)
  }

  /** Posts a read behind writes that none covers, while there is room. */
  postConfirmingReads(): void {
    if (this.#uncovered.length === 0) return
    const lists = this.#uncovered
    this.#uncovered = []
    for (const unconfirmed of lists) {
      const posted = this.#host.postConfirmingRead(unconfirmed)
      if (posted === "accepted") {
        unconfirmed.covered = unconfirmed.count
        unconfirmed.pendingReads += 1
      } else if (posted === "not-ready" || posted === "wrong-state") this.#close(unconfirmed)
      else this.#uncovered.push(unconfirmed)
    }
  }

  /** The links on which a job has unconfirmed writes. */
  *linksOf(job: Work["job"]): Generator<readonly [ReadyLink, Rail]> {
    for (const lists of this.#all.values()) {
      for (const { link, rail, writes } of lists) {
        if (writes.some((work) => work.job === job)) yield [link, rail]
      }
    }
  }

  #of({ link, queuePair, rail }: Work): UnconfirmedWrites {
    let lists = this.#all.get(link!)
    if (lists === undefined) this.#all.set(link!, (lists = []))
    for (const unconfirmed of lists) if (unconfirmed.queuePair === queuePair) return unconfirmed
    const unconfirmed = new UnconfirmedWrites(rail!, link!, queuePair)
    lists.push(unconfirmed)
    return unconfirmed
  }

  /** Called when no confirming read can be posted any more. Posted ones end or fail. */
  #close(unconfirmed: UnconfirmedWrites): void {
    const { writes } = unconfirmed
    const first = writes.findIndex(({ number }) => number > unconfirmed.covered)
    const lost = writes.splice(first < 0 ? writes.length : first)
    unconfirmed.covered = unconfirmed.count
    this.#lose(unconfirmed, lost, "flushed")
    this.#removeEmpty(unconfirmed)
  }

  #lose({ queuePair, rail }: UnconfirmedWrites, writes: ReadonlyArray<Work>, status: Status): void {
    const end = new Completion()
    end.queuePair = queuePair
    end.status = status
    for (const work of writes) {
      this.#host.onEnded(work)
      this.#host.onFailed(rail, work, end)
    }
  }

  #removeEmpty(unconfirmed: UnconfirmedWrites): void {
    const lists = this.#all.get(unconfirmed.link)
    if (unconfirmed.pendingReads > 0 || unconfirmed.writes.length > 0 || lists === undefined) return
    const others = lists.filter((other) => other !== unconfirmed)
    if (others.length > 0) this.#all.set(unconfirmed.link, others)
    else this.#all.delete(unconfirmed.link)
  }
}

/**
 * The status of writes whose confirming read failed. That read needs no key of the peer, so a
 * refusal is of one of the writes: if all have one key, it is of that key. Otherwise it is unknown
 * which of them was refused.
 */
const statusOf = (writes: ReadonlyArray<Work>, status: Status): Status => {
  if (blameOf(status) !== "request") return status
  const memories = new Set(writes.map(({ slice }) => slice!.found.buffer?.incarnation))
  return status === "remote-access" && memories.size === 1 ? status : "flushed"
}

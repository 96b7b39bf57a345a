/**
 * The posted work of one NIC: slices, confirming reads and probes, each kept until its completion
 * comes, and the links on which none comes for too long.
 */
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { Job, JobSlice } from "./job.ts"
import type { Rail } from "./rail.ts"
import type { Slice } from "./slicing.ts"
import type { Region } from "../../../native/verbs/Region.ts"
import { type Posted, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { EngineContext } from "./engineContext.ts"
import * as Effect from "effect/Effect"

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
  /** The unconfirmed writes to which it belongs, or which it confirms. */
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
  /** Number of writes so far, and of those that the last confirming read covers. */
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
class WorkPool {
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

/** Ids start again after this one: V8 would box a larger number. */
const lastId = 0x3fff_ffff

export class Posting {
  /**
   * Posted work by the id of its completion. An id is not used again while a completion with it may
   * come, so the completion of work that was given up is recognised and dropped.
   */
  readonly posted = new Map<number, Work>()
  readonly pool = new WorkPool()
  /** Target of zero-length confirming reads; undefined if the provider acknowledges writes. */
  scratch: Region | undefined = undefined
  readonly #engine: EngineContext
  /** The index of the NIC. */
  readonly #local: number
  readonly #request = new SendRequest()
  #last = 0

  constructor(engine: EngineContext, local: number) {
    this.#engine = engine
    this.#local = local
  }

  /** Posts a slice of a job. */
  data(work: Work, rail: Rail, link: ReadyLink, signalled: boolean): Posted | "not-ready" {
    const slice = work.slice!
    const { memory, isWrite, offset } = work.job!.plans[slice.operation]!
    const { at, buffer } = slice.found
    const request = this.#request
    const place = offset + slice.at
    const chunk = Math.floor(place / memory.chunkBytes)
    request.opcode = isWrite ? "write" : "read"
    request.scatterList
      .clear()
      .add(memory.regions[this.#local]![chunk]!, place % memory.chunkBytes, slice.length)
    request.remote(buffer!.keys[rail.remote]!, buffer!.address + at)
    request.signalled = signalled
    return this.#post(rail, link, work, link.roomiest)
  }

  /** Posts a zero-length read, which needs no key. */
  emptyRead(work: Work, rail: Rail, link: ReadyLink, queuePair: number): Posted | "not-ready" {
    const request = this.#request
    request.opcode = "read"
    request.signalled = true
    request.scatterList.clear()
    if (this.scratch !== undefined) request.scatterList.add(this.scratch, 0, 0)
    request.remote(0, 0)
    return this.#post(rail, link, work, queuePair)
  }

  /** Removes work that has ended or is given up. */
  remove(work: Work): void {
    if (this.posted.delete(work.id)) work.rail!.posted -= 1
  }

  #post(rail: Rail, link: ReadyLink, work: Work, queuePair: number): Posted | "not-ready" {
    const id = (this.#last = (this.#last + 1) & lastId)
    this.#request.id = id
    const posted = link.post(this.#request, queuePair)
    if (posted !== "accepted") return posted
    if (rail.posted === 0) rail.progressAt = this.#engine.now()
    this.posted.set(id, work)
    work.id = id
    work.rail = rail
    work.link = link
    work.queuePair = queuePair
    rail.posted += 1
    return posted
  }
}

interface Probe {
  readonly rail: Rail
  readonly onAnswer: (isThere: boolean) => void
}

/** The probes of one NIC. */
export class Probes {
  readonly #posting: Posting
  /** Probes for which there was no room yet. */
  #waiting: Array<Probe> = []

  constructor(posting: Posting) {
    this.#posting = posting
  }

  /** Posts a probe. `fill` lets the NIC post all work that has room now. */
  probe(rail: Rail, fill: () => void): Effect.Effect<boolean> {
    return Effect.callback<boolean>((resume) => {
      const onAnswer = (isThere: boolean) => resume(Effect.succeed(isThere))
      const probe = { rail, onAnswer }
      this.#waiting.push(probe)
      fill()
      return Effect.sync(() => {
        this.#waiting = this.#waiting.filter((one) => one !== probe)
      })
    })
  }

  /** Posts waiting probes while there is room. */
  send(capacity: number): void {
    if (this.#waiting.length === 0) return
    this.#waiting = this.#waiting.filter((probe) => !this.#send(probe, capacity))
  }

  /** True if it was posted, or is not needed. */
  #send({ onAnswer, rail }: Probe, capacity: number): boolean {
    const { link } = rail
    if (link?.isOpen !== true) {
      onAnswer(false)
      return true
    }
    if (this.#posting.posted.size >= capacity || link.room < 1) return false
    const probe = this.#posting.pool.acquire()
    probe.onAnswer = onAnswer
    const isPosted = this.#posting.emptyRead(probe, rail, link, link.roomiest) === "accepted"
    if (!isPosted) this.#posting.pool.release(probe)
    return isPosted
  }
}

export class StallDetector {
  readonly #engine: EngineContext
  /** Posted work of one NIC. */
  readonly #posted: ReadonlyMap<number, Work>
  #isWatching = false

  constructor(engine: EngineContext, posted: ReadonlyMap<number, Work>) {
    this.#engine = engine
    this.#posted = posted
  }

  /** Starts checking; it goes on while work is posted. */
  watch(): void {
    if (this.#isWatching) return
    this.#isWatching = true
    const { fork, settings } = this.#engine
    const look = Effect.suspend(() => {
      this.#isWatching = this.#posted.size > 0
      if (this.#isWatching) this.#giveUp()
      return this.#isWatching ? again : Effect.void
    })
    const again: Effect.Effect<void> = Effect.delay(look, settings.stallAfterMs / 2)
    fork(again)
  }

  #giveUp(): void {
    const before = this.#engine.now() - this.#engine.settings.stallAfterMs
    for (const { link, rail } of this.#posted.values()) {
      if (rail!.progressAt > before || rail!.link !== link) continue
      rail!.peer.onLinkLost(rail!, { blame: "rail", status: "stalled" })
    }
  }
}

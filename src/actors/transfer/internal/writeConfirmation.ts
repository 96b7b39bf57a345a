/**
 * Writes that nobody has said to have arrived.
 *
 * Some providers end a write when its octets have left, whatever becomes of them. Behind such
 * writes goes an empty read, on the same queue pair: a peer answers in order, so the answer says
 * that all writes before it are in its memory. As it says all there is to know, such writes end in
 * silence unless they fail.
 *
 * Work ends in order, so writes behind a question end after its answer. That is why each turn asks
 * about its own writes, and others are on their way meanwhile: a queue pair whose writes all wait
 * for one answer would have nothing to send until it comes.
 */
import { Completion, type Status } from "../../../native/verbs/Completion.ts"
import type { Posted } from "../../../native/verbs/WorkRequest.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import { blameOf } from "./railSelection.ts"
import type { Slice } from "./slice.ts"
import type { Way } from "./rail.ts"

/** The writes of one queue pair. */
export class Trail {
  readonly way: Way
  readonly link: ReadyLink
  readonly queuePair: number
  /** Those of which nothing is known, in their order. */
  readonly writes: Array<Slice> = []
  /** How many there have been, and how many of them the last question covers. */
  count = 0
  asked = 0
  /** Questions without an answer. */
  questions = 0

  constructor(way: Way, link: ReadyLink, queuePair: number) {
    this.way = way
    this.link = link
    this.queuePair = queuePair
  }

  /** Takes out the oldest ones, up to the one of that number. */
  take(number: number): ReadonlyArray<Slice> {
    const { writes } = this
    let taken = 0
    while (taken < writes.length && writes[taken]!.number <= number) taken += 1
    return writes.splice(0, taken)
  }
}

/** The card that the writes are posted on. */
export interface Card {
  /** Posts an empty read behind the writes. */
  readonly ask: (trail: Trail) => Posted | "not-ready"
  /** Work has ended, if it had not: what its completion would still say is dropped. */
  readonly ended: (slice: Slice) => void
  readonly arrived: (way: Way, slice: Slice) => void
  readonly failed: (way: Way, slice: Slice, end: Completion) => void
}

/** The trails of one card. */
export class Trails {
  readonly #card: Card
  readonly #all = new Map<ReadyLink, Array<Trail>>()
  /** Trails with writes that no question covers. */
  #unasked: Array<Trail> = []

  constructor(card: Card) {
    this.#card = card
  }

  /** A write was posted. */
  posted(slice: Slice): void {
    const trail = this.#of(slice)
    if (trail.count === trail.asked) this.#unasked.push(trail)
    slice.trail = trail
    slice.number = trail.count += 1
    trail.writes.push(slice)
  }

  /** The completion of a write: it was asked for, or the write has failed. */
  ended(slice: Slice, trail: Trail, { status }: Completion): void {
    this.#card.ended(slice)
    if (status === "success") return
    // Those before it have left, and their question will not be answered any more.
    const before = trail.take(slice.number - 1)
    this.#lose(trail, before, "flushed")
    this.#lose(trail, trail.take(slice.number), status)
    this.#tidy(trail)
  }

  /** The completion of a question. */
  answered(question: Slice, trail: Trail, { status }: Completion): void {
    this.#card.ended(question)
    trail.questions -= 1
    const writes = trail.take(question.number)
    // Nobody knows which of the writes have arrived, nor which of them was refused.
    if (status !== "success") {
      this.#lose(trail, writes, blameOf(status) === "request" ? "flushed" : status)
    } else {
      for (const slice of writes) {
        this.#card.ended(slice)
        this.#card.arrived(trail.way, slice)
      }
    }
    this.#tidy(trail)
  }

  /** Asks about what was posted since the last questions, as far as there is room for more. */
  ask(): void {
    if (this.#unasked.length === 0) return
    const trails = this.#unasked
    this.#unasked = []
    for (const trail of trails) {
      const posted = this.#card.ask(trail)
      if (posted === "accepted") {
        trail.asked = trail.count
        trail.questions += 1
      } else if (posted === "not-ready" || posted === "wrong-state") this.#close(trail)
      else this.#unasked.push(trail)
    }
  }

  /** The links that a job's writes have left on. */
  *linksOf(job: Slice["job"]): Generator<readonly [ReadyLink, Way]> {
    for (const trails of this.#all.values()) {
      for (const { link, way, writes } of trails) {
        if (writes.some((slice) => slice.job === job)) yield [link, way]
      }
    }
  }

  #of({ link, queuePair, way }: Slice): Trail {
    let trails = this.#all.get(link!)
    if (trails === undefined) this.#all.set(link!, (trails = []))
    for (const trail of trails) if (trail.queuePair === queuePair) return trail
    const trail = new Trail(way!, link!, queuePair)
    trails.push(trail)
    return trail
  }

  /** No question can be posted any more. Those that were are answered, or fail. */
  #close(trail: Trail): void {
    const { writes } = trail
    const first = writes.findIndex(({ number }) => number > trail.asked)
    const lost = writes.splice(first < 0 ? writes.length : first)
    trail.asked = trail.count
    this.#lose(trail, lost, "flushed")
    this.#tidy(trail)
  }

  #lose({ queuePair, way }: Trail, writes: ReadonlyArray<Slice>, status: Status): void {
    const end = new Completion()
    end.queuePair = queuePair
    end.status = status
    for (const slice of writes) {
      this.#card.ended(slice)
      slice.trail = undefined
      this.#card.failed(way, slice, end)
    }
  }

  #tidy(trail: Trail): void {
    const trails = this.#all.get(trail.link)
    if (trail.questions > 0 || trail.writes.length > 0 || trails === undefined) return
    const others = trails.filter((other) => other !== trail)
    if (others.length > 0) this.#all.set(trail.link, others)
    else this.#all.delete(trail.link)
  }
}

/**
 * Writes that have left and may not have arrived.
 *
 * Some providers end a write when its octets have left, whatever becomes of them. Behind such
 * writes goes an empty read, on the same queue pair: a peer answers in order, so the answer says
 * that all writes before it are in its memory.
 *
 * Work ends in order, so writes behind a question end after its answer. That is why each turn asks
 * about its own writes, and others are on their way meanwhile: a queue pair whose writes all wait
 * for one answer would have nothing to send until it comes.
 */
import { Completion, type Status } from "../../../native/verbs/Completion.ts"
import type { Posted } from "../../../native/verbs/WorkRequest.ts"
import type { ReadyLink } from "../ReadyLink.ts"
import { blameOf } from "./rails.ts"
import type { Slice } from "./slice.ts"
import type { Way } from "./way.ts"

/** The writes of one queue pair. */
export class Trail {
  readonly way: Way
  readonly link: ReadyLink
  readonly queuePair: number
  /** Those that have left, in their order. */
  readonly left: Array<Slice> = []
  /** Writes that have not ended. */
  posted = 0
  /** Questions without an answer. */
  questions = 0
  /** Whether there are writes behind the last question. */
  isUnasked = false
  /** Nothing can be asked any more. */
  isClosed = false

  constructor(way: Way, link: ReadyLink, queuePair: number) {
    this.way = way
    this.link = link
    this.queuePair = queuePair
  }

  get isOver(): boolean {
    return this.posted + this.questions + this.left.length === 0
  }
}

const flushed = ({ queuePair }: Trail): Completion => {
  const end = new Completion()
  end.queuePair = queuePair
  end.status = "flushed"
  return end
}

/** The card that the writes are posted on. */
export interface Card {
  /** Posts an empty read behind the writes. */
  readonly ask: (trail: Trail) => Posted | "not-ready"
  readonly arrived: (way: Way, slice: Slice) => void
  readonly failed: (way: Way, slice: Slice, end: Completion) => void
}

/** The trails of one card. */
export class Trails {
  readonly #card: Card
  readonly #all = new Map<ReadyLink, Array<Trail>>()
  #unasked: Array<Trail> = []

  constructor(card: Card) {
    this.#card = card
  }

  /** A write was posted. */
  posted(slice: Slice, queuePair: number): void {
    const trail = this.#of(slice, queuePair)
    slice.trail = trail
    trail.posted += 1
    if (!trail.isUnasked) this.#note(trail)
  }

  /** A write has ended. */
  ended(slice: Slice, trail: Trail, completion: Completion): void {
    trail.posted -= 1
    if (completion.status !== "success") this.#lost(slice, trail, completion)
    else if (trail.isClosed) this.#lost(slice, trail, flushed(trail))
    else trail.left.push(slice)
    this.#tidy(trail)
  }

  /** A question has ended: all writes that ended before it have arrived, or it failed. */
  answered(trail: Trail, completion: Completion): void {
    trail.questions -= 1
    if (completion.status !== "success") this.#fail(trail, completion.status)
    else for (const slice of trail.left.splice(0)) this.#card.arrived(trail.way, slice)
    this.#tidy(trail)
  }

  /** Asks about what was posted since the last questions, as far as there is room for more. */
  ask(): void {
    if (this.#unasked.length === 0) return
    const trails = this.#unasked
    this.#unasked = []
    for (const trail of trails) {
      trail.isUnasked = false
      const posted = this.#card.ask(trail)
      if (posted === "accepted") trail.questions += 1
      else if (posted === "not-ready" || posted === "wrong-state") this.#close(trail)
      else this.#note(trail)
    }
  }

  /** The card is gone, and nothing that was asked is answered. */
  lose(): void {
    for (const trail of [...this.#all.values()].flat()) this.#close(trail)
  }

  /** The links that a job's writes have left on. */
  *linksOf(job: Slice["job"]): Generator<ReadyLink> {
    for (const [link, trails] of this.#all) {
      if (trails.some(({ left }) => left.some((slice) => slice.job === job))) yield link
    }
  }

  #of({ link, way }: Slice, queuePair: number): Trail {
    let trails = this.#all.get(link!)
    if (trails === undefined) this.#all.set(link!, (trails = []))
    for (const trail of trails) if (trail.queuePair === queuePair) return trail
    const trail = new Trail(way!, link!, queuePair)
    trails.push(trail)
    return trail
  }

  #note(trail: Trail): void {
    trail.isUnasked = true
    this.#unasked.push(trail)
  }

  #close(trail: Trail): void {
    trail.isClosed = true
    this.#fail(trail, "flushed")
    this.#tidy(trail)
  }

  /** Nobody knows which of the writes have arrived, nor which of them was refused. */
  #fail(trail: Trail, status: Status): void {
    const end = flushed(trail)
    if (blameOf(status) !== "request") end.status = status
    for (const slice of trail.left.splice(0)) this.#lost(slice, trail, end)
  }

  #lost(slice: Slice, { way }: Trail, end: Completion): void {
    slice.trail = undefined
    this.#card.failed(way, slice, end)
  }

  #tidy(trail: Trail): void {
    const trails = this.#all.get(trail.link)
    if (!trail.isOver || trails === undefined) return
    const others = trails.filter((other) => other !== trail)
    if (others.length > 0) this.#all.set(trail.link, others)
    else this.#all.delete(trail.link)
  }
}

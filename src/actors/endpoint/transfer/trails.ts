/**
 * Writes that have left and may not have arrived.
 *
 * Some providers end a write when its octets have left, whatever becomes of them. Behind such
 * writes goes an empty read, on the same queue pair: a peer answers in order, so the answer says
 * that all writes before it are in its memory.
 */
import type { ReadyLink } from "../ReadyLink.ts"
import type { Slice } from "./slice.ts"
import type { Way } from "./way.ts"

/** The writes of one queue pair, in their order. */
export class Trail {
  readonly way: Way
  readonly link: ReadyLink
  readonly queuePair: number
  readonly slices: Array<Slice> = []
  /** For how many of them the read that is under way asks; 0 if none is. */
  asked = 0

  constructor(way: Way, link: ReadyLink, queuePair: number) {
    this.way = way
    this.link = link
    this.queuePair = queuePair
  }
}

/** The trails of one card. */
export class Trails {
  readonly #all = new Map<ReadyLink, Map<number, Trail>>()

  /** A write has left. */
  add(slice: Slice, queuePair: number): void {
    const link = slice.link!
    const ofLink = this.#all.get(link) ?? new Map<number, Trail>()
    const trail = ofLink.get(queuePair) ?? new Trail(slice.way!, link, queuePair)
    this.#all.set(link, ofLink.set(queuePair, trail))
    trail.slices.push(slice)
  }

  /** Those about which nobody has asked. */
  get unasked(): ReadonlyArray<Trail> {
    return this.#list.filter(({ asked }) => asked === 0)
  }

  /** The links that a job's writes have left on. */
  *linksOf(job: Slice["job"]): Generator<ReadyLink> {
    for (const { link, slices } of this.#list) {
      if (slices.some((slice) => slice.job === job)) yield link
    }
  }

  /** Takes out the writes that were asked about, or all of them. */
  take(trail: Trail, count = trail.slices.length): ReadonlyArray<Slice> {
    const taken = trail.slices.splice(0, count)
    trail.asked = 0
    if (trail.slices.length === 0) {
      const ofLink = this.#all.get(trail.link)
      ofLink?.delete(trail.queuePair)
      if (ofLink?.size === 0) this.#all.delete(trail.link)
    }
    return taken
  }

  get #list(): ReadonlyArray<Trail> {
    return [...this.#all.values()].flatMap((ofLink) => Array.from(ofLink.values()))
  }
}

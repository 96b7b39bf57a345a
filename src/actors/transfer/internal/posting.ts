/** Posts the work of one card, and keeps what is posted until its completion comes. */
import type { Region } from "../../../native/verbs/Region.ts"
import { type Posted, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { Core } from "./core.ts"
import type { Slice } from "./slice.ts"
import type { Way } from "./rail.ts"

/** Numbers begin anew after this one: V8 would make an object of a larger one. */
const lastNumber = 0x3fff_ffff

export class Posting {
  /**
   * What is posted, by the number that its completion has. No number comes again while anybody
   * could remember it, so the completion of work that was given up is recognised and dropped.
   */
  readonly posted = new Map<number, Slice>()
  /** Where the answers to empty reads go; none where a card needs no place for nothing. */
  scratch: Region | undefined = undefined
  readonly #core: Core
  /** The number of the card. */
  readonly #local: number
  readonly #request = new SendRequest()
  #last = 0

  constructor(core: Core, local: number) {
    this.#core = core
    this.#local = local
  }

  /** Posts a slice of a job. */
  data(slice: Slice, way: Way, link: ReadyLink, signalled: boolean): Posted | "not-ready" {
    const { memory, isWrite, offset } = slice.job!.plans[slice.operation]!
    const { at, buffer } = slice.found
    const request = this.#request
    const place = offset + slice.at
    const chunk = Math.floor(place / memory.chunkBytes)
    request.opcode = isWrite ? "write" : "read"
    request.scatterList
      .clear()
      .add(memory.regions[this.#local]![chunk]!, place % memory.chunkBytes, slice.length)
    request.remote(buffer!.keys[way.remote]!, buffer!.address + at)
    request.signalled = signalled
    return this.#hand(way, link, slice, link.roomiest)
  }

  /** Posts a read of nothing, which needs no key. */
  emptyRead(slice: Slice, way: Way, link: ReadyLink, queuePair: number): Posted | "not-ready" {
    const request = this.#request
    request.opcode = "read"
    request.signalled = true
    request.scatterList.clear()
    if (this.scratch !== undefined) request.scatterList.add(this.scratch, 0, 0)
    request.remote(0, 0)
    return this.#hand(way, link, slice, queuePair)
  }

  /** Work has ended, or is given up. */
  take(slice: Slice): void {
    if (this.posted.delete(slice.id)) slice.way!.posted -= 1
  }

  #hand(way: Way, link: ReadyLink, slice: Slice, queuePair: number): Posted | "not-ready" {
    const id = (this.#last = (this.#last + 1) & lastNumber)
    this.#request.id = id
    const posted = link.post(this.#request, queuePair)
    if (posted !== "accepted") return posted
    if (way.posted === 0) way.progressAt = this.#core.now()
    this.posted.set(id, slice)
    slice.id = id
    slice.way = way
    slice.link = link
    slice.queuePair = queuePair
    way.posted += 1
    return posted
  }
}

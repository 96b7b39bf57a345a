/** Posts the work of one NIC, and keeps it until its completion comes. */
import type { Region } from "../../../native/verbs/Region.ts"
import { type Posted, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { EngineContext } from "./engineContext.ts"
import type { Rail } from "./rail.ts"
import { type Work, WorkPool } from "./work.ts"

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

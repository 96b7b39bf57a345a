/**
 * Reads and atomic operations of this side that wait for their response, oldest first.
 *
 * The peer answers them in order, and every byte of a response must have been requested. A read and
 * an atomic operation share the peer's limit, so they share this queue.
 */
import type { Region } from "./Region.ts"
import type { Segment } from "./Segment.ts"
import { Cause } from "./Terminate.ts"

/** A request; objects are reused in a ring. */
class Request<R> {
  atomic = false
  /** The identifier of an atomic request. */
  id = 0
  stag = 0
  offsetHigh = 0
  offsetLow = 0
  region: R | undefined = undefined
  at = 0
  /** Bytes of a read that are still to come. */
  rest = 0
}

export class Outstanding<R extends Region> {
  readonly #ring: ReadonlyArray<Request<R>>
  #first = 0
  #count = 0

  constructor(limit: number) {
    this.#ring = Array.from({ length: limit }, () => new Request<R>())
  }

  /** Number of further requests that the peer accepts now. */
  get room(): number {
    return this.#ring.length - this.#count
  }

  /** Whether the next response has to be an atomic one. */
  get isAtomic(): boolean {
    return this.#oldest?.atomic === true
  }

  /** The region for the next bytes of the oldest read. */
  get region(): R | undefined {
    return this.#oldest?.region
  }
  get at(): number {
    return this.#oldest?.at ?? 0
  }

  /** Adds a Read Request. Exceeding `room` is a mistake of the caller. */
  read(
    stag: number,
    offsetHigh: number,
    offsetLow: number,
    length: number,
    region: R | undefined,
    at: number
  ): void {
    const request = this.#add()
    request.atomic = false
    request.stag = stag
    request.offsetHigh = offsetHigh
    request.offsetLow = offsetLow
    request.rest = length
    request.region = region
    request.at = at
  }

  /** Adds an atomic request. Exceeding `room` is a mistake of the caller. */
  atomic(id: number): void {
    const request = this.#add()
    request.atomic = true
    request.id = id
  }

  /** Why a Read Response is invalid, if it is: it must continue the oldest read. */
  validate(segment: Segment): Cause | undefined {
    const request = this.#oldest
    if (request === undefined || request.atomic) return Cause.unexpectedOpcode
    if (segment.stag !== request.stag) return Cause.taggedInvalidStag
    const length = segment.payloadLength
    const fits = segment.last ? length === request.rest : length < request.rest
    const follows =
      segment.offsetHigh === request.offsetHigh && segment.offsetLow === request.offsetLow
    return fits && follows ? undefined : Cause.taggedBounds
  }

  /** Takes a valid Read Response; `true` once the read is done. */
  advance(segment: Segment): boolean {
    if (segment.last) {
      this.#settle()
      return true
    }
    const request = this.#oldest!
    const length = segment.payloadLength
    request.rest -= length
    request.at += length
    const low = request.offsetLow + length
    request.offsetLow = low >>> 0
    if (low > 0xffff_ffff) request.offsetHigh = (request.offsetHigh + 1) >>> 0
    return false
  }

  /** Completes an atomic operation; false if another one had to be answered next. */
  settleAtomic(id: number): boolean {
    const isNext = this.isAtomic && this.#oldest!.id === id
    if (isNext) this.#settle()
    return isNext
  }

  get #oldest(): Request<R> | undefined {
    return this.#count === 0 ? undefined : this.#ring[this.#first]
  }

  #add(): Request<R> {
    if (this.room === 0) throw new RangeError(`more than ${this.#count} requests are outstanding`)
    const request = this.#ring[(this.#first + this.#count) % this.#ring.length]!
    this.#count += 1
    return request
  }

  #settle(): void {
    this.#oldest!.region = undefined
    this.#first = (this.#first + 1) % this.#ring.length
    this.#count -= 1
  }
}

/**
 * Checks the requests of a peer: DDP's and RDMAP's checks on the receiving side, as a state
 * machine.
 *
 * It gets each header before its payload is placed, and each segment after its CRC. A header that
 * requests forbidden access gets no place, but it is refused only once the CRC has confirmed it:
 * until then the line may be at fault, not the peer.
 *
 * A refusal is a value with the layer, type and code of the Terminate that answers it. After a
 * Terminate from the peer nothing is placed, delivered or answered any more.
 */
import type { Refused } from "./Fault.ts"
import { exactBytes, invalidates, isTagged, queueOf } from "./internal/shape.ts"
import { Outstanding } from "./Outstanding.ts"
import { locate, AccessError, type Region } from "./Region.ts"
import { Opcode, Queue, type Segment, wordAt } from "./Segment.ts"
import { Cause } from "./Terminate.ts"

export interface Options<R extends Region> {
  /** The protection domain of this stream. */
  readonly domain: number
  /** The region behind an STag, if it is valid now. */
  readonly region: (stag: number) => R | undefined
  /** Takes the next posted receive and gives its length, or -1 if there is none. */
  readonly takeReceive: () => number
  /** The most requests of the peer that may wait for their response. */
  readonly ird: number
  /** Requests of this side that may be waiting for their response. */
  readonly ord: number
}

/** The destination of a segment's payload. */
export const Place = {
  /** Nowhere: refused, or after the end. */
  nowhere: 0,
  /** Into `region`, from `at` (an offset from the region's start). */
  region: 1,
  /** Into the receive that was taken last, from `at`. */
  receive: 2,
  /** It is all header; the parser gathers it. */
  control: 3
} as const

/** The meaning of a completed segment. */
export const Delivery = {
  /** No message is complete, or none that is reported. */
  nothing: 0,
  /** A Send or immediate data: the receive that was taken last is done. */
  receive: 1,
  /** A request that has to be answered; see `RdmapHeader`. */
  readRequest: 2,
  atomicRequest: 3,
  /** The oldest request of this side is answered. */
  readDone: 4,
  atomicDone: 5,
  /** The peer ended the stream. */
  terminate: 6,
  /** See `refused`. */
  refused: 7
} as const

export class Inbound<R extends Region> {
  /** After `Place.region`: the region. After a request for bytes: the region with them. */
  region: R | undefined = undefined
  /** The offset in that region, or in the receive after `Place.receive`. */
  at = 0
  /** After `Delivery.receive`: the length of the message. */
  received = 0
  /** After `Delivery.refused`. */
  refused: Refused | undefined = undefined

  /** The requests of this side, which responses must match. */
  readonly outstanding: Outstanding<R>
  readonly #options: Options<R>
  /** The next sequence number on each queue. */
  readonly #sequence = new Uint32Array(4).fill(1)
  /** The opcode of the Send whose segments are arriving, or -1. */
  #open = -1
  #capacity = 0
  #placed = 0
  #ended = false
  /** Requests of the peer that are not answered yet. */
  #serving = 0

  constructor(options: Options<R>) {
    this.#options = options
    this.outstanding = new Outstanding<R>(options.ord)
  }

  /**
   * Checks a header; returns a `Place` for its payload. Without a CRC, `refused` may be acted upon
   * at once.
   */
  header(segment: Segment): number {
    this.region = undefined
    this.at = 0
    if (this.#ended || this.refused !== undefined) return Place.nowhere
    if (!this.#wellFormed(segment)) return Place.nowhere
    return segment.tagged ? this.#tagged(segment) : this.#untagged(segment)
  }

  /** Checks a whole segment and its content in `control`; returns a `Delivery`. */
  complete(segment: Segment, control: Uint8Array): number {
    if (this.refused !== undefined) return Delivery.refused
    if (this.#ended) return Delivery.nothing
    const delivery = segment.tagged
      ? this.#completeTagged(segment)
      : this.#completeUntagged(segment, control)
    return this.refused === undefined ? delivery : Delivery.refused
  }

  /** Frees the slot of an answered request of the peer. */
  answered(): void {
    this.#serving -= 1
  }

  #refuse({ code, layer, type }: Cause, segment: Segment): number {
    this.refused = { _tag: "Refused", layer, type, code, opcode: segment.opcode }
    return Place.nowhere
  }

  /** DDP checks first, then RDMAP. */
  #wellFormed(segment: Segment): boolean {
    const { opcode, queue, tagged } = segment
    if (segment.ddpVersion !== 1) {
      this.#refuse(tagged ? Cause.taggedVersion : Cause.untaggedVersion, segment)
    } else if (!tagged && queue > Queue.atomicResponse) this.#refuse(Cause.invalidQueue, segment)
    else if (segment.rdmapVersion !== 1) this.#refuse(Cause.rdmapVersion, segment)
    else if (
      opcode > Opcode.atomicResponse ||
      tagged !== isTagged(opcode) ||
      (!tagged && queue !== queueOf(opcode))
    ) {
      this.#refuse(Cause.unexpectedOpcode, segment)
    }
    return this.refused === undefined
  }

  #tagged(segment: Segment): number {
    if (segment.opcode === Opcode.readResponse) return this.#readResponse(segment)
    const length = segment.payloadLength
    if (length === 0) return Place.nowhere
    const region = this.#options.region(segment.stag)
    // There is no code for a missing right, so it counts as an invalid STag.
    if (region === undefined) return this.#refuse(Cause.taggedInvalidStag, segment)
    if (region.domain !== this.#options.domain) {
      return this.#refuse(Cause.taggedNotAssociated, segment)
    }
    if (!region.remoteWrite) return this.#refuse(Cause.taggedInvalidStag, segment)
    const at = locate(region, segment.offsetHigh, segment.offsetLow, length)
    if (at === AccessError.wraps) return this.#refuse(Cause.taggedOffsetWraps, segment)
    if (at === AccessError.outside) return this.#refuse(Cause.taggedBounds, segment)
    this.region = region
    this.at = at
    return Place.region
  }

  #readResponse(segment: Segment): number {
    const fault = this.outstanding.validate(segment)
    if (fault !== undefined) return this.#refuse(fault, segment)
    this.region = this.outstanding.region
    this.at = this.outstanding.at
    return segment.payloadLength === 0 ? Place.nowhere : Place.region
  }

  #completeTagged(segment: Segment): number {
    if (segment.opcode === Opcode.write) return Delivery.nothing
    return this.outstanding.advance(segment) ? Delivery.readDone : Delivery.nothing
  }

  #untagged(segment: Segment): number {
    const { messageOffset, opcode, payloadLength, queue } = segment
    if (segment.sequence !== this.#sequence[queue]) {
      return this.#refuse(Cause.sequenceRange, segment)
    }
    if (messageOffset !== (this.#open === -1 || queue !== Queue.send ? 0 : this.#placed)) {
      return this.#refuse(Cause.invalidMessageOffset, segment)
    }
    const exact = exactBytes(opcode)
    if (exact >= 0) {
      if (payloadLength > exact) return this.#refuse(Cause.tooLong, segment)
      // The smallest segment size has room for all of these, so none may be split.
      if (payloadLength < exact || !segment.last) return this.#refuse(Cause.operation, segment)
    }
    if (queue === Queue.send) return this.#send(segment)
    if (queue === Queue.request && this.#serving === this.#options.ird) {
      return this.#refuse(Cause.streamCatastrophe, segment)
    }
    if (opcode === Opcode.atomicResponse && !this.outstanding.isAtomic) {
      return this.#refuse(Cause.unexpectedOpcode, segment)
    }
    return Place.control
  }

  #send(segment: Segment): number {
    const { opcode } = segment
    if (this.#open === -1) {
      this.#capacity = this.#options.takeReceive()
      this.#placed = 0
      if (this.#capacity < 0) return this.#refuse(Cause.noBuffer, segment)
      this.#open = opcode
    } else if (opcode !== this.#open) return this.#refuse(Cause.unexpectedOpcode, segment)
    if (this.#placed + segment.payloadLength > this.#capacity && opcode < Opcode.terminate) {
      return this.#refuse(Cause.tooLong, segment)
    }
    this.at = this.#placed
    return opcode < Opcode.terminate ? Place.receive : Place.control
  }

  #completeUntagged(segment: Segment, control: Uint8Array): number {
    const { opcode, queue } = segment
    if (queue === Queue.send) return this.#completeSend(segment)
    this.#sequence[queue]! += 1
    if (opcode === Opcode.terminate) {
      this.#ended = true
      return Delivery.terminate
    }
    if (opcode === Opcode.atomicResponse) {
      if (!this.outstanding.settleAtomic(wordAt(control, 0))) {
        this.#refuse(Cause.operation, segment)
      }
      return Delivery.atomicDone
    }
    const cause = opcode === Opcode.readRequest ? this.#mayRead(control) : this.#mayModify(control)
    if (cause !== undefined) this.#refuse(cause, segment)
    else this.#serving += 1
    return opcode === Opcode.readRequest ? Delivery.readRequest : Delivery.atomicRequest
  }

  #completeSend(segment: Segment): number {
    this.#placed += segment.payloadLength
    if (!segment.last) return Delivery.nothing
    this.#sequence[Queue.send]! += 1
    this.#open = -1
    this.received = this.#placed
    if (invalidates(segment.opcode)) {
      const region = this.#options.region(segment.stag)
      if (region === undefined || region.domain !== this.#options.domain) {
        this.#refuse(Cause.cannotInvalidate, segment)
      }
    }
    return Delivery.receive
  }

  /** Checks a read. One without bytes is answered without a check of its address. */
  #mayRead(request: Uint8Array): Cause | undefined {
    const length = wordAt(request, 12)
    if (length === 0) return undefined
    return this.#mayReach("remoteRead", request, 16, length)
  }

  /** Checks an atomic operation, which takes eight bytes at a multiple of eight. */
  #mayModify(request: Uint8Array): Cause | undefined {
    const operation = request[3]! & 0x0f
    if (operation !== 0 && operation !== 2) return Cause.unexpectedOpcode
    const aligned = (request[19]! & 7) === 0
    return this.#mayReach("remoteAtomic", request, 8, 8) ?? (aligned ? undefined : Cause.operation)
  }

  /** Checks the STag and the offset in `request`, from `from` on. */
  #mayReach(
    right: "remoteRead" | "remoteAtomic",
    request: Uint8Array,
    from: number,
    length: number
  ): Cause | undefined {
    const region = this.#options.region(wordAt(request, from))
    if (region === undefined) return Cause.invalidStag
    if (region.domain !== this.#options.domain) return Cause.notAssociated
    if (!region[right]) return Cause.accessRights
    const at = locate(region, wordAt(request, from + 4), wordAt(request, from + 8), length)
    if (at === AccessError.wraps) return Cause.offsetWraps
    if (at === AccessError.outside) return Cause.bounds
    this.region = region
    this.at = at
    return undefined
  }
}

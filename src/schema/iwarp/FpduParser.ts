/**
 * Cuts the bytes of one direction into FPDUs, however they were split on the way.
 *
 * The parser is pulled: `feed` it a chunk, then call `next` until it is `starved`. It first reports
 * a header, then ranges of the chunk that are payload, then the end of the FPDU once its CRC is
 * known to be good. It never copies payload and owns some hundred bytes, whatever the peer says:
 *
 * ```
 * parser.feed(chunk, 0, chunk.length)
 * for (;;) switch (parser.next()) {
 *   case Step.header: // parser.segment: decide where the payload goes
 *   case Step.payload: // parser.from, parser.to in the chunk; parser.offset in the segment
 *   case Step.complete: // the CRC vouches for header and payload; parser.control is whole
 *   case Step.fault: return parser.fault
 *   case Step.starved: return
 * }
 * ```
 *
 * While a payload is pending (`parser.pending`), a socket may read the next bytes straight into
 * their destination: feed that view, and skip the copy because it is where it should be.
 * Messages that are all header (requests, Terminate, immediate data) are gathered in `control`.
 */
import type { Crc32c } from "./Crc32c.ts"
import type { FramingFault } from "./Fault.ts"
import {
  headerBytesAt,
  maximumUlpdu,
  Opcode,
  read,
  Segment,
  untaggedHeaderBytes
} from "./Segment.ts"

export const Step = { starved: 0, header: 1, payload: 2, complete: 3, fault: 4 } as const

export interface Options {
  /** Checks the CRC field; without it the field is skipped. */
  readonly crc: Crc32c | undefined
  /** Whether the stream carries markers (RFC 5044, 4.3). Default `false`. */
  readonly markers?: boolean | undefined
}

/**
 * The longest message that is gathered. A Terminate with all its headers is 52 bytes, as is an
 * atomic request; some peers attach more, so there is room to spare. What is longer is reported
 * as payload.
 */
export const controlLimit = 128

const markerSpacing = 512
const wordBytes = 4
const none = new Uint8Array(0)

const gathers = (segment: Segment): boolean =>
  !segment.tagged &&
  (segment.opcode === Opcode.readRequest ||
    (segment.opcode >= Opcode.terminate && segment.opcode <= Opcode.atomicResponse)) &&
  segment.payloadLength <= controlLimit

const wordAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0

export class FpduParser {
  /** The header of the current FPDU. */
  readonly segment: Segment = new Segment()
  /** After `Step.payload`: the payload is `chunk[from, to)`. */
  from = 0
  to = 0
  /** After `Step.payload`: where in the segment's payload that range starts. */
  offset = 0
  /** Bytes of payload of the current FPDU that have not come yet. */
  pending = 0
  /** The gathered message and its length, valid until the next FPDU starts. */
  readonly control: Uint8Array<ArrayBuffer> = new Uint8Array(controlLimit)
  controlLength = 0
  /** After `Step.complete`: the received CRC field. */
  carriedCrc = 0
  /** After `Step.fault`. */
  fault: FramingFault | undefined = undefined

  readonly #crc: Crc32c | undefined
  readonly #markers: boolean
  #phase: "header" | "report" | "payload" | "pad" | "field" | "failed" = "header"
  #chunk: Uint8Array = none
  #at = 0
  #end = 0
  /** Offset in the chunk of the first byte that is not in the sum yet. */
  #unchecked = 0
  #sum = 0
  #gathering = false
  #padding = 0
  /** Bytes of a header or of a CRC field that were split between chunks. */
  readonly #held = new Uint8Array(untaggedHeaderBytes)
  #heldLength = 0
  readonly #marker = new Uint8Array(wordBytes)
  #markerLength = 0
  #untilMarker = 0
  /** Bytes of the stream since the length field of the current FPDU. */
  #sinceStart = 0

  constructor(options: Options) {
    this.#crc = options.crc
    this.#markers = options.markers ?? false
  }

  /** Whether an FPDU has begun and not ended. */
  get inside(): boolean {
    return this.#phase !== "header" || this.#heldLength > 0 || this.#markerLength > 0
  }

  /** The offset in the chunk up to which bytes were taken. */
  get position(): number {
    return this.#at
  }

  /** Continues after a CRC mismatch, for observers of the stream. */
  overlook(): void {
    if (this.fault?._tag !== "CrcMismatch") return
    this.fault = undefined
    this.#phase = "header"
  }

  /** Takes the next bytes of the stream; the chunk must stay as it is until `starved`. */
  feed(chunk: Uint8Array, from: number, to: number): void {
    this.#chunk = chunk
    this.#at = this.#unchecked = from
    this.#end = to
  }

  /** Parses up to the next reported event; returns a `Step`. */
  next(): number {
    for (;;) {
      if (this.#phase === "failed") return Step.fault
      if (this.#phase === "report") {
        this.#phase = "payload"
        return Step.header
      }
      if (this.#phase === "payload" && this.pending === 0) this.#phase = "pad"
      if (this.#phase === "pad" && this.#padding === 0) this.#phase = "field"
      if (this.#at === this.#end) {
        this.#check(this.#end)
        return Step.starved
      }
      if (this.#markers && this.#untilMarker === 0) this.#takeMarker()
      else if (this.#phase === "header") this.#takeHeader()
      else if (this.#phase === "pad") this.#takePad()
      else if (this.#phase === "payload") {
        if (this.#takePayload()) return Step.payload
      } else if (this.#takeField()) return Step.complete
    }
  }

  /** Extends the sum up to `to`. */
  #check(to: number): void {
    if (this.#crc !== undefined && to > this.#unchecked) {
      this.#sum = this.#crc.update(this.#sum, this.#chunk, this.#unchecked, to)
    }
    this.#unchecked = to
  }

  #available(): number {
    const bytes = this.#end - this.#at
    return this.#markers && this.#untilMarker < bytes ? this.#untilMarker : bytes
  }

  #advance(bytes: number): void {
    this.#at += bytes
    if (!this.#markers) return
    this.#sinceStart += bytes
    this.#untilMarker -= bytes
  }

  /** Moves up to `bytes` of the chunk into `into`; returns the number moved. */
  #collect(into: Uint8Array, length: number, bytes: number): number {
    const count = Math.min(bytes, this.#available())
    for (let k = 0; k < count; k++) into[length + k] = this.#chunk[this.#at + k]!
    this.#advance(count)
    return count
  }

  /** Whether `held` has `wanted` bytes. */
  #hold(wanted: number): boolean {
    this.#heldLength += this.#collect(this.#held, this.#heldLength, wanted - this.#heldLength)
    return this.#heldLength === wanted
  }

  #fail(fault: FramingFault): void {
    this.fault = fault
    this.#phase = "failed"
  }

  #takeHeader(): void {
    const bytes = this.#available()
    if (this.#heldLength === 0 && bytes >= wordBytes) {
      const wanted = headerBytesAt(this.#chunk, this.#at)
      if (bytes >= wanted) {
        read(this.segment, this.#chunk, this.#at)
        this.#advance(wanted)
        return this.#startPayload()
      }
    }
    if (this.#heldLength < wordBytes && !this.#hold(wordBytes)) return
    if (this.#hold(headerBytesAt(this.#held, 0))) {
      read(this.segment, this.#held, 0)
      this.#startPayload()
    }
  }

  #startPayload(): void {
    const { segment } = this
    this.#heldLength = this.controlLength = 0
    this.offset = this.from = this.to = 0
    this.pending = segment.payloadLength
    this.#padding = -(segment.ulpduLength + 2) & 3
    this.#gathering = gathers(segment)
    if (this.pending < 0 || segment.ulpduLength > maximumUlpdu) {
      this.#fail({ _tag: "BadLength", length: segment.ulpduLength, limit: maximumUlpdu })
    } else this.#phase = "report"
  }

  /** Whether there is a payload to report: a message that is all header waits for its end. */
  #takePayload(): boolean {
    if (this.#gathering) {
      const bytes = this.#collect(this.control, this.controlLength, this.pending)
      this.controlLength += bytes
      this.pending -= bytes
      return false
    }
    const bytes = Math.min(this.pending, this.#available())
    this.offset = this.segment.payloadLength - this.pending
    this.from = this.#at
    this.to = this.#at + bytes
    this.pending -= bytes
    this.#advance(bytes)
    return true
  }

  #takePad(): void {
    const bytes = Math.min(this.#padding, this.#available())
    this.#padding -= bytes
    this.#advance(bytes)
  }

  #takeField(): boolean {
    this.#check(this.#at)
    const whole = this.#hold(wordBytes)
    this.#unchecked = this.#at
    if (!whole) return false
    const computed = this.#sum
    this.carriedCrc = wordAt(this.#held, 0)
    this.#heldLength = this.#sum = this.#sinceStart = 0
    if (this.#crc !== undefined && this.carriedCrc !== computed) {
      this.#fail({ _tag: "CrcMismatch", carried: this.carriedCrc, computed })
      return false
    }
    this.#phase = "header"
    return true
  }

  /** A marker points back to the length field; directly before one it belongs to that FPDU. */
  #takeMarker(): void {
    const count = Math.min(wordBytes - this.#markerLength, this.#end - this.#at)
    for (let k = 0; k < count; k++) this.#marker[this.#markerLength++] = this.#chunk[this.#at++]!
    if (this.#markerLength < wordBytes) return
    const pointer = (this.#marker[2]! << 8) | this.#marker[3]!
    if (pointer !== this.#sinceStart) {
      return this.#fail({ _tag: "BadMarker", pointer, expected: this.#sinceStart })
    }
    this.#markerLength = 0
    this.#untilMarker = markerSpacing - wordBytes
    if (this.#phase !== "header" || this.#heldLength > 0) this.#sinceStart += wordBytes
  }
}

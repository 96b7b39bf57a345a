/**
 * Turns messages into FPDUs, gathered for one `writev`: headers, trailers and short payloads go
 * into one small buffer, longer payloads are only referred to.
 *
 * Between two payloads there is a single piece, the trailer of one FPDU and the header of the next,
 * so a batch costs about one part per payload. Referenced payloads must stay as they are until the
 * batch has been written; after that `recycle` returns its buffer.
 *
 * A message that does not fit is continued by the same `put` after the batch was taken. DDP allows
 * no other message of the same kind (tagged or untagged) in between.
 */

import { copyBytes } from "../copyBytes.ts"
import type { Crc32c } from "./Crc32c.ts"
import {
  maximumUlpdu,
  Segment,
  tagged,
  taggedHeaderBytes,
  untagged,
  untaggedHeaderBytes,
  write
} from "./Segment.ts"

/** A message to send. The fields of the other kind (tagged or untagged) are ignored. */
export class Outgoing {
  opcode = 0
  tagged = false
  /** The STag of a tagged message's target, or the one that a Send invalidates. */
  stag = 0
  offsetHigh = 0
  offsetLow = 0
  queue = 0
  sequence = 0
  /** The payload, gathered in this order. */
  payload: ReadonlyArray<Uint8Array> = []
  /** Bytes of payload after those of `payload`, which are added to it before they are put. */
  later = 0
  /** Bytes of payload that are in a batch already. */
  written = 0
  /** The next part of `payload`, and its bytes that are done. */
  part = 0
  partWritten = 0
}

export interface Batch {
  readonly parts: ReadonlyArray<Uint8Array>
  /** Bytes of all parts. */
  readonly bytes: number
  /** The buffer of headers and trailers, for `recycle`. */
  readonly frames: Uint8Array<ArrayBuffer>
}

export interface Options {
  /** Computes the CRC field; without it the field is zero. */
  readonly crc: Crc32c | undefined
  /** The longest ULPDU to send; see `mulpdu`. Default 64528: 64512 bytes and a tagged header. */
  readonly maximumUlpdu?: number | undefined
  /** Bytes of headers, trailers and short payloads in a batch. Default 65536. */
  readonly frameBytes?: number | undefined
  /** A batch takes no further FPDU from here on. Default 1 MiB: one `writev`. */
  readonly batchBytes?: number | undefined
  /** Payloads up to this length are copied, because a separate part costs more. Default 1024. */
  readonly copyUpTo?: number | undefined
}

/**
 * The longest ULPDU of a sender that keeps each FPDU within one TCP segment (RFC 5044, 4.1), as
 * hardware peers need. `segmentBytes` is the effective maximum segment size, 1448 for Ethernet.
 */
export const mulpdu = (segmentBytes: number): number =>
  Math.min(maximumUlpdu, Math.max(128, segmentBytes - 6 - (segmentBytes & 3)))

const trailerLimit = 7
const wholePage = 64512 + taggedHeaderBytes - 2
const lowest = 128

export class FpduWriter {
  readonly #crc: Crc32c | undefined
  readonly #maximumUlpdu: number
  readonly #frameBytes: number
  readonly #batchBytes: number
  readonly #copyUpTo: number
  readonly #spare: Array<Uint8Array<ArrayBuffer>> = []
  readonly #segment = new Segment()
  #frames: Uint8Array<ArrayBuffer>
  #view: DataView
  #parts: Array<Uint8Array> = []
  /** Start of the growing part, and the offset of its next byte. */
  #from = 0
  #at = 0
  /** Bytes of the parts that only refer to payload. */
  #referred = 0
  #sum = 0

  constructor(options: Options) {
    this.#crc = options.crc
    this.#maximumUlpdu = Math.max(lowest, options.maximumUlpdu ?? wholePage)
    this.#copyUpTo = options.copyUpTo ?? 1024
    this.#batchBytes = options.batchBytes ?? 1 << 20
    this.#frameBytes = Math.max(options.frameBytes ?? 65536, this.#copyUpTo + 64)
    this.#frames = new Uint8Array(this.#frameBytes)
    this.#view = new DataView(this.#frames.buffer)
  }

  /** Bytes in the current batch. */
  get bytes(): number {
    return this.#referred + this.#at
  }

  /** Adds the available bytes of a message that fit; `true` once all of it is in. */
  put(message: Outgoing): boolean {
    const { later, payload } = message
    let present = -message.partWritten
    for (let index = message.part; index < payload.length; index++) {
      present += payload[index]!.length
    }
    const header = message.tagged ? taggedHeaderBytes : untaggedHeaderBytes
    const most = this.#maximumUlpdu + 2 - header
    for (;;) {
      const rest = present + later
      const bytes = rest < most ? rest : most
      if (bytes > present) return false
      if (!this.#hasRoom(header + trailerLimit + (bytes <= this.#copyUpTo ? bytes : 0))) {
        return false
      }
      this.#add(message, bytes, bytes === rest)
      if (bytes === rest) return true
      present -= bytes
    }
  }

  /** Ends the batch, for writing; undefined if it is empty. */
  take(): Batch | undefined {
    if (this.#at === 0) return undefined
    this.#endPart()
    const batch = { parts: this.#parts, bytes: this.bytes, frames: this.#frames }
    this.#frames = this.#spare.pop() ?? new Uint8Array(this.#frameBytes)
    this.#view = new DataView(this.#frames.buffer)
    this.#parts = []
    this.#from = this.#at = this.#referred = 0
    return batch
  }

  /** Reuses the buffer of a batch that was written. */
  recycle(batch: Batch): void {
    this.#spare.push(batch.frames)
  }

  #hasRoom(bytes: number): boolean {
    return this.#at + bytes <= this.#frameBytes && this.bytes < this.#batchBytes
  }

  #endPart(): void {
    if (this.#at > this.#from) this.#parts.push(this.#frames.subarray(this.#from, this.#at))
    this.#from = this.#at
  }

  #add(message: Outgoing, bytes: number, last: boolean): void {
    const segment = this.#segment
    if (message.tagged) {
      const low = message.offsetLow + message.written
      const high = message.offsetHigh + Math.floor(low / 0x1_0000_0000)
      tagged(segment, message.opcode, last, message.stag, high >>> 0, low >>> 0, bytes)
    } else {
      const { opcode, queue, sequence, stag, written } = message
      untagged(segment, opcode, last, stag, queue, sequence, written, bytes)
    }
    const start = this.#at
    this.#at = write(this.#view, start, segment)
    let unchecked = start
    this.#sum = 0
    if (bytes <= this.#copyUpTo) this.#copy(message, bytes)
    else {
      this.#check(this.#frames, start, this.#at)
      this.#refer(message, bytes)
      unchecked = this.#at
    }
    message.written += bytes
    for (let pad = -(segment.ulpduLength + 2) & 3; pad > 0; pad--) this.#frames[this.#at++] = 0
    this.#check(this.#frames, unchecked, this.#at)
    this.#view.setUint32(this.#at, this.#sum, true)
    this.#at += 4
  }

  #check(bytes: Uint8Array, from: number, to: number): void {
    if (this.#crc !== undefined) this.#sum = this.#crc.update(this.#sum, bytes, from, to)
  }

  #copy(message: Outgoing, bytes: number): void {
    for (let rest = bytes; rest > 0;) {
      const part = message.payload[message.part]!
      const from = message.partWritten
      const count = Math.min(rest, part.length - from)
      copyBytes(this.#frames, this.#at, part, from, from + count)
      this.#at += count
      rest -= count
      this.#step(message, part, count)
    }
  }

  #refer(message: Outgoing, bytes: number): void {
    this.#endPart()
    this.#referred += bytes
    for (let rest = bytes; rest > 0;) {
      const part = message.payload[message.part]!
      const from = message.partWritten
      const count = Math.min(rest, part.length - from)
      this.#check(part, from, from + count)
      if (count > 0)
        this.#parts.push(count === part.length ? part : part.subarray(from, from + count))
      rest -= count
      this.#step(message, part, count)
    }
  }

  #step(message: Outgoing, part: Uint8Array, count: number): void {
    message.partWritten += count
    if (message.partWritten < part.length) return
    message.part += 1
    message.partWritten = 0
  }
}

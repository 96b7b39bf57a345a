/**
 * MPA's start-up frames: the request and the reply that come before any FPDU (RFC 5044, 7; the
 * enhanced prefix with read limits and the peer-to-peer ready signal is RFC 6581).
 */

import { copyBytes } from "../copyBytes.ts"
import type { StartupFault } from "./Fault.ts"

/**
 * The prefix of an enhanced frame. The read limits are the sender's: it can hold `ird` requests,
 * and wants to have `ord` under way. The three kinds of ready signal count with `peerToPeer`.
 */
export interface Enhanced {
  readonly peerToPeer: boolean
  readonly readyBySend: boolean
  readonly readyByWrite: boolean
  readonly readyByRead: boolean
  readonly ird: number
  readonly ord: number
}

export interface MpaFrame {
  readonly kind: "request" | "reply"
  /** The sender needs markers in what it receives. */
  readonly markers: boolean
  /** The sender wants CRCs; if one side does, both directions have them. */
  readonly crc: boolean
  /** Only in a reply: the connection is refused. */
  readonly reject: boolean
  readonly revision: number
  readonly enhanced: Enhanced | undefined
  readonly privateData: Uint8Array
}

export const fixedBytes = 20

/** The most bytes after the fixed part, an enhanced prefix included (RFC 5044, 7.1). */
export const privateDataLimit = 512

/**
 * The private data that Linux's software iWARP can receive and send beside the prefix; it answers
 * more with a reset.
 */
export const privateDataPortable = 251

/** The largest read limit; with all bits set the sender leaves this one to the other side. */
export const unlimited = 0x3fff

const prefixBytes = 4
const newestRevision = 2
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0))
const keys = { request: ascii("MPA ID Req Frame"), reply: ascii("MPA ID Rep Frame") }
const flag = (condition: boolean, bit: number): number => (condition ? bit : 0)

/** The bytes of a frame. Private data beyond the limit is a mistake of the caller. */
export const encode = (frame: MpaFrame): Uint8Array<ArrayBuffer> => {
  const { enhanced, privateData } = frame
  const prefix = enhanced === undefined ? 0 : prefixBytes
  const length = prefix + privateData.length
  if (length > privateDataLimit) {
    throw new RangeError(`${length} bytes of private data; MPA carries ${privateDataLimit}`)
  }
  const out = new Uint8Array(fixedBytes + length)
  const view = new DataView(out.buffer)
  out.set(keys[frame.kind])
  out[16] =
    flag(frame.markers, 0x80) |
    flag(frame.crc, 0x40) |
    flag(frame.reject, 0x20) |
    flag(enhanced !== undefined, 0x10)
  out[17] = frame.revision
  view.setUint16(18, length)
  if (enhanced !== undefined) {
    const { ird, ord, peerToPeer, readyByRead, readyBySend, readyByWrite } = enhanced
    view.setUint16(20, flag(peerToPeer, 0x8000) | flag(readyBySend, 0x4000) | ird)
    view.setUint16(22, flag(readyByWrite, 0x8000) | flag(readyByRead, 0x4000) | ord)
  }
  out.set(privateData, fixedBytes + prefix)
  return out
}

/**
 * Reads one frame from any division of its bytes. It takes no byte after the frame, holds no more
 * than a frame can have, and a wrong key is a fault at its first wrong byte.
 */
export class MpaReader {
  frame: MpaFrame | undefined = undefined
  fault: StartupFault | undefined = undefined
  readonly #kind: MpaFrame["kind"]
  readonly #bytes = new Uint8Array(fixedBytes + privateDataLimit)
  #length = 0
  #wanted = fixedBytes

  constructor(kind: MpaFrame["kind"]) {
    this.#kind = kind
  }

  /** Received bytes of the frame; zero means that the peer has sent nothing yet. */
  get received(): number {
    return this.#length
  }

  /** Takes the bytes of the frame; returns the offset after it in the chunk. */
  push(chunk: Uint8Array, from: number, to: number): number {
    let at = from
    while (this.fault === undefined && this.frame === undefined && at < to) {
      const bytes = Math.min(this.#wanted - this.#length, to - at)
      copyBytes(this.#bytes, this.#length, chunk, at, at + bytes)
      at += bytes
      this.#length += bytes
      this.#judge()
    }
    return at
  }

  #judge(): void {
    const key = keys[this.#kind]
    const compared = Math.min(this.#length, key.length)
    for (let k = 0; k < compared; k++) {
      if (this.#bytes[k] !== key[k]) {
        this.fault = { _tag: "WrongKey", expected: this.#kind, at: k }
        return
      }
    }
    if (this.#length < fixedBytes) return
    if (this.#wanted === fixedBytes) {
      this.fault = faultOf(this.#bytes)
      this.#wanted = fixedBytes + lengthOf(this.#bytes)
    }
    if (this.fault === undefined && this.#length === this.#wanted) {
      this.frame = frameOf(this.#kind, this.#bytes.slice(0, this.#wanted))
    }
  }
}

const lengthOf = (bytes: Uint8Array): number => (bytes[18]! << 8) | bytes[19]!

const faultOf = (bytes: Uint8Array): StartupFault | undefined => {
  const length = lengthOf(bytes)
  const revision = bytes[17]!
  if (revision > newestRevision) return { _tag: "UnknownRevision", revision }
  if (length > privateDataLimit) {
    return { _tag: "PrivateDataTooLong", length, limit: privateDataLimit }
  }
  return isEnhanced(bytes) && length < prefixBytes ? { _tag: "PrefixMissing", length } : undefined
}

/** Before revision 2 the flag was reserved, and has no meaning. */
const isEnhanced = (bytes: Uint8Array): boolean => bytes[17]! >= 2 && (bytes[16]! & 0x10) !== 0

const frameOf = (kind: MpaFrame["kind"], bytes: Uint8Array<ArrayBuffer>): MpaFrame => {
  const enhanced = isEnhanced(bytes)
  const flags = bytes[16]!
  return {
    kind,
    markers: (flags & 0x80) !== 0,
    crc: (flags & 0x40) !== 0,
    reject: kind === "reply" && (flags & 0x20) !== 0,
    revision: bytes[17]!,
    enhanced: enhanced ? enhancedOf(new DataView(bytes.buffer)) : undefined,
    privateData: bytes.subarray(fixedBytes + (enhanced ? prefixBytes : 0))
  }
}

const enhancedOf = (view: DataView): Enhanced => {
  const [first, second] = [view.getUint16(20), view.getUint16(22)]
  return {
    peerToPeer: (first & 0x8000) !== 0,
    readyBySend: (first & 0x4000) !== 0,
    readyByWrite: (second & 0x8000) !== 0,
    readyByRead: (second & 0x4000) !== 0,
    ird: first & unlimited,
    ord: second & unlimited
  }
}

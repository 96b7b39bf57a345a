/**
 * The header of one FPDU: MPA's length, then DDP's and RDMAP's control bytes and addresses.
 *
 * A `Segment` is read in place and reused for every FPDU, so parsing allocates nothing. A 64-bit
 * offset is kept as two words, since most of them never need to become one number.
 */

/** RDMAP's messages (RFC 5040, RFC 7306). */
export const Opcode = {
  write: 0,
  readRequest: 1,
  readResponse: 2,
  send: 3,
  sendInvalidate: 4,
  sendSolicited: 5,
  sendSolicitedInvalidate: 6,
  terminate: 7,
  immediate: 8,
  immediateSolicited: 9,
  atomicRequest: 10,
  atomicResponse: 11
} as const

/** The queues of untagged messages; each counts its own message sequence numbers, from 1. */
export const Queue = { send: 0, request: 1, terminate: 2, atomicResponse: 3 } as const

/** Bytes up to the payload, MPA's length included. */
export const taggedHeaderBytes = 16

export const untaggedHeaderBytes = 20

/** The longest ULPDU (DDP header and payload) that MPA carries. */
export const maximumUlpdu = 64768

const taggedBit = 0x80
const lastBit = 0x40
const ddpVersion = 1
const rdmapVersion = 0x40

/** The fields of a header. Those of the other kind (tagged or untagged) are zero. */
export class Segment {
  /** Bytes of DDP header and payload. */
  ulpduLength = 0
  /** The received DDP control byte. */
  ddpControl = 0
  /** The received RDMAP control byte. */
  rdmapControl = 0
  /** The STag of a tagged segment's target, or the one that a Send invalidates. */
  stag = 0
  offsetHigh = 0
  offsetLow = 0
  queue = 0
  sequence = 0
  messageOffset = 0

  get tagged(): boolean {
    return (this.ddpControl & taggedBit) !== 0
  }
  get last(): boolean {
    return (this.ddpControl & lastBit) !== 0
  }
  get ddpVersion(): number {
    return this.ddpControl & 0x03
  }
  get rdmapVersion(): number {
    return this.rdmapControl >>> 6
  }
  get opcode(): number {
    return this.rdmapControl & 0x0f
  }
  get headerBytes(): number {
    return this.tagged ? taggedHeaderBytes : untaggedHeaderBytes
  }
  get payloadLength(): number {
    return this.ulpduLength + 2 - this.headerBytes
  }
}

/** The length of the header that starts here; its first four bytes must be there. */
export const headerBytesAt = (bytes: Uint8Array, at: number): number =>
  bytes[at + 2]! & taggedBit ? taggedHeaderBytes : untaggedHeaderBytes

/** The unsigned word at an offset, most significant byte first. */
export const wordAt = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0

/** Reads a whole header. */
export const read = (into: Segment, bytes: Uint8Array, at: number): void => {
  into.ulpduLength = (bytes[at]! << 8) | bytes[at + 1]!
  into.ddpControl = bytes[at + 2]!
  into.rdmapControl = bytes[at + 3]!
  into.stag = wordAt(bytes, at + 4)
  if (into.tagged) {
    into.offsetHigh = wordAt(bytes, at + 8)
    into.offsetLow = wordAt(bytes, at + 12)
    into.queue = into.sequence = into.messageOffset = 0
  } else {
    into.offsetHigh = into.offsetLow = 0
    into.queue = wordAt(bytes, at + 8)
    into.sequence = wordAt(bytes, at + 12)
    into.messageOffset = wordAt(bytes, at + 16)
  }
}

/** Writes a header from its fields; returns the offset after it. */
export const write = (out: DataView, at: number, from: Segment): number => {
  out.setUint16(at, from.ulpduLength)
  out.setUint8(at + 2, from.ddpControl)
  out.setUint8(at + 3, from.rdmapControl)
  out.setUint32(at + 4, from.stag)
  if (from.tagged) {
    out.setUint32(at + 8, from.offsetHigh)
    out.setUint32(at + 12, from.offsetLow)
    return at + taggedHeaderBytes
  }
  out.setUint32(at + 8, from.queue)
  out.setUint32(at + 12, from.sequence)
  out.setUint32(at + 16, from.messageOffset)
  return at + untaggedHeaderBytes
}

/** Makes `segment` a tagged one. */
export const tagged = (
  segment: Segment,
  opcode: number,
  last: boolean,
  stag: number,
  offsetHigh: number,
  offsetLow: number,
  payloadLength: number
): Segment => {
  segment.ulpduLength = payloadLength + taggedHeaderBytes - 2
  segment.ddpControl = taggedBit | (last ? lastBit : 0) | ddpVersion
  segment.rdmapControl = rdmapVersion | opcode
  segment.stag = stag
  segment.offsetHigh = offsetHigh
  segment.offsetLow = offsetLow
  segment.queue = segment.sequence = segment.messageOffset = 0
  return segment
}

/** Makes `segment` an untagged one. */
export const untagged = (
  segment: Segment,
  opcode: number,
  last: boolean,
  invalidate: number,
  queue: number,
  sequence: number,
  messageOffset: number,
  payloadLength: number
): Segment => {
  segment.ulpduLength = payloadLength + untaggedHeaderBytes - 2
  segment.ddpControl = (last ? lastBit : 0) | ddpVersion
  segment.rdmapControl = rdmapVersion | opcode
  segment.stag = invalidate
  segment.offsetHigh = segment.offsetLow = 0
  segment.queue = queue
  segment.sequence = sequence
  segment.messageOffset = messageOffset
  return segment
}

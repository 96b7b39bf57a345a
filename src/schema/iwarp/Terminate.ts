/**
 * Terminate: the message with the reason why a stream ends (RFC 5040, 4.8).
 *
 * It has a layer, a type and a code, and carries the headers of the message that caused it.
 */
import type { StreamFault } from "./Fault.ts"
import { readRequestBytes } from "./RdmapHeader.ts"
import {
  Opcode,
  type Segment,
  taggedHeaderBytes,
  untaggedHeaderBytes,
  write as writeSegment
} from "./Segment.ts"

export interface Cause {
  readonly layer: number
  readonly type: number
  readonly code: number
  readonly name: string
}

const cause = (layer: number, type: number, code: number, name: string): Cause => ({
  layer,
  type,
  code,
  name
})

/** All numbered causes. Layer 0 is RDMAP, 1 is DDP, 2 is MPA. */
export const Cause = {
  rdmapLocal: cause(0, 0, 0x00, "RDMAP: local catastrophic error"),
  invalidStag: cause(0, 1, 0x00, "RDMAP: invalid STag"),
  bounds: cause(0, 1, 0x01, "RDMAP: base or bounds violation"),
  accessRights: cause(0, 1, 0x02, "RDMAP: access rights violation"),
  notAssociated: cause(0, 1, 0x03, "RDMAP: STag of another stream"),
  offsetWraps: cause(0, 1, 0x04, "RDMAP: tagged offset wraps"),
  cannotInvalidate: cause(0, 1, 0x09, "RDMAP: STag cannot be invalidated"),
  protection: cause(0, 1, 0xff, "RDMAP: remote protection error"),
  rdmapVersion: cause(0, 2, 0x05, "RDMAP: unknown version"),
  unexpectedOpcode: cause(0, 2, 0x06, "RDMAP: unexpected opcode"),
  streamCatastrophe: cause(0, 2, 0x07, "RDMAP: catastrophic error of the stream"),
  globalCatastrophe: cause(0, 2, 0x08, "RDMAP: catastrophic error of the endpoint"),
  operationCannotInvalidate: cause(0, 2, 0x09, "RDMAP: STag cannot be invalidated"),
  operation: cause(0, 2, 0xff, "RDMAP: remote operation error"),
  ddpLocal: cause(1, 0, 0x00, "DDP: local catastrophic error"),
  taggedInvalidStag: cause(1, 1, 0x00, "DDP: invalid STag"),
  taggedBounds: cause(1, 1, 0x01, "DDP: base or bounds violation"),
  taggedNotAssociated: cause(1, 1, 0x02, "DDP: STag of another stream"),
  taggedOffsetWraps: cause(1, 1, 0x03, "DDP: tagged offset wraps"),
  taggedVersion: cause(1, 1, 0x04, "DDP: unknown version"),
  invalidQueue: cause(1, 2, 0x01, "DDP: invalid queue number"),
  noBuffer: cause(1, 2, 0x02, "DDP: no receive posted"),
  sequenceRange: cause(1, 2, 0x03, "DDP: message sequence number out of range"),
  invalidMessageOffset: cause(1, 2, 0x04, "DDP: invalid message offset"),
  tooLong: cause(1, 2, 0x05, "DDP: message too long for its buffer"),
  untaggedVersion: cause(1, 2, 0x06, "DDP: unknown version"),
  connectionLost: cause(2, 0, 0x01, "MPA: connection lost"),
  crc: cause(2, 0, 0x02, "MPA: CRC mismatch"),
  framing: cause(2, 0, 0x03, "MPA: marker and length do not match"),
  invalidStartup: cause(2, 0, 0x04, "MPA: invalid request or reply"),
  mpaLocal: cause(2, 0, 0x05, "MPA: local catastrophic error"),
  insufficientIrd: cause(2, 0, 0x06, "MPA: insufficient IRD"),
  noMatchingReady: cause(2, 0, 0x07, "MPA: no matching ready signal")
} as const satisfies Record<string, Cause>

/** The known cause with these numbers. The code of a local catastrophic error has no meaning. */
export const causeOf = (layer: number, type: number, code: number): Cause | undefined =>
  Object.values(Cause).find(
    (known) =>
      known.layer === layer &&
      known.type === type &&
      (known.code === code || (layer < 2 && type === 0))
  )

/** The Terminate that answers a fault in the peer's stream. */
export const answerTo = (fault: StreamFault): Pick<Cause, "layer" | "type" | "code"> => {
  switch (fault._tag) {
    case "CrcMismatch":
      return Cause.crc
    case "BadLength":
    case "BadMarker":
      return Cause.framing
    case "Refused":
      return fault
  }
}

const controlBytes = 4
const lengthBytes = 2

/** The headers that a Terminate may carry. */
export interface Attached {
  /** The ULPDU length of the segment in question. */
  readonly segmentLength?: number | undefined
  readonly ddpHeader?: Uint8Array | undefined
  readonly rdmapHeader?: Uint8Array | undefined
}

/** A Terminate from its parts. */
export const write = (
  layer: number,
  type: number,
  code: number,
  { ddpHeader = none, rdmapHeader = none, segmentLength }: Attached
): Uint8Array<ArrayBuffer> => {
  const start = controlBytes + (segmentLength === undefined ? 0 : lengthBytes)
  const out = new Uint8Array(start + ddpHeader.length + rdmapHeader.length)
  out[0] = (layer << 4) | type
  out[1] = code
  out[2] =
    (segmentLength === undefined ? 0 : 0x80) |
    (ddpHeader.length > 0 ? 0x40 : 0) |
    (rdmapHeader.length > 0 ? 0x20 : 0)
  if (segmentLength !== undefined) {
    out[4] = segmentLength >>> 8
    out[5] = segmentLength
  }
  out.set(ddpHeader, start)
  out.set(rdmapHeader, start + ddpHeader.length)
  return out
}

const none = new Uint8Array(0)

/**
 * The Terminate that answers `cause`. `segment` is the faulty one and `request` its Read Request,
 * if there is one; the cause decides which of them are sent (RFC 5040, 4.8).
 */
export const encode = (
  { code, layer, type }: Pick<Cause, "layer" | "type" | "code">,
  segment?: Segment,
  request?: Uint8Array
): Uint8Array<ArrayBuffer> => {
  if (segment === undefined || layer > 1 || type === 0) return write(layer, type, code, {})
  const header = new Uint8Array(segment.headerBytes)
  writeSegment(new DataView(header.buffer), 0, segment)
  const withRequest =
    layer === 0 && type === 1 && segment.opcode === Opcode.readRequest && request !== undefined
  return write(layer, type, code, {
    segmentLength: segment.ulpduLength,
    ddpHeader: header.subarray(lengthBytes),
    rdmapHeader: withRequest ? request.subarray(0, readRequestBytes) : undefined
  })
}

/** A decoded Terminate. */
export interface Terminate extends Required<Attached> {
  readonly layer: number
  readonly type: number
  readonly code: number
  /**
   * Linux's software iWARP on little-endian machines swaps layer and type, and puts the flags at
   * the other end of their byte. Without flags the order cannot always be decided: then `layer` and
   * `type` are in the order of the RFC, and could be the other way round.
   */
  readonly order: "rfc" | "swapped" | "either"
}

/** Reads a Terminate message. Attached headers that are cut short are left out. */
export const decode = (encoded: Uint8Array): Terminate | undefined => {
  if (encoded.length < controlBytes) return undefined
  const [high, low] = [encoded[0]! >>> 4, encoded[0]! & 15]
  const [code, flags] = [encoded[1]!, encoded[2]!]
  const order = orderOf(high, low, code, flags)
  const swapped = order === "swapped"
  const has = (bit: number): boolean => (flags & (swapped ? bit : 0x80 >>> (bit >> 1))) !== 0
  let at = controlBytes
  const take = (wanted: boolean, bytes: number): Uint8Array | undefined =>
    wanted && at + bytes <= encoded.length ? encoded.subarray(at, (at += bytes)) : undefined
  const length = take(has(1), lengthBytes)
  const headerBytes = (encoded[at] ?? 0) & 0x80 ? taggedHeaderBytes : untaggedHeaderBytes
  return {
    layer: swapped ? low : high,
    type: swapped ? high : low,
    code,
    order,
    segmentLength: length && (length[0]! << 8) | length[1]!,
    ddpHeader: take(has(2), headerBytes - lengthBytes),
    rdmapHeader: take(has(4), readRequestBytes)
  }
}

/** Decides the order by the flags' end of the byte; without flags, by which order is valid. */
const orderOf = (high: number, low: number, code: number, flags: number): Terminate["order"] => {
  if ((flags & 0xe0) !== 0) return "rfc"
  if ((flags & 0x07) !== 0) return "swapped"
  if (high === low || causeOf(low, high, code) === undefined) return "rfc"
  return causeOf(high, low, code) === undefined ? "swapped" : "either"
}

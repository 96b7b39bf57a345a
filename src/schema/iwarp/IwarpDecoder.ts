/**
 * Decodes an iWARP conversation: start-up frames and FPDUs, with the fields of every layer.
 *
 * Each run of bytes holds whole frames of one side. The settings of the start-up frames (checksums,
 * and markers for each direction) apply to later bytes; without them nothing is assumed.
 */

import * as Schema from "effect/Schema"
import type { BadFrame, DecodedFrame, Direction, FrameDecoder } from "../FrameDecoder.ts"
import * as Crc32c from "./Crc32c.ts"
import { FpduParser, Step } from "./FpduParser.ts"
import * as Message from "./Message.ts"
import * as MessageCodec from "./MessageCodec.ts"
import * as Mpa from "./Mpa.ts"
import type { Segment } from "./Segment.ts"
import { causeOf } from "./Terminate.ts"

export const make = (): FrameDecoder => {
  const conversation = new Conversation()
  return { decode: (bytes, direction) => conversation.read(bytes, direction) }
}

type Side = Direction | "unknown"

const failed = (error: { readonly _tag: string; readonly [field: string]: unknown }): BadFrame => ({
  ok: false,
  error
})

const crc32c = Crc32c.make({ simd: false, stagingBytes: 0 })
const encodeMessage = Schema.encodeSync(Message.Message)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")
const bit = (condition: boolean): 0 | 1 => (condition ? 1 : 0)

/** Both keys begin like this, and no FPDU can: it would have no version of RDMAP. */
const opening = [..."MPA ID Re"].map((letter) => letter.charCodeAt(0))
const opens = (bytes: Uint8Array, at: number): boolean =>
  opening.every((byte, k) => bytes[at + k] === byte)
const replyLetter = "p".charCodeAt(0)

class Conversation {
  /** Whether CRCs are in use, once the start-up frames have settled it. */
  #crc: boolean | undefined = undefined
  #markers: Record<Side, boolean> = { c2s: false, s2c: false, unknown: false }
  readonly #parsers = new Map<Side, FpduParser>()

  /**
   * Applies a start-up frame: each side says whether it needs markers in the bytes that it
   * receives.
   */
  #settle({ crc, kind, markers }: Mpa.MpaFrame): void {
    if (kind === "request") {
      this.#crc = crc
      this.#markers = { c2s: false, s2c: markers, unknown: false }
    } else {
      this.#crc = this.#crc === true || crc
      this.#markers.c2s = markers
    }
    this.#parsers.clear()
  }

  #parser(side: Side): FpduParser {
    const known = this.#parsers.get(side)
    if (known !== undefined) return known
    const crc = this.#crc === true ? crc32c : undefined
    const parser = new FpduParser({ crc, markers: this.#markers[side] })
    this.#parsers.set(side, parser)
    return parser
  }

  *read(bytes: Uint8Array, direction: Direction | undefined): Iterable<DecodedFrame> {
    for (let at = 0; at < bytes.length;) {
      if (!opens(bytes, at)) return yield* this.#fpdus(bytes, at, direction ?? "unknown")
      const kind = bytes[at + opening.length] === replyLetter ? "reply" : "request"
      const reader = new Mpa.MpaReader(kind)
      const end = reader.push(bytes, at, bytes.length)
      if (reader.frame === undefined) {
        return yield failed(reader.fault ?? { _tag: "Incomplete", bytes: bytes.length - at })
      }
      this.#settle(reader.frame)
      const encoded = Mpa.encode(reader.frame)
      yield { ok: true, frame: shownStartup(reader.frame), bytes: end - at, encoded }
      at = end
    }
  }

  *#fpdus(bytes: Uint8Array, from: number, side: Side): Iterable<DecodedFrame> {
    const parser = this.#parser(side)
    let payload: Array<Uint8Array> = []
    let start = from
    parser.feed(bytes, from, bytes.length)
    for (;;) {
      const step = parser.next()
      if (step === Step.header) payload = []
      else if (step === Step.payload) payload.push(bytes.subarray(parser.from, parser.to))
      else if (step === Step.starved) break
      else {
        const fault = parser.fault
        if (fault !== undefined && fault._tag !== "CrcMismatch") {
          this.#parsers.delete(side)
          return yield failed(fault)
        }
        parser.overlook()
        const frameBytes = bytes.subarray(start, parser.position)
        yield this.#shown(parser, Buffer.concat(payload), frameBytes, fault !== undefined)
        start = parser.position
      }
    }
    if (!parser.inside) return
    this.#parsers.delete(side)
    yield failed({ _tag: "Incomplete", bytes: bytes.length - start })
  }

  #shown(parser: FpduParser, placed: Uint8Array, bytes: Uint8Array, crcBad: boolean): DecodedFrame {
    const { carriedCrc, control, controlLength, segment } = parser
    const payload = placed.length > 0 ? placed : control.slice(0, controlLength)
    const message = MessageCodec.decode(segment, payload)
    const header = shownHeader(segment)
    if (message === undefined) return failed({ _tag: "UnknownMessage", ...header, payload })
    const withCrc = this.#crc ?? carriedCrc === crc32c.update(0, bytes, 0, bytes.length - 4)
    const field = hex(bytes.subarray(-4))
    const frame = {
      ...header,
      crcField: `0x${field}`,
      crcOnWire: field,
      ...(crcBad && { crcBad: 1 }),
      ...shownFlags(message),
      ...encodeMessage(message)
    }
    const encoded = MessageCodec.encode(message, withCrc ? crc32c : undefined)
    return { ok: true, frame, bytes: bytes.length, encoded }
  }
}

const shownStartup = (frame: Mpa.MpaFrame): object => {
  const { crc, enhanced, kind, markers, privateData, reject, revision } = frame
  return {
    _tag: kind === "request" ? "MpaRequest" : "MpaReply",
    key: kind === "request" ? "MPA ID Req Frame" : "MPA ID Rep Frame",
    M: bit(markers),
    C: bit(crc),
    R: bit(reject),
    S: bit(enhanced !== undefined),
    rev: revision,
    pdLength: privateData.length + (enhanced === undefined ? 0 : 4),
    ...(enhanced && {
      A: bit(enhanced.peerToPeer),
      B: bit(enhanced.readyBySend),
      Cflag: bit(enhanced.readyByWrite),
      D: bit(enhanced.readyByRead),
      ird: enhanced.ird,
      ord: enhanced.ord
    }),
    privateData: hex(privateData)
  }
}

const shownHeader = (segment: Segment) => {
  const { ddpVersion, last, opcode, rdmapVersion, tagged, ulpduLength } = segment
  const { messageOffset, queue, sequence } = segment
  return {
    ulpduLength,
    pad: -(ulpduLength + 2) & 3,
    tagged: bit(tagged),
    last: bit(last),
    ddpVersion,
    rdmapVersion,
    opcode,
    ...(!tagged && { qn: queue, msn: sequence, mo: messageOffset })
  }
}

/** Fields in the bytes of a message that follow from its other fields. */
const shownFlags = (message: Message.Message): object => {
  if (message._tag === "FetchAdd") return { aopcode: 0 }
  if (message._tag === "CompareSwap") return { aopcode: 2 }
  if (message._tag !== "Terminate") return {}
  const { code, ddpSegLen, etype, layer, order } = message
  const { terminatedDdpHeader, terminatedRdmaHeader } = message
  const causes = [causeOf(layer, etype, code), order === "either" && causeOf(etype, layer, code)]
  return {
    cause: causes.flatMap((cause) => (cause ? [cause.name] : [])).join(", or "),
    M: bit(ddpSegLen !== undefined),
    D: bit(terminatedDdpHeader !== undefined),
    R: bit(terminatedRdmaHeader !== undefined)
  }
}

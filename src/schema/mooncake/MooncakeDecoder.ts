/**
 * Decodes the traffic of Mooncake's handshake port: connections, metadata, notifies and probes.
 *
 * Each run of bytes holds whole frames of one side. If the side is not known, a connection frame
 * with the paths of the last request in reverse order is its reply.
 */

import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { BadFrame, DecodedFrame, Direction, FrameDecoder } from "../FrameDecoder.ts"
import * as Body from "./Body.ts"
import type { ReplyFault, TextFault } from "./Fault.ts"
import { encode, FrameReader, FrameType, type Frame, largestLimit } from "./Frame.ts"
import * as Handshake from "./Handshake.ts"
import * as Notify from "./Notify.ts"
import * as Probe from "./Probe.ts"
import type { RejectReason } from "./RejectReason.ts"
import * as SegmentDescriptor from "./SegmentDescriptor.ts"

export const make = (): FrameDecoder => {
  const conversation = new Conversation()
  return { decode: (bytes, direction) => conversation.read(bytes, direction) }
}

/** A decoded text, and the text that encodes it again. */
interface Shown {
  readonly frame: object
  readonly text: string
}

const failed = (error: BadFrame["error"]): BadFrame => ({ ok: false, error })

const shownSegment = Schema.encodeSync(SegmentDescriptor.SegmentDescriptor)

class Conversation {
  /** The paths of the last request, as its reply names them. */
  #expected = { sender: "", receiver: "" }

  #shown(frame: Frame, direction: Direction | undefined): Result.Result<Shown, TextFault> {
    const { text, type } = frame
    switch (type) {
      case FrameType.connection:
        return Result.map(Body.decode(text), (body) => ({
          frame: this.#connection(body, direction),
          text: Body.encode(body)
        }))
      case FrameType.metadata:
        return shownMetadata(text, direction)
      case FrameType.notify:
        return Result.map(Notify.decode(text), (notify) => ({
          frame: { _tag: "Notify", ...notify },
          text: Notify.encode(notify)
        }))
      case FrameType.probe:
        return Result.map(Probe.decode(text), (probe) => ({
          frame: { _tag: "Probe", ...probe },
          text: Probe.encode(probe)
        }))
    }
  }

  *read(bytes: Uint8Array, direction: Direction | undefined): Iterable<DecodedFrame> {
    for (let at = 0; at < bytes.length;) {
      const reader = new FrameReader(largestLimit)
      const end = at + reader.push(bytes.subarray(at))
      const { fault, frame } = reader
      if (frame === undefined) {
        const incomplete = { _tag: "Incomplete", bytes: bytes.length - at }
        return yield failed(fault ?? incomplete)
      }
      const shown = this.#shown(frame, direction)
      if (Result.isFailure(shown)) yield failed(shown.failure)
      else {
        const { framing, type } = frame
        const encoded = encode({ type, framing, text: shown.success.text })
        const fields = { ...shown.success.frame, type, framing }
        yield { ok: true, frame: fields, bytes: end - at, encoded }
      }
      at = end
    }
  }

  /** The members as received, and the decoded message. */
  #connection(body: Body.Body, direction: Direction | undefined): object {
    const isAnswer = direction === undefined ? this.#answers(body) : direction === "s2c"
    if (isAnswer) return shownAs(Handshake.readAnswer(body), body)
    this.#expected = { sender: body?.peerNicPath ?? "", receiver: body?.localNicPath ?? "" }
    return shownAs(Handshake.readCall(body), body)
  }

  #answers(body: Body.Body): boolean {
    if (body === null || body.replyMsg !== "") return true
    const { localNicPath, peerNicPath } = body
    const { receiver, sender } = this.#expected
    // Only a reply has no paths; the paths of a request are never both empty.
    const isReply = localNicPath === sender && peerNicPath === receiver
    return isReply || localNicPath + peerNicPath === ""
  }
}

const shownAs = (
  read: Result.Result<Handshake.Handshake, ReplyFault | RejectReason>,
  body: Body.Body
): object => {
  if (Result.isFailure(read)) return { _tag: "Unusable", reason: read.failure, ...body }
  const message = read.success
  return { _tag: message._tag, ...("reason" in message && { reason: message.reason }), ...body }
}

/** A process ignores the metadata of a request, so any text is accepted. */
const shownMetadata = (
  text: string,
  direction: Direction | undefined
): Result.Result<Shown, TextFault> => {
  const read = SegmentDescriptor.decode(text)
  if (Result.isSuccess(read)) {
    const frame = { _tag: "Metadata", ...shownSegment(read.success) }
    return Result.succeed({ frame, text: SegmentDescriptor.encode(read.success) })
  }
  const ignored = direction !== "s2c" && read.failure._tag === "Malformed"
  if (!ignored) return Result.fail(read.failure)
  return Result.succeed({ frame: { _tag: "Metadata" }, text: "{}\n" })
}

/**
 * Shows frames of the cluster bus: each with its header, its gossip and its extensions. Frames are
 * read alone, so light ones have no sender.
 */

import * as Schema from "effect/Schema"
import type { DecodedFrame, FrameDecoder } from "../FrameDecoder.ts"
import { frameLength } from "./Framing.ts"
import { FrameView } from "./FrameView.ts"
import * as Message from "./Message.ts"
import * as MessageCodec from "./MessageCodec.ts"

const encodeMessage = Schema.encodeSync(Message.Message)

export const make = (): FrameDecoder => ({ decode: read })

const shown = (frame: FrameView): DecodedFrame => {
  const message = MessageCodec.messageOf(frame)
  const encoded = MessageCodec.encode(message)
  return { ok: true, frame: encodeMessage(message), bytes: frame.to - frame.from, encoded }
}

function* read(bytes: Uint8Array): Iterable<DecodedFrame> {
  const frame = new FrameView()
  for (let at = 0; at < bytes.length;) {
    const length = frameLength(bytes, at, bytes.length)
    if (typeof length !== "number") return yield { ok: false, error: length }
    if (length === 0 || length > bytes.length - at) {
      const error = { _tag: "Incomplete", bytes: bytes.length - at }
      return yield { ok: false, error }
    }
    const fault = frame.read(bytes, at, at + length)
    yield fault === undefined ? shown(frame) : { ok: false, error: fault }
    at += length
  }
}

/** Frames of Mooncake's handshake port on a lane. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Lane, LaneError } from "../../../native/Lane.ts"
import { type Frame, FrameReader } from "../../../schema/mooncake/Frame.ts"
import type { FrameFault } from "../../../schema/mooncake/Fault.ts"

/** The peer ended its side within a frame, or before one. */
export class FrameCut extends Schema.TaggedError<FrameCut>()("FrameCut", {
  received: Schema.Int
}) {
  override get message() {
    return `the peer ended after ${this.received} octets of a frame`
  }
}

/** The one frame that the peer has to send. What it sends behind it is not looked at. */
export const readFrame = Effect.fnUntraced(function* (
  lane: Lane,
  limit: number
): Effect.fn.Return<Frame, FrameFault | FrameCut | LaneError> {
  const reader = new FrameReader(limit)
  while (true) {
    const pieces = yield* lane.take
    if (pieces.length === 0) return yield* new FrameCut({ received: reader.received })
    for (const piece of pieces) reader.push(piece)
    if (reader.fault !== undefined) return yield* reader.fault
    if (reader.frame !== undefined) return reader.frame
  }
})

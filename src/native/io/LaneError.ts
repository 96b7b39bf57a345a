/** The errors with which lanes end: `LaneError`, for one of eight reasons. */
import * as Schema from "effect/Schema"
import type { EndReason } from "./internal/messages.ts"

/** The peer ended the connection. `missing` counts bytes of a frame that it did not complete. */
export class PeerClosed extends Schema.TaggedClass<PeerClosed>("~handfast/io/PeerClosed")(
  "PeerClosed",
  { missing: Schema.Int }
) {
  get message() {
    return this.missing === 0
      ? "the peer closed the connection"
      : `the peer closed the connection ${this.missing} bytes into a frame`
  }
}

/** The connection broke; `code` is the operating system's or TLS's. */
export class PeerReset extends Schema.TaggedClass<PeerReset>("~handfast/io/PeerReset")(
  "PeerReset",
  { code: Schema.String }
) {
  get message() {
    return `the connection broke: ${this.code}`
  }
}

/**
 * The framer refused the peer's bytes, or threw anything but a `FrameRefusal`: then it `isDefect`,
 * and the framer or the options of the lane are wrong, whatever the peer has sent.
 */
export class FrameRefused extends Schema.TaggedClass<FrameRefused>("~handfast/io/FrameRefused")(
  "FrameRefused",
  { detail: Schema.String, isDefect: Schema.Boolean }
) {
  get message() {
    const what = this.isDefect ? "the framer threw" : "refused what the peer sent"
    return `${what}: ${this.detail}`
  }
}

/** The peer did not take a write for too long. */
export class SlowPeer extends Schema.TaggedClass<SlowPeer>("~handfast/io/SlowPeer")("SlowPeer", {
  bytes: Schema.Int,
  waitedMs: Schema.Finite
}) {
  get message() {
    return `the peer did not take ${this.bytes} bytes within ${Math.round(this.waitedMs)} ms`
  }
}

/**
 * The worker that owned the socket crashed, or was given up. A worker `isStuck` when it made no
 * progress, or did not end in time: its thread is terminated, but may still run for a moment, and
 * the socket and the regions that it uses are released when it has ended.
 */
export class WorkerCrashed extends Schema.TaggedClass<WorkerCrashed>("~handfast/io/WorkerCrashed")(
  "WorkerCrashed",
  { detail: Schema.String, isStuck: Schema.Boolean }
) {
  get message() {
    return `the lane's worker crashed: ${this.detail}`
  }
}

/** The handler given to `onFrames` or `run` threw. */
export class HandlerFailed extends Schema.TaggedClass<HandlerFailed>("~handfast/io/HandlerFailed")(
  "HandlerFailed",
  { detail: Schema.String }
) {
  get message() {
    return `the lane's handler threw: ${this.detail}`
  }
}

/** The pool stopped. */
export class PoolStopped extends Schema.TaggedClass<PoolStopped>("~handfast/io/PoolStopped")(
  "PoolStopped",
  {}
) {
  get message() {
    return "the pool stopped"
  }
}

/** This side closed the lane. `unsent` counts accepted bytes that did not leave in time. */
export class LaneClosed extends Schema.TaggedClass<LaneClosed>("~handfast/io/LaneClosed")(
  "LaneClosed",
  { unsent: Schema.Int }
) {
  get message() {
    return this.unsent === 0
      ? "the lane was closed here"
      : `the lane was closed here with ${this.unsent} bytes unsent`
  }
}

/**
 * The end of a lane; every lane ends with exactly one of these reasons.
 *
 * ```ts
 * Effect.catchReason("LaneError", "SlowPeer", ({ bytes }) => Effect.logWarning("slow", bytes))
 * ```
 */
export class LaneError extends Schema.TaggedError<LaneError>()("LaneError", {
  peer: Schema.String,
  reason: Schema.Union([
    PeerClosed,
    PeerReset,
    FrameRefused,
    SlowPeer,
    WorkerCrashed,
    HandlerFailed,
    PoolStopped,
    LaneClosed
  ])
}) {
  override get message() {
    return `lane to ${this.peer}: ${this.reason.message}`
  }
}

const reasonOf = (end: EndReason): LaneError["reason"] => {
  switch (end.kind) {
    case "peer-closed":
      return new PeerClosed({ missing: end.missing })
    case "peer-reset":
      return new PeerReset({ code: end.code })
    case "refused":
      return new FrameRefused({ detail: end.detail, isDefect: end.isDefect })
    case "slow-peer":
      return new SlowPeer({ bytes: end.bytes, waitedMs: end.millis })
    case "crashed":
      return new WorkerCrashed({ detail: end.detail, isStuck: end.isStuck })
    case "handler":
      return new HandlerFailed({ detail: end.detail })
    case "stopped":
      return new PoolStopped()
    case "closed":
      return new LaneClosed({ unsent: end.unsent })
  }
}

/** The error of an end. Private: lanes make it. */
export const laneErrorOf = (end: EndReason, peer: string): LaneError =>
  new LaneError({ peer, reason: reasonOf(end) })

/**
 * The errors with which lanes end.
 */
import * as Schema from "effect/Schema"
import type { EndReason } from "./messages.ts"

const peerFields = { peer: Schema.String }

/** The peer ended the connection. `missing` counts bytes of a frame that it did not complete. */
export class PeerClosed extends Schema.TaggedError<PeerClosed>()("PeerClosed", {
  ...peerFields,
  missing: Schema.Int
}) {
  override get message() {
    return this.missing === 0
      ? `${this.peer} closed the connection`
      : `${this.peer} closed the connection ${this.missing} bytes into a frame`
  }
}

/** The connection broke; `code` is the operating system's or TLS's. */
export class PeerReset extends Schema.TaggedError<PeerReset>()("PeerReset", {
  ...peerFields,
  code: Schema.String
}) {
  override get message() {
    return `the connection to ${this.peer} broke: ${this.code}`
  }
}

/** The framer refused the peer's bytes, or threw. */
export class FrameRefused extends Schema.TaggedError<FrameRefused>()("FrameRefused", {
  ...peerFields,
  detail: Schema.String
}) {
  override get message() {
    return `refused what ${this.peer} sent: ${this.detail}`
  }
}

/** The peer did not take a write for too long. */
export class SlowPeer extends Schema.TaggedError<SlowPeer>()("SlowPeer", {
  ...peerFields,
  bytes: Schema.Int,
  millis: Schema.Finite
}) {
  override get message() {
    return `${this.peer} did not take ${this.bytes} bytes within ${Math.round(this.millis)} ms`
  }
}

/**
 * The worker that owned the socket crashed, or was given up. A worker `isStuck` when it made no
 * progress, or did not end in time: its thread is terminated, but may still run for a moment, and
 * the socket and the regions that it uses are given back when it has ended.
 */
export class WorkerCrashed extends Schema.TaggedError<WorkerCrashed>()("WorkerCrashed", {
  ...peerFields,
  detail: Schema.String,
  isStuck: Schema.Boolean
}) {
  override get message() {
    return `the worker of the lane to ${this.peer} crashed: ${this.detail}`
  }
}

/** The handler given to `onFrames` threw. */
export class HandlerFailed extends Schema.TaggedError<HandlerFailed>()("HandlerFailed", {
  ...peerFields,
  detail: Schema.String
}) {
  override get message() {
    return `the handler of the lane to ${this.peer} threw: ${this.detail}`
  }
}

/** The pool stopped. */
export class PoolStopped extends Schema.TaggedError<PoolStopped>()("PoolStopped", peerFields) {
  override get message() {
    return `the pool of the lane to ${this.peer} stopped`
  }
}

/** This side closed the lane. `unsent` counts accepted bytes that did not leave in time. */
export class LaneClosed extends Schema.TaggedError<LaneClosed>()("LaneClosed", {
  ...peerFields,
  unsent: Schema.Int
}) {
  override get message() {
    return this.unsent === 0
      ? `the lane to ${this.peer} was closed here`
      : `the lane to ${this.peer} was closed here with ${this.unsent} bytes unsent`
  }
}

/** Why a lane ended; every lane ends with exactly one of them. */
export type LaneError =
  | PeerClosed
  | PeerReset
  | FrameRefused
  | SlowPeer
  | WorkerCrashed
  | HandlerFailed
  | PoolStopped
  | LaneClosed

/** The error of an end. */
export const laneErrorOf = (reason: EndReason, peer: string): LaneError => {
  switch (reason.kind) {
    case "peer-closed":
      return new PeerClosed({ peer, missing: reason.missing })
    case "peer-reset":
      return new PeerReset({ peer, code: reason.code })
    case "refused":
      return new FrameRefused({ peer, detail: reason.detail })
    case "slow-peer":
      return new SlowPeer({ peer, bytes: reason.bytes, millis: reason.millis })
    case "crashed":
      return new WorkerCrashed({ peer, detail: reason.detail, isStuck: reason.isStuck })
    case "handler":
      return new HandlerFailed({ peer, detail: reason.detail })
    case "stopped":
      return new PoolStopped({ peer })
    case "closed":
      return new LaneClosed({ peer, unsent: reason.unsent })
  }
}

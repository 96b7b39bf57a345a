/**
 * A lane: one connection whose bytes move on a worker, or on the main thread, while the user
 * sees whole frames and a bounded way to send.
 *
 * `send` never waits and never grows in silence: it says *accepted*, *full* or *closed*.
 * Accepted bytes are written in order, or the lane ends with one error. A lane belongs to a
 * Scope; closing it lets what was accepted go out, within a limit, and releases once.
 *
 * A lone frame over the main-thread path takes about as long as Node's own socket. Through a
 * worker it takes two wake-ups more, and they cost most on an idle machine, whose processors
 * sleep too (`over` and `wakes` in the benchmarks). So the pool is for TLS, for framers that
 * consume and for a main thread that must stay free, not for the lowest latency.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { FrameBatch } from "./FrameBatch.ts"
import type { EndReason, PeerInfo } from "./lanes/jobs.ts"
import type { LaneCore } from "./lanes/laneCore.ts"
import type { LaneCounts, SendStatus } from "./lanes/laneCounts.ts"

export type { PeerInfo } from "./lanes/jobs.ts"
export type { LaneCounts, SendStatus } from "./lanes/laneCounts.ts"

const peerFields = { peer: Schema.String }

/**
 * The peer ended the connection. `missing` counts bytes of a frame that it did not complete.
 *
 * @category errors
 * @since 0.1.0
 */
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

/**
 * The connection broke; `code` is the operating system's or TLS's.
 *
 * @category errors
 * @since 0.1.0
 */
export class PeerReset extends Schema.TaggedError<PeerReset>()("PeerReset", {
  ...peerFields,
  code: Schema.String
}) {
  override get message() {
    return `the connection to ${this.peer} broke: ${this.code}`
  }
}

/**
 * The framer refused the peer's bytes, or threw.
 *
 * @category errors
 * @since 0.1.0
 */
export class FrameRefused extends Schema.TaggedError<FrameRefused>()("FrameRefused", {
  ...peerFields,
  detail: Schema.String
}) {
  override get message() {
    return `refused what ${this.peer} sent: ${this.detail}`
  }
}

/**
 * The peer did not take a write for too long.
 *
 * @category errors
 * @since 0.1.0
 */
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
 *
 * @category errors
 * @since 0.1.0
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

/**
 * The handler given to `onFrames` threw.
 *
 * @category errors
 * @since 0.1.0
 */
export class HandlerFailed extends Schema.TaggedError<HandlerFailed>()("HandlerFailed", {
  ...peerFields,
  detail: Schema.String
}) {
  override get message() {
    return `the handler of the lane to ${this.peer} threw: ${this.detail}`
  }
}

/**
 * The pool stopped.
 *
 * @category errors
 * @since 0.1.0
 */
export class PoolStopped extends Schema.TaggedError<PoolStopped>()("PoolStopped", peerFields) {
  override get message() {
    return `the pool of the lane to ${this.peer} stopped`
  }
}

/**
 * This side closed the lane. `unsent` counts accepted bytes that did not leave in time.
 *
 * @category errors
 * @since 0.1.0
 */
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

/**
 * Why a lane ended; every lane ends with exactly one of them.
 *
 * @category errors
 * @since 0.1.0
 */
export type LaneError =
  | PeerClosed
  | PeerReset
  | FrameRefused
  | SlowPeer
  | WorkerCrashed
  | HandlerFailed
  | PoolStopped
  | LaneClosed

const errorOf = (reason: EndReason, peer: string): LaneError => {
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

/**
 * One connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lane {
  /** Who is at the other end, as the socket or the peer's certificate tells. */
  readonly peer: PeerInfo
  /**
   * Copies the bytes into the lane's send queue. *Full* changes nothing: wait for `writable`
   * and send again. A message longer than the whole queue is accepted while the queue is empty.
   */
  readonly send: (bytes: Uint8Array) => SendStatus
  /** Waits until half of the send queue is free, and a message that was refused has room. */
  readonly writable: Effect.Effect<void, LaneError>
  /**
   * Waits for frames and takes all that are there, in memory of their own. Fails when the lane
   * has ended and its last frame was taken. One empty array says that the peer has ended its
   * side of a half-open lane; after it, waits for the lane's end.
   */
  readonly take: Effect.Effect<ReadonlyArray<Uint8Array>, LaneError>
  /**
   * Hands every batch to a handler while it lies where it was read: the fast path. It replaces
   * `take`.
   */
  readonly onFrames: (handler: (batch: FrameBatch) => void) => void
  /** Ends this side after what was accepted; the peer may go on sending. */
  readonly finish: Effect.Effect<void>
  /** Closes in order and waits until the socket is gone; the lane's Scope does the same. */
  readonly close: Effect.Effect<void>
  /** Closes at once and waits until the socket is gone. */
  readonly abort: Effect.Effect<void>
  /** Waits for the lane's one end. */
  readonly closed: Effect.Effect<LaneError>
  /** When bytes last came, in milliseconds since 1970, stamped where they were read. */
  readonly lastHeard: Effect.Effect<number>
  readonly counts: Effect.Effect<Readonly<LaneCounts>>
}

/** Wraps a lane's core. Private: lanes come from `IoPool`. */
export const make = (core: LaneCore): Lane => new CoreLane(core)

/** Closes a lane in order and waits for its end. Private. */
export const close = (core: LaneCore): Effect.Effect<void> =>
  Effect.suspend(() => {
    core.close()
    return ended(core)
  })

/** Closes a lane at once and waits for its end. Private. */
export const abort = (core: LaneCore): Effect.Effect<void> =>
  Effect.suspend(() => {
    core.abort()
    return ended(core)
  })

const ended = (core: LaneCore): Effect.Effect<void> =>
  core.end === undefined ? waitFor((wake) => core.onEnd(wake)) : Effect.void

/** Waits for a callback; who is interrupted gives it up. */
const waitFor = (on: (wake: () => void) => () => void): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const giveUp = on(() => resume(Effect.void))
    return Effect.sync(giveUp)
  })

/** Effects are made when they are asked for: a storm of accepts pays for none of them. */
class CoreLane implements Lane {
  readonly #core: LaneCore
  /** A taker was told that the peer has ended its side. */
  #hasToldEnd = false

  constructor(core: LaneCore) {
    this.#core = core
  }

  get peer() {
    return this.#core.peer
  }

  send(bytes: Uint8Array): SendStatus {
    return this.#core.send(bytes)
  }

  onFrames(handler: (batch: FrameBatch) => void): void {
    this.#core.onFrames(handler)
  }

  get writable(): Effect.Effect<void, LaneError> {
    const core = this.#core
    return waitFor((wake) => core.onWritable(wake)).pipe(
      Effect.andThen(Effect.suspend(() => (core.jobs.open ? Effect.void : this.#failed())))
    )
  }

  get take() {
    return this.#next()
  }

  get finish() {
    return Effect.sync(() => this.#core.finish())
  }

  get close() {
    return close(this.#core)
  }

  get abort() {
    return abort(this.#core)
  }

  get closed() {
    return Effect.map(ended(this.#core), () => this.#error())
  }

  get lastHeard() {
    return Effect.sync(() => this.#core.heard)
  }

  get counts() {
    return Effect.sync(() => ({ ...this.#core.counts }))
  }

  #next(): Effect.Effect<ReadonlyArray<Uint8Array>, LaneError> {
    const core = this.#core
    return Effect.suspend(() => {
      const frames = core.takeBacklog()
      if (frames.length > 0) return Effect.succeed(frames)
      if (core.end !== undefined || !core.jobs.open) return this.#failed()
      if (core.peerEnded && !this.#hasToldEnd) {
        this.#hasToldEnd = true
        return Effect.succeed(frames)
      }
      const waiting = waitFor((wake) => core.onBacklog(wake))
      return Effect.flatMap(waiting, () => this.#next())
    })
  }

  #failed(): Effect.Effect<never, LaneError> {
    return Effect.fail(this.#error())
  }

  #error(): LaneError {
    const { end, peer, unsent } = this.#core
    const name = peer.address === "" ? "peer" : `${peer.address}:${peer.port}`
    const { stackTraceLimit } = Error
    // It would name the event loop, and cost as much as all the rest of a lane's end.
    Error.stackTraceLimit = 0
    try {
      return errorOf(end ?? { kind: "closed", unsent }, name)
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  }
}

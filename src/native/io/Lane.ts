/**
 * A lane: one connection whose bytes move on a worker, or on the main thread, while the user
 * sees whole frames and a bounded way to send.
 *
 * `send` never waits, and its memory is bounded: it returns *accepted*, *full* or *closed*.
 * Accepted bytes are written in order, or the lane ends with one error. A lane belongs to a Scope;
 * closing it writes accepted bytes within a time limit, and releases it once.
 *
 * A lone frame over the main-thread path takes about as long as Node's own socket. Through a
 * worker it takes two wake-ups more, and they cost most on an idle machine, whose processors
 * sleep too (`over` and `wakes` in the benchmarks). So the pool is for TLS, for framers that
 * consume and for a main thread that must stay free, not for the lowest latency.
 */
import * as Effect from "effect/Effect"
import type { FrameBatch } from "./FrameBatch.ts"
import type { PeerInfo } from "./internal/messages.ts"
import type { LaneHandle } from "./internal/laneHandle.ts"
import type { LaneCounts, SendStatus } from "./internal/laneCounts.ts"
import { type LaneError, laneErrorOf } from "./LaneError.ts"

export type { PeerInfo } from "./internal/messages.ts"
export type { LaneCounts, SendStatus } from "./internal/laneCounts.ts"

/** One connection. */
export interface Lane {
  /** The peer, as the socket and its certificate identify it. */
  readonly peer: PeerInfo
  /**
   * Copies the bytes into the lane's send queue. *Full* changes nothing: wait for `writable`
   * and send again. A message longer than the whole queue is accepted while the queue is empty.
   * Within a call of the lane's handler `receiveBytes` more are accepted, since the next call
   * waits until half of the queue is free. `spareBytes` of the queue are left free, for messages
   * that are sent without.
   */
  readonly send: (bytes: Uint8Array, spareBytes?: number) => SendStatus
  /** Waits until half of the send queue is free, and a refused message has room. */
  readonly writable: Effect.Effect<void, LaneError>
  /**
   * Waits for frames and takes all that are there. Frames of one read share memory, up to 256 KiB
   * and the longest frame: copy one that must live long. Fails when the lane has ended and its last
   * frame was taken. One empty array means that the peer has ended its side of a half-open lane;
   * after it, waits for the lane's end.
   */
  readonly take: Effect.Effect<ReadonlyArray<Uint8Array>, LaneError>
  /**
   * Passes every batch, of up to 64 frames, to a handler in the memory of its read: the fast path.
   * It replaces `take`. While more than `sendBytes` of the handler's answers wait for the peer,
   * frames wait too, and the reading stops when `receiveBytes` of them do.
   */
  readonly onFrames: (handler: (batch: FrameBatch) => void) => void
  /**
   * Passes batches to a handler as `onFrames` does, until the peer has ended its side and the
   * handler has had its last frame. Fails with the error that ended the lane unless either side has
   * closed it in order; an interrupt removes the handler.
   */
  readonly run: (handler: (batch: FrameBatch) => void) => Effect.Effect<void, LaneError>
  /** Ends this side after accepted bytes; the peer may go on sending. */
  readonly finish: Effect.Effect<void>
  /** Closes in order and waits until the socket is gone; the lane's Scope does the same. */
  readonly close: Effect.Effect<void>
  /** Closes at once and waits until the socket is gone. */
  readonly abort: Effect.Effect<void>
  /** Waits for the lane's one end. */
  readonly closed: Effect.Effect<LaneError>
  /** When bytes last came, in milliseconds since 1970, stamped where they were read. */
  readonly lastReceivedAt: Effect.Effect<number>
  readonly counts: Effect.Effect<Readonly<LaneCounts>>
}

/** Wraps a lane's handle. Private: lanes come from `IoPool`. */
export const make = (handle: LaneHandle): Lane => new CoreLane(handle)

/** Closes a lane in order and waits for its end. Private. */
export const close = (handle: LaneHandle): Effect.Effect<void> =>
  Effect.suspend(() => {
    handle.close()
    return ended(handle)
  })

/** Closes a lane at once and waits for its end. Private. */
export const abort = (handle: LaneHandle): Effect.Effect<void> =>
  Effect.suspend(() => {
    handle.abort()
    return ended(handle)
  })

const ended = (handle: LaneHandle): Effect.Effect<void> =>
  handle.end === undefined ? waitFor((wake) => handle.onEnd(wake)) : Effect.void

/** Waits for a callback; an interrupt cancels it. */
const waitFor = (on: (wake: () => void) => () => void): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const giveUp = on(() => resume(Effect.void))
    return Effect.sync(giveUp)
  })

/** The peer has ended its side of a half-open lane, or either side has closed the lane. */
const hasEndedInOrder = ({ end }: LaneHandle): boolean =>
  end === undefined ||
  (end.kind === "peer-closed" && end.missing === 0) ||
  (end.kind === "closed" && end.unsent === 0)

/** Effects are made on their first use: a storm of accepts pays for none of them. */
class CoreLane implements Lane {
  readonly #handle: LaneHandle
  /** A taker was notified that the peer has ended its side. */
  #hasToldEnd = false

  constructor(handle: LaneHandle) {
    this.#handle = handle
  }

  get peer() {
    return this.#handle.peer
  }

  send(bytes: Uint8Array, spareBytes?: number): SendStatus {
    return this.#handle.send(bytes, spareBytes)
  }

  onFrames(handler: (batch: FrameBatch) => void): void {
    this.#handle.onFrames(handler)
  }

  run(handler: (batch: FrameBatch) => void): Effect.Effect<void, LaneError> {
    const handle = this.#handle
    return Effect.suspend(() => {
      handle.onFrames(handler)
      return waitFor((wake) => handle.onServed(wake))
    }).pipe(
      Effect.andThen(
        Effect.suspend(() => (hasEndedInOrder(handle) ? Effect.void : this.#failed()))
      ),
      Effect.ensuring(Effect.sync(() => handle.onFrames(undefined)))
    )
  }

  get writable(): Effect.Effect<void, LaneError> {
    const handle = this.#handle
    return waitFor((wake) => handle.onWritable(wake)).pipe(
      Effect.andThen(
        Effect.suspend(() => (handle.operations.isOpen ? Effect.void : this.#failed()))
      )
    )
  }

  get take() {
    return this.#next()
  }

  get finish() {
    return Effect.sync(() => this.#handle.finish())
  }

  get close() {
    return close(this.#handle)
  }

  get abort() {
    return abort(this.#handle)
  }

  get closed() {
    return Effect.map(ended(this.#handle), () => this.#error())
  }

  get lastReceivedAt() {
    return Effect.sync(() => this.#handle.receivedAt)
  }

  get counts() {
    return Effect.sync(() => ({ ...this.#handle.counts }))
  }

  #next(): Effect.Effect<ReadonlyArray<Uint8Array>, LaneError> {
    const handle = this.#handle
    return Effect.suspend(() => {
      const frames = handle.takeBacklog()
      if (frames.length > 0) return Effect.succeed(frames)
      if (handle.end !== undefined || !handle.operations.isOpen) return this.#failed()
      if (handle.hasPeerEnded && !this.#hasToldEnd) {
        this.#hasToldEnd = true
        return Effect.succeed(frames)
      }
      const waiting = waitFor((wake) => handle.onBacklog(wake))
      return Effect.flatMap(waiting, () => this.#next())
    })
  }

  #failed(): Effect.Effect<never, LaneError> {
    return Effect.fail(this.#error())
  }

  #error(): LaneError {
    const { end, peer, unsent } = this.#handle
    const name = peer.address === "" ? "peer" : `${peer.address}:${peer.port}`
    const { stackTraceLimit } = Error
    // The trace would name the event loop, and cost as much as all the rest of a lane's end.
    Error.stackTraceLimit = 0
    try {
      return laneErrorOf(end ?? { kind: "closed", unsent }, name)
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  }
}

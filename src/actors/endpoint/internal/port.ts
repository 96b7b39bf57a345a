/** Connections to the handshake port: how many, how long, and how each ends. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { Listener } from "../../../native/IoPool.ts"
import type { Lane, LaneError } from "../../../native/Lane.ts"
import type { FrameFault, TextFault } from "../../../schema/mooncake/Fault.ts"
import { encode } from "../../../schema/mooncake/Frame.ts"
import * as Metrics from "../HandshakeMetrics.ts"
import type { Desk } from "./desk.ts"
import { type FrameCut, readFrame } from "./frames.ts"

export interface Limits {
  readonly answerWithin: number
  readonly connections: number
  readonly frameBytes: number
}

const counters = {
  answered: Metric.withAttributes(Metrics.connections, { outcome: "answered" }),
  refused: Metric.withAttributes(Metrics.connections, { outcome: "refused" }),
  expired: Metric.withAttributes(Metrics.connections, { outcome: "expired" }),
  hostile: Metric.withAttributes(Metrics.connections, { outcome: "hostile" }),
  gone: Metric.withAttributes(Metrics.connections, { outcome: "gone" }),
  failed: Metric.withAttributes(Metrics.connections, { outcome: "failed" })
}
type Outcome = keyof typeof counters

type Fault = FrameFault | TextFault | FrameCut | LaneError

/** What a connection counts as that was not answered. */
const outcomes: Readonly<Record<Fault["_tag"], Outcome>> = {
  // This side closed it, to make room.
  LaneClosed: "refused",
  FrameCut: "gone",
  PeerClosed: "gone",
  PeerReset: "gone",
  SlowPeer: "gone",
  FrameTooLong: "hostile",
  FrameEmpty: "hostile",
  UnknownFrameType: "hostile",
  BadJson: "hostile",
  Malformed: "hostile",
  FrameRefused: "failed",
  HandlerFailed: "failed",
  WorkerCrashed: "failed",
  PoolStopped: "failed"
}

export class Port {
  readonly #listener: Listener
  readonly #desk: Desk
  readonly #limits: Limits
  readonly #context: Context.Context<never>
  #open = 0
  /** Those whose request is not complete, the oldest first. */
  readonly #silent = new Set<Lane>()

  constructor(listener: Listener, desk: Desk, limits: Limits, context: Context.Context<never>) {
    this.#listener = listener
    this.#desk = desk
    this.#limits = limits
    this.#context = context
  }

  /** Accepts until the Scope closes; all connections end with it. */
  get open(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.flatMap(Effect.scope, (scope) => Effect.forkIn(this.#next(scope), scope))
  }

  /** Waits for a connection, and has its successor waited for before it is served. */
  #next(scope: Scope.Scope): Effect.Effect<void> {
    return Effect.scoped(
      Effect.flatMap(this.#listener.accept, (lane) =>
        Effect.andThen(Effect.forkIn(this.#next(scope), scope), this.#serve(lane))
      )
    )
  }

  #serve(lane: Lane): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#open += 1
      const since = performance.now()
      return Effect.map(this.#outcome(lane), (outcome) => {
        counters[outcome].updateUnsafe(1, this.#context)
        if (outcome !== "answered") return
        Metrics.duration.updateUnsafe((performance.now() - since) / 1_000, this.#context)
      })
    }).pipe(Effect.ensuring(Effect.sync(() => void (this.#open -= 1))))
  }

  /** What has an answer is closed in order, with the Scope; everything else at once. */
  #outcome(lane: Lane): Effect.Effect<Outcome> {
    const without = (outcome: Outcome) => Effect.as(lane.abort, outcome)
    return this.#hasRoom.pipe(
      Effect.flatMap((hasRoom) => (hasRoom ? this.#answer(lane) : without("refused"))),
      Effect.timeoutOrElse({
        duration: this.#limits.answerWithin,
        orElse: () => without("expired")
      }),
      Effect.catch(({ _tag }) => without(outcomes[_tag])),
      Effect.catchDefect((defect) =>
        Effect.andThen(Effect.logError("a handshake failed", defect), without("failed"))
      ),
      Effect.ensuring(Effect.sync(() => this.#silent.delete(lane)))
    )
  }

  /** Whether there is a place, if need be that of whoever has been silent longest. */
  get #hasRoom(): Effect.Effect<boolean> {
    if (this.#open <= this.#limits.connections) return Effect.succeed(true)
    const [silent] = this.#silent
    if (silent === undefined) return Effect.succeed(false)
    this.#silent.delete(silent)
    return Effect.as(silent.abort, true)
  }

  #answer(lane: Lane): Effect.Effect<Outcome, Fault> {
    return Effect.gen({ self: this }, function* () {
      this.#silent.add(lane)
      const frame = yield* readFrame(lane, this.#limits.frameBytes)
      this.#silent.delete(lane)
      const { outcome, text } = yield* this.#desk.answer(frame, lane.peer)
      if (text === undefined) yield* lane.abort
      else lane.send(encode({ ...frame, text }))
      return outcome
    })
  }
}

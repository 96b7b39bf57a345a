/**
 * A loop that accepts connections and runs a handler for each of them, in a separate fiber and
 * Scope.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { Lane } from "../Lane.ts"
import { LaneError } from "../LaneError.ts"

/** The lanes of a server, which end when the Scope of the caller closes, all at the same time. */
export const laneScope: Effect.Effect<Scope.Scope, never, Scope.Scope> = Effect.flatMap(
  Effect.scope,
  (scope) => Scope.fork(scope, "parallel")
)

/** Accepts connections into a Scope until it closes. */
export const serveLanes = <E, R>(
  accept: Effect.Effect<Lane, never, Scope.Scope>,
  handler: (lane: Lane) => Effect.Effect<void, E, R>,
  lanes: Scope.Scope
): Effect.Effect<void, never, Exclude<R, Scope.Scope>> => {
  const next: Effect.Effect<void, never, Exclude<R, Scope.Scope>> = Effect.scoped(
    Effect.flatMap(accept, (lane) =>
      Effect.andThen(
        Effect.suspend(() => Effect.forkIn(next, lanes)),
        handled(lane, handler)
      )
    )
  )
  return Effect.asVoid(Effect.forkIn(next, lanes))
}

/** Runs a handler. A failure ends its lane only, which its Scope closes. */
const handled = <E, R>(lane: Lane, handler: (lane: Lane) => Effect.Effect<void, E, R>) =>
  Effect.catchCause(
    // A handler may throw before it returns an effect.
    Effect.suspend(() => handler(lane)),
    (cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
      const error = Result.getOrUndefined(Cause.findError(cause))
      const level = isOfPeer(error) ? "Debug" : "Error"
      const { address, port } = lane.peer
      return Effect.logWithLevel(level)("a lane's handler failed", cause).pipe(
        Effect.annotateLogs({ peer: `${address}:${port}` })
      )
    }
  )

/** Reasons that any peer can cause, at any rate: they are no failures of the server. */
const reasonsOfPeers: ReadonlySet<string> = new Set<LaneError["reason"]["_tag"]>([
  "PeerClosed",
  "PeerReset",
  "SlowPeer"
])

const isOfPeer = (error: unknown): boolean => {
  if (!(error instanceof LaneError)) return false
  const { reason } = error
  return reason._tag === "FrameRefused" ? !reason.isDefect : reasonsOfPeers.has(reason._tag)
}

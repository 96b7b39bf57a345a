/**
 * Calls a peer until it has answered. A call that fails is made again, and so is one that may be
 * lost: then both are under way, and the first answer counts.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { HandshakeError } from "../Handshake.ts"
import type { EndpointSettings } from "./settings.ts"

/** Pause after a call that failed. The peer may have taken it, and its reply was lost. */
const again = Schedule.spaced("100 millis")

const isTransient = (error: HandshakeError): boolean => error._tag === "HandshakeFailed"

/** Waits until the peer has been silent for that time. */
type Silence = (millis: number) => Effect.Effect<void>

/**
 * A peer is silent while it answers no call. One that answers others is only busy; a call that
 * waits for longer than for a peer to get ready may be lost all the same.
 */
export const silence = (
  answered: () => number,
  { readyWithinMs }: Pick<EndpointSettings, "readyWithinMs">
): Silence => {
  const silent = (millis: number, leftMs = readyWithinMs): Effect.Effect<void> =>
    Effect.suspend(() => {
      const before = answered()
      return Effect.flatMap(Effect.sleep(millis), () =>
        answered() === before || leftMs <= millis ? Effect.void : silent(millis, leftMs - millis)
      )
    })
  return (millis) => silent(millis)
}

/**
 * Calls until there is an answer, or a refusal; again after a failure, and after `silentMs` of
 * silence, twice as long each time. `late` begins when a call has failed and no other one is under
 * way: until then the peer may be busy with others.
 */
export const insist = <A>(
  call: Effect.Effect<A, HandshakeError>,
  silent: Silence,
  late: Effect.Effect<void, unknown>,
  silentMs: number
): Effect.Effect<A, HandshakeError, Scope.Scope> => {
  let underWay = 0
  let isLate = false
  const begin = Effect.suspend(() => {
    if (isLate || underWay > 0) return Effect.void
    isLate = true
    return Effect.forkScoped(late)
  })
  const called = Effect.acquireUseRelease(
    Effect.sync(() => void (underWay += 1)),
    () => call,
    () => Effect.sync(() => void (underWay -= 1))
  )
  const answered = called.pipe(
    Effect.tapError((error) => (isTransient(error) ? begin : Effect.void)),
    Effect.retry({ schedule: again, while: isTransient })
  )
  const all = (millis: number): typeof answered =>
    Effect.raceFirst(
      answered,
      Effect.andThen(silent(millis), () => all(2 * millis))
    )
  return all(silentMs)
}

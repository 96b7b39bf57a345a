/**
 * Gives epochs up, and notifies their peers. A peer is notified once, in the background: without a
 * notice it would learn the same from failing work, only later.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { Endpoint } from "../Endpoint.ts"
import type { EndReason } from "../EndpointEvent.ts"
import type { Farewell, Handshakes } from "../Handshake.ts"

/**
 * For one notice, with its wait for a permit. A peer that does not answer learns it from its work.
 */
const within = "5 seconds"
/** For all notices when the endpoints are closed: the program should not be delayed. */
const withinAtEnd = "1 second"
/** Notices at the same time. A port that fails may have thousands of peers. */
const atOnce = 64

export interface Leaving {
  /** Ends that epoch, unless it has ended, and notifies the peer. */
  readonly retire: (
    spawning: Fiber.Fiber<Endpoint, unknown>,
    what: { readonly epoch: Epoch; readonly reason: EndReason; readonly detail: string }
  ) => Effect.Effect<void>
  /** Notifies a peer of an epoch that has ended. */
  readonly say: (farewell: Farewell) => void
  /** Waits until all notices are sent, or their deadline is over. */
  readonly said: Effect.Effect<void>
}

export const makeLeaving = Effect.fnUntraced(function* (
  handshakes: typeof Handshakes.Service
): Effect.fn.Return<Leaving, never, Scope.Scope> {
  const calls = yield* FiberSet.make<void>()
  const run = yield* FiberSet.runtime(calls)()
  const turns = Semaphore.makeUnsafe(atOnce)
  const say: Leaving["say"] = (farewell) => {
    const call = turns.withPermits(1)(handshakes.farewell(farewell))
    run(Effect.ignore(Effect.timeout(call, within)))
  }
  return {
    retire: (spawning, what) =>
      Fiber.join(spawning).pipe(
        Effect.flatMap(({ ask }) => ask.Retire(what)),
        Effect.map((farewell) => farewell !== undefined && say(farewell)),
        Effect.ignore
      ),
    say,
    said: Effect.ignore(
      Effect.timeout(Effect.interruptible(FiberSet.awaitEmpty(calls)), withinAtEnd)
    )
  }
})

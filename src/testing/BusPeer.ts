/**
 * Members of a cluster bus that misbehave, on real sockets: for tests of this library, and of
 * whatever else speaks that bus.
 *
 * ```ts
 * const peer = yield* BusPeer.start("slow", { to: { host: "127.0.0.1", port: 16379 } })
 * ```
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type PeerOptions, ScriptedPeer } from "./internal/bus/scriptedPeer.ts"
import { scripts } from "./internal/bus/scripts.ts"

export { malformed, type Malformed } from "./internal/bus/malformed.ts"
export type { PeerEvent, PeerLink, PeerOptions, Script } from "./internal/bus/scriptedPeer.ts"
export { ScriptedPeer } from "./internal/bus/scriptedPeer.ts"
export { scripts } from "./internal/bus/scripts.ts"

/** The names of the scripts. */
export type Name = keyof typeof scripts

export const names = Object.keys(scripts) as ReadonlyArray<Name>

/** The peer's own port could not be opened. */
export class PeerNotStarted extends Schema.TaggedError<PeerNotStarted>(
  "handfast/testing/PeerNotStarted"
)("PeerNotStarted", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** Starts a peer, which ends with the Scope. */
export const start = (
  name: Name,
  options: PeerOptions
): Effect.Effect<ScriptedPeer, PeerNotStarted, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const peer = new ScriptedPeer(scripts[name], options)
        await peer.start()
        return peer
      },
      catch: (cause) => new PeerNotStarted({ detail: String(cause) })
    }),
    (peer) => Effect.sync(() => peer.stop())
  )

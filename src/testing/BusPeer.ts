/**
 * Members of a cluster bus that misbehave, on real sockets: for tests of this library, and of
 * whatever else speaks that bus.
 *
 * ```ts
 * const peer = yield* BusPeer.start("slow", { to: { host: "127.0.0.1", port: 16379 } })
 * ```
 */
import * as Effect from "effect/Effect"
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

/** Starts a peer, which ends with the Scope. Fails if its own port cannot be opened. */
export const start = (
  name: Name,
  options: PeerOptions
): Effect.Effect<ScriptedPeer, Error, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const peer = new ScriptedPeer(scripts[name], options)
        await peer.start()
        return peer
      },
      catch: (cause) => (cause instanceof Error ? cause : new Error(String(cause)))
    }),
    (peer) => Effect.sync(() => peer.stop())
  )

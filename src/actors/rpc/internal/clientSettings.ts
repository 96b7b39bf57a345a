/** Settings of a client, with their defaults; what cannot hold together is refused. */
import * as Effect from "effect/Effect"
import type { Address } from "../../../native/verbs/Connection.ts"
import type { Program } from "../RpcProgram.ts"
import { SettingsConflict } from "../RpcError.ts"
import type { Depths } from "./epoch.ts"
import { given, validateNumbers } from "./settings.ts"

export interface ClientOptions {
  readonly to: Address
  readonly program: number
  readonly version: number
  /** The device to connect through. Default: the one that leads to the responder. */
  readonly device?: string | undefined
  /** Calls in flight at most. Default 64, what Linux's server grants. */
  readonly credits?: number | undefined
  /**
   * The longest message that is sent and received without a chunk, a multiple of 1024 bytes.
   * Default 4096, what Linux uses.
   */
  readonly inlineBytes?: number | undefined
  /** Programs that the responder may call in the reverse direction. Default: none. */
  readonly reverse?: ReadonlyArray<Program> | undefined
  /** Calls of the responder that are taken at once, if there are such programs. Default 16. */
  readonly reverseCalls?: number | undefined
  /** Memory lent to the responder at most. Default 64 MiB: 64 calls of 1 MiB. */
  readonly memoryBytes?: number | undefined
  /** Time for a connection to be made. Default 10 s: a listener may have a full backlog. */
  readonly connectWithinMs?: number | undefined
  /**
   * A call without a reply for so long leads to a NULL call, which asks whether the peer lives;
   * a slow handler is waited for. It doubles with each connection that is given up. Default 10 s.
   */
  readonly overdueAfterMs?: number | undefined
  /**
   * A connection without calls asks so long after the last reply whether the peer lives. Default
   * 30 s: a server that has vanished is noticed before the next call, at the price of two messages.
   */
  readonly keepAliveAfterMs?: number | undefined
  /** Time for the reply to a NULL call; without it the connection is replaced. Default 5 s. */
  readonly probeWithinMs?: number | undefined
  /**
   * How long an interrupted call may keep its credit; then the connection is replaced. Default
   * 30 s: cheap as long as few handlers are that slow.
   */
  readonly zombieWithinMs?: number | undefined
  /** The pause before the first reconnect. Default 50 ms. */
  readonly firstPauseMs?: number | undefined
  /** No pause is longer. Default 30 s, as in Linux. */
  readonly longestPauseMs?: number | undefined
  /**
   * Sends calls that are not idempotent again to a responder that names no incarnation. Only a
   * duplicate request cache there keeps them from being executed twice. Default: false.
   */
  readonly trustsForeignCache?: boolean | undefined
}

export type ClientSettings = {
  readonly [K in keyof ClientOptions]-?: NonNullable<ClientOptions[K]>
}

const defaults = {
  device: "",
  credits: 64,
  inlineBytes: 4_096,
  reverse: [],
  reverseCalls: 16,
  memoryBytes: 64 << 20,
  connectWithinMs: 10_000,
  overdueAfterMs: 10_000,
  keepAliveAfterMs: 30_000,
  probeWithinMs: 5_000,
  zombieWithinMs: 30_000,
  firstPauseMs: 50,
  longestPauseMs: 30_000,
  trustsForeignCache: false
}

/** Fills the defaults in. */
export const resolve = Effect.fnUntraced(function* (
  options: ClientOptions
): Effect.fn.Return<ClientSettings, SettingsConflict> {
  const settings = { ...defaults, ...given(options) } as ClientSettings
  yield* validateNumbers(settings)
  if (settings.memoryBytes < settings.inlineBytes) {
    const detail = "no call longer than inline could be made"
    return yield* new SettingsConflict({ settings: ["memoryBytes", "inlineBytes"], detail })
  }
  return settings
})

/** Calls of the responder that are taken at once. */
export const offeredBy = ({ reverse, reverseCalls }: ClientSettings): number =>
  reverse.length === 0 ? 0 : reverseCalls

/** One Receive for each call; a Send for each call and one for each probe that is out. */
export const depthsOf = (settings: ClientSettings): Depths => ({
  receives: settings.credits + offeredBy(settings),
  sends: settings.credits + 1 + offeredBy(settings),
  transfers: 0,
  inlineBytes: settings.inlineBytes
})

/** Completions that one connection may have waiting. */
export const completionsOf = (settings: ClientSettings): number => {
  const { receives, sends } = depthsOf(settings)
  return receives + sends
}

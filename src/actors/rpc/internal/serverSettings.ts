/** Settings of a server, with their defaults; what cannot hold together is refused. */
import * as dns from "node:dns/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Unreachable } from "../../../native/verbs/VerbsError.ts"
import * as Address from "../../../schema/Address.ts"
import type { Store } from "../../kernel/Journal.ts"
import * as Peers from "../../link/Peers.ts"
import { SettingsConflict } from "../RpcError.ts"
import type { Depths } from "./epoch.ts"
import { given, validateNumbers } from "./settings.ts"
import type { Program } from "../RpcProgram.ts"
import { isCallable } from "./callable.ts"

/**
 * Names the principal of a connection, by the peer's address and private data; undefined refuses
 * it, and so do a failure, a defect and an answer that takes too long.
 */
export type Admit = (
  host: string,
  privateData: Uint8Array
) => Effect.Effect<string | undefined, unknown>

export interface ServerOptions {
  readonly programs: ReadonlyArray<Program>
  /** The device to serve on. Default: the one that has `host`. */
  readonly device?: string | undefined
  /** An address of the device, or `"*"` for all of them. Default: loopback. */
  readonly host?: string | undefined
  /** Default: one that is free. */
  readonly port?: number | undefined
  /**
   * Whom to serve: addresses, networks, or names, which are looked up every 30 seconds. Others are
   * refused before `admit` is asked. The principal is the peer's address unless `admit` names it.
   */
  readonly peers?: ReadonlyArray<string> | undefined
  /** Decides about each connection: of `peers`, or else of everyone who calls. */
  readonly admit?: Admit | undefined
  /** Serves everyone who calls. */
  readonly open?: true | undefined
  /** Credits granted to each connection at first. Default 64, as Linux's server. */
  readonly credits?: number | undefined
  /** The most that is ever granted to a connection: it sizes the queues. Default 64. */
  readonly maxCredits?: number | undefined
  /** The longest message sent and received without a chunk. Default 4096, what Linux uses. */
  readonly inlineBytes?: number | undefined
  /** Bytes that the read chunks of one call bring at most. Default 4 MiB. */
  readonly maxCallBytes?: number | undefined
  /** Reads and writes of one connection that are posted at once. Default 64. */
  readonly maxSegments?: number | undefined
  /** Calls to one client that are out at once, if it takes as many. Default 16. */
  readonly maxReverseCalls?: number | undefined
  /** Bytes of registered memory for chunks, over all connections. Default 64 MiB. */
  readonly memoryBytes?: number | undefined
  /** Bytes of it for one connection. Default 16 MiB: four of the largest calls. */
  readonly maxBytesPerConnection?: number | undefined
  /** Replies kept for one client. Default 1 MiB: thousands of small ones. */
  readonly maxCacheBytes?: number | undefined
  /** Clients whose calls are remembered; those with a connection are in any case. Default 1024. */
  readonly maxClients?: number | undefined
  /**
   * Handlers under way, over all clients. Default 8192: 64 for each of 128 connections. Beyond it
   * the oldest one whose connection is lost is interrupted for a new call; if there is none, the
   * call is refused by SYSTEM_ERR and not executed.
   */
  readonly maxHandlers?: number | undefined
  /**
   * Those of one client, in the same way. Default 128: the calls of a lost connection, and those of
   * the next one.
   */
  readonly maxHandlersPerClient?: number | undefined
  /**
   * Stores calls and their answers, so that a call is executed at most once over the lives of the
   * server too, at the price of two appends for each call that is not idempotent. Default: none,
   * and a client of a server that was replaced hears that the outcome of its calls is unknown.
   */
  readonly journal?: Store | undefined
  /** The name of their history in the journal, one for each server. Default `"rpc-replies"`. */
  readonly history?: string | undefined
  /** Connections that have made a valid call. Default 128. */
  readonly maxConnections?: number | undefined
  /** Connections without a valid call. Default 128, as many as those that have made one. */
  readonly maxUnproven?: number | undefined
  /** Those of one address. Default 64: one host alone leaves room for others. */
  readonly maxUnprovenPerHost?: number | undefined
  /** Time for `admit`. Default 5 s: half of what a caller waits. */
  readonly admitWithinMs?: number | undefined
  /** Time for a connection to be accepted. Default 10 s, as a caller waits. */
  readonly acceptWithinMs?: number | undefined
  /** Time until the first valid call. Default 10 s: clients send one at once. */
  readonly unprovenWithinMs?: number | undefined
  /**
   * A connection that brings no message for so long, while no call is under way on it, is ended.
   * Default 5 min, as Linux's client: one of this library says something every 30 s.
   */
  readonly idleWithinMs?: number | undefined
  /**
   * Time for a client that has lost its connection to come back; then calls to it fail. Default
   * 60 s: twice the longest pause between two connects.
   */
  readonly returnWithinMs?: number | undefined
  /** Time for running calls to end when the server is closed. Default 5 s. */
  readonly closeWithinMs?: number | undefined
  /** Connection requests that wait to be taken. Default 128, as in sockets. */
  readonly backlog?: number | undefined
  /** Places of the completion queue that all connections share. Default 32,768. */
  readonly completions?: number | undefined
}

export type ServerSettings = {
  readonly [K in keyof Omit<ServerOptions, "open" | "peers" | "journal">]-?: NonNullable<
    ServerOptions[K]
  >
} & {
  readonly journal: Store | undefined
  /** Whether callers at an address are heard at all. */
  readonly hears: (host: string) => boolean
}

const defaults = {
  device: "",
  host: "127.0.0.1",
  port: 0,
  credits: 64,
  maxCredits: 64,
  inlineBytes: 4_096,
  maxCallBytes: 4 << 20,
  maxSegments: 64,
  maxReverseCalls: 16,
  memoryBytes: 64 << 20,
  maxBytesPerConnection: 16 << 20,
  maxCacheBytes: 1 << 20,
  maxClients: 1_024,
  journal: undefined,
  history: "rpc-replies",
  maxHandlers: 8_192,
  maxHandlersPerClient: 128,
  maxConnections: 128,
  maxUnproven: 128,
  maxUnprovenPerHost: 64,
  admitWithinMs: 5_000,
  acceptWithinMs: 10_000,
  unprovenWithinMs: 10_000,
  idleWithinMs: 300_000,
  returnWithinMs: 60_000,
  closeWithinMs: 5_000,
  backlog: 128,
  completions: 32_768
}

const byAddress: Admit = (host) => Effect.succeed(host)

const lookup: Peers.Lookup = (server) =>
  Effect.map(
    Effect.tryPromise({
      try: () => dns.lookup(Address.parse(server, 1)!.host, { all: true }),
      catch: (error) => new Unreachable({ peer: server, step: "address", detail: String(error) })
    }),
    (found) => found.map(({ address }) => address)
  )

const rule = "say whom the server serves: `peers`, `admit`, or `open: true` for everyone"

/** Reads which callers are heard. Nobody is by default. */
const heard = ({
  admit,
  open,
  peers
}: ServerOptions): Effect.Effect<ServerSettings["hears"], Peers.PeersRefused, Scope.Scope> => {
  const isNobody = peers?.length === 0 && open === undefined
  if (isNobody || (peers === undefined && open === undefined && admit === undefined)) {
    return Effect.fail(new Peers.PeersRefused({ given: "no peers", rule }))
  }
  if (peers === undefined && open === undefined) return Effect.succeed(() => true)
  return Effect.map(
    Peers.serve({ peers, open }, lookup, false),
    (served) => (host) => served.admitsAddress(host)
  )
}

/** Describes programs that no call can tell apart, or can reach. */
const faultOf = (programs: ReadonlyArray<Program>): string | undefined => {
  if (programs.length === 0) return "there is none to serve"
  const names = programs.map(({ program, version }) => `program ${program} version ${version}`)
  const wrong = programs.findIndex(
    ({ program, version }) => !isCallable(program) || !isCallable(version)
  )
  if (wrong >= 0) return `no call names ${names[wrong]}`
  const twice = names.find((name, index) => names.indexOf(name) < index)
  return twice && `${twice} is there twice`
}

/** Fills the defaults in. */
export const resolve = Effect.fnUntraced(function* (
  options: ServerOptions
): Effect.fn.Return<ServerSettings, SettingsConflict | Peers.PeersRefused, Scope.Scope> {
  const hears = yield* heard(options)
  const settings = { ...defaults, admit: byAddress, ...given(options), hears } as ServerSettings
  const conflict = (names: ReadonlyArray<keyof ServerOptions>, detail: string) =>
    new SettingsConflict({ settings: names, detail })
  const fault = faultOf(settings.programs)
  if (fault !== undefined) return yield* conflict(["programs"], fault)
  yield* validateNumbers(settings)
  const { completions, credits, maxCredits, maxReverseCalls, maxSegments } = settings
  if (credits > maxCredits) {
    return yield* conflict(["credits", "maxCredits"], `${credits} of at most ${maxCredits}`)
  }
  if (settings.maxBytesPerConnection > settings.memoryBytes) {
    return yield* conflict(["maxBytesPerConnection", "memoryBytes"], "one connection has more")
  }
  // Memory is lent in powers of two.
  if (2 ** Math.ceil(Math.log2(settings.maxCallBytes)) > settings.maxBytesPerConnection) {
    return yield* conflict(["maxCallBytes", "maxBytesPerConnection"], "a call has more")
  }
  const { maxHandlers, maxHandlersPerClient } = settings
  if (!(maxHandlersPerClient >= maxCredits && maxHandlers >= maxHandlersPerClient)) {
    const detail = "the calls of one connection may all be under way"
    return yield* conflict(["maxHandlers", "maxHandlersPerClient", "maxCredits"], detail)
  }
  // Each connection may have all its places in use at once; one without a call has two.
  const { maxConnections, maxUnproven } = settings
  const places =
    maxConnections * (2 * (maxCredits + 2 + maxReverseCalls) + maxSegments) + 2 * maxUnproven
  if (places > completions) {
    const detail = `${places} requests may be posted at once`
    return yield* conflict(["completions", "maxConnections"], detail)
  }
  return settings
})

/** Places of the queues of one connection. */
export const depthsOf = ({
  inlineBytes,
  maxCredits,
  maxReverseCalls,
  maxSegments
}: ServerSettings): Depths => ({
  // A reply promises so many Receives beyond those that the calls before it took.
  receives: maxCredits + 2 + maxReverseCalls,
  sends: maxCredits + 2 + maxReverseCalls,
  transfers: maxSegments,
  inlineBytes
})

/**
 * One call to a peer's handshake port: a connection, one frame each way.
 *
 * A peer's address is resolved for each call and not kept, so a peer that has moved is found by the
 * next call.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as dns from "node:dns/promises"
import { isIP } from "node:net"
import { checkRanges, millis, whole } from "../../../../native/io/settingRanges.ts"
import type { SettingsRefused } from "../../../../native/io/PoolError.ts"
import { IoPool, type TlsSettings } from "../../../../native/io/IoPool.ts"
import { defaultLimit, encode, type FrameType } from "../../../../schema/mooncake/Frame.ts"
import type { Address } from "../../../../schema/Address.ts"
import * as NicPath from "../../../../schema/mooncake/NicPath.ts"
import { HandshakeFailed } from "../../Handshake.ts"
import { Bounds, type Call, exchange, exchangeSecurely, type Failure } from "./exchange.ts"

/** Settings of calls to peers. */
export interface Options {
  /** TLS in the pool's workers. Default: none, as Mooncake does. */
  readonly tls?: TlsSettings | undefined
  /** Milliseconds for one address to accept. Default 5 s, as Mooncake waits. */
  readonly connectWithinMs?: number | undefined
  /**
   * Milliseconds for the answer. Default 60 s, as Mooncake waits: it serves one call after the
   * other, and a call that is abandoned stays in its queue.
   */
  readonly answerWithinMs?: number | undefined
  /**
   * Calls to one server at the same time. Default 4: enough for a peer that serves them together,
   * few enough to be answered in time by a peer that does not.
   */
  readonly callsPerServer?: number | undefined
  /** Bytes of an answer. Default 1 MiB, Mooncake's limit. */
  readonly frameBytes?: number | undefined
  /**
   * Address of a server, for example from a metadata service. Asked for each call. Default: from
   * its name, `host`, `host:port` or `[address]:port`.
   */
  readonly locate?: ((server: string) => Effect.Effect<Address, unknown>) | undefined
  /** Whether a server may be called. Default: always. */
  readonly mayCall?: ((server: string) => boolean) | undefined
}

export const defaults = {
  connectWithinMs: 5_000,
  answerWithinMs: 60_000,
  callsPerServer: 4,
  frameBytes: defaultLimit
}

/** Ranges of the settings. */
const ranges = {
  connectWithinMs: millis(1),
  answerWithinMs: millis(1),
  callsPerServer: whole(1),
  frameBytes: whole(1)
}

/** Servers whose addresses for calls are remembered: as many as an engine has peers. */
const mostNames = 65_536

/** Addresses of one name that are tried: more would take longer than any caller waits. */
const mostAddresses = 8

const byName = (server: string) => Effect.fromResult(NicPath.address({ server, nic: "any" }))

const decodeAddress = Schema.decodeUnknownEffect(
  Schema.Struct({
    host: Schema.NonEmptyString,
    port: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_535 }))
  })
)

const unresolved = (error: unknown): Failure => ({ step: "resolve", detail: textOf(error) })

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export const failed = (
  peer: string,
  step: HandshakeFailed["step"],
  detail: unknown
): HandshakeFailed => new HandshakeFailed({ peer, step, detail: textOf(detail) })

/**
 * The names by which servers were asked for their descriptors. A server that binds RDMA to another
 * address names its NICs by that, but listens where it was asked.
 */
class Names {
  readonly #asked = new Map<string, string>()

  /** A peer that was asked as `asked` names its NICs by `server`. */
  learn(server: string, asked: string): void {
    // No other peer can claim the name of a server that was found under it.
    if (this.#asked.get(server) === server && asked !== server) return
    this.#asked.delete(server)
    this.#asked.set(server, asked)
    const [oldest = server] = this.#asked.keys()
    if (this.#asked.size > mostNames) this.#asked.delete(oldest)
  }

  nameOf(server: string): string {
    return this.#asked.get(server) ?? server
  }
}

export class Caller {
  readonly names = new Names()
  readonly #pool: IoPool["Service"]
  readonly #options: Options
  readonly #bounds: Bounds

  private constructor(pool: IoPool["Service"], options: Options, bounds: Bounds) {
    this.#pool = pool
    this.#options = options
    this.#bounds = bounds
  }

  /** Makes a caller whose calls end with the Scope. */
  static readonly make = (
    options: Options
  ): Effect.Effect<Caller, SettingsRefused, IoPool | Scope.Scope> =>
    Effect.gen(function* () {
      yield* checkRanges(options, ranges)
      const {
        answerWithinMs = defaults.answerWithinMs,
        callsPerServer = defaults.callsPerServer,
        connectWithinMs = defaults.connectWithinMs,
        frameBytes = defaults.frameBytes
      } = options
      const limits = { answerWithinMs, callsPerServer, connectWithinMs, frameBytes }
      return new Caller(yield* IoPool, options, yield* Bounds.make(limits))
    })

  /** See `Turns.answeredBy`. */
  answeredBy(server: string): number {
    return this.#bounds.turns.answeredBy(server)
  }

  mayCall(server: string): boolean {
    return this.#options.mayCall?.(server) !== false
  }

  /** The text of the answer, which must be a frame of the same type. */
  call(
    server: string,
    peer: string,
    type: FrameType,
    text: string,
    isUrgent = false
  ): Effect.Effect<string, HandshakeFailed> {
    if (!this.mayCall(server)) {
      return Effect.fail(failed(peer, "resolve", "it is not one of the peers of this node"))
    }
    const frame = encode({ type, framing: "typed", text })
    return this.addressesOf(server).pipe(
      Effect.flatMap((addresses) => this.#firstOf(addresses, { server, frame, isUrgent })),
      Effect.mapError(({ detail, step }) => failed(peer, step, detail)),
      Effect.flatMap((answer) =>
        answer.type === type && answer.framing === "typed"
          ? Effect.succeed(answer.text)
          : Effect.fail(failed(peer, "protocol", "another type of frame"))
      )
    )
  }

  /** Resolves the present addresses of a server. */
  addressesOf(server: string): Effect.Effect<ReadonlyArray<Address>, Failure> {
    return Effect.flatMap(this.#placeOf(server), ({ host, port }) => {
      if (isIP(host) !== 0) return Effect.succeed([{ host, port }])
      const found = Effect.tryPromise({
        try: () => dns.lookup(host, { all: true }),
        catch: unresolved
      })
      return Effect.map(this.#inTime(found), (all) =>
        all.map(({ address }) => ({ host: address, port }))
      )
    })
  }

  /** A program's `locate` may throw, or return an invalid address. */
  #placeOf(server: string): Effect.Effect<Address, Failure> {
    const { locate } = this.#options
    if (locate === undefined) return Effect.mapError(byName(server), unresolved)
    const located = Effect.catchDefect(
      Effect.suspend(() => locate(server)),
      Effect.fail
    )
    const checked = Effect.flatMap(located, (address) => decodeAddress(address))
    return this.#inTime(Effect.mapError(checked, unresolved))
  }

  #inTime<A>(found: Effect.Effect<A, Failure>): Effect.Effect<A, Failure> {
    const duration = this.#bounds.limits.connectWithinMs
    const orElse = () => Effect.fail(unresolved(`nothing within ${duration} ms`))
    return Effect.timeoutOrElse(found, { duration, orElse })
  }

  /** Tries one address after the other until one accepts. */
  #firstOf(addresses: ReadonlyArray<Address>, call: Omit<Call, "to">) {
    const [first, ...others] = addresses
      .slice(0, mostAddresses)
      .map((to) => this.#exchange(Object.assign({ to }, call)))
    if (first === undefined) {
      return Effect.fail(unresolved("it has no address"))
    }
    return others.reduce(
      (tried, next) =>
        Effect.catch(tried, (error) => (error.step === "connect" ? next : Effect.fail(error))),
      first
    )
  }

  #exchange(call: Call) {
    const { tls } = this.#options
    return tls === undefined
      ? exchange(call, this.#bounds)
      : exchangeSecurely(this.#pool, tls, call, this.#bounds)
  }
}

/**
 * One call to a peer's handshake port: a connection, one frame each way.
 *
 * Where a peer listens is looked up for each call, and nothing of it is kept: a peer that moved is
 * found by the next call.
 */
import * as Effect from "effect/Effect"
import * as dns from "node:dns/promises"
import { isIP } from "node:net"
import { octets } from "../../../native/Framer.ts"
import type { IoPool } from "../../../native/IoPool.ts"
import type { TlsSettings } from "../../../native/lanes/jobs.ts"
import type { OpenFailed } from "../../../native/OpenFailed.ts"
import { defaultLimit, encode, type FrameType } from "../../../schema/mooncake/Frame.ts"
import * as NicPath from "../../../schema/mooncake/NicPath.ts"
import { HandshakeFailed } from "../Handshake.ts"
import { readFrame } from "./frames.ts"

/** How peers are called. */
export interface Options {
  /** TLS in the pool's workers. Default: none, as Mooncake does. */
  readonly tls?: TlsSettings | undefined
  /** Milliseconds for one address to accept. Default 5 s, as Mooncake waits. */
  readonly connectWithin?: number | undefined
  /**
   * Milliseconds for the answer. Default 5 s, where Mooncake waits 60 s: an answer takes
   * milliseconds, and whoever waits for it had better ask again than wait for what was lost.
   */
  readonly answerWithin?: number | undefined
  /** Octets of an answer. Default 1 MiB, Mooncake's own limit. */
  readonly frameBytes?: number | undefined
  /**
   * Where a server listens, for example by a metadata service. Asked for each call.
   * Default: its name says it, `host`, `host:port` or `[address]:port`.
   */
  readonly locate?: ((server: string) => Effect.Effect<NicPath.Address, unknown>) | undefined
}

/** Addresses of one name that are tried: more of them would take longer than anybody waits. */
const mostAddresses = 8

const byName = (server: string) => Effect.fromResult(NicPath.address({ server, nic: "any" }))

export const failed = (
  peer: string,
  step: HandshakeFailed["step"],
  detail: unknown
): HandshakeFailed => {
  const text = detail instanceof Error ? detail.message : String(detail)
  return new HandshakeFailed({ peer, step, detail: text })
}

export class Caller {
  readonly #pool: IoPool["Service"]
  readonly #options: Options

  constructor(pool: IoPool["Service"], options: Options) {
    this.#pool = pool
    this.#options = options
  }

  /** The text of the answer, which must be a frame of the same type. */
  call(server: string, peer: string, type: FrameType, text: string) {
    return Effect.gen({ self: this }, function* () {
      const frame = encode({ type, framing: "typed", text })
      const addresses = yield* this.#addressesOf(server, peer)
      const answer = yield* this.#firstOf(addresses, peer, frame)
      if (answer.type === type && answer.framing === "typed") return answer.text
      return yield* failed(peer, "protocol", "another type of frame")
    })
  }

  #addressesOf(server: string, peer: string) {
    const { connectWithin = 5_000, locate = byName } = this.#options
    const found = Effect.flatMap(locate(server), ({ host, port }) => {
      if (isIP(host) !== 0) return Effect.succeed([{ host, port }])
      return Effect.tryPromise({
        try: () => dns.lookup(host, { all: true }),
        catch: (error) => error
      }).pipe(Effect.map((all) => all.map(({ address }) => ({ host: address, port }))))
    })
    return found.pipe(
      Effect.mapError((error) => failed(peer, "resolve", error)),
      Effect.timeoutOrElse({
        duration: connectWithin,
        orElse: () => Effect.fail(failed(peer, "resolve", `nothing within ${connectWithin} ms`))
      })
    )
  }

  /** Tries one address after the other until one accepts. */
  #firstOf(addresses: ReadonlyArray<NicPath.Address>, peer: string, frame: Uint8Array) {
    const [first, ...others] = addresses
      .slice(0, mostAddresses)
      .map((address) => this.#exchange(address, peer, frame))
    if (first === undefined) return Effect.fail(failed(peer, "resolve", "it has no address"))
    return others.reduce(
      (tried, next) =>
        Effect.catch(tried, (error) => (error.step === "connect" ? next : Effect.fail(error))),
      first
    )
  }

  /** Sends a frame and reads one. The connection is closed at once: its answer is here. */
  #exchange(to: NicPath.Address, peer: string, frame: Uint8Array) {
    const { answerWithin = 5_000, frameBytes = defaultLimit } = this.#options
    return Effect.gen({ self: this }, function* () {
      const lane = yield* this.#connect(to, peer)
      lane.send(frame)
      const answer = yield* readFrame(lane, frameBytes).pipe(
        Effect.mapError((error) => failed(peer, stepOf(error), error)),
        Effect.timeoutOrElse({
          duration: answerWithin,
          orElse: () => Effect.fail(failed(peer, "answer", `none within ${answerWithin} ms`))
        }),
        Effect.ensuring(lane.abort)
      )
      return answer
    }).pipe(Effect.scoped)
  }

  #connect(to: NicPath.Address, peer: string) {
    const { connectWithin = 5_000, tls } = this.#options
    const secured = tls === undefined ? {} : { tls }
    return this.#pool
      .connect({ framer: octets, to, on: tls === undefined ? "main" : "worker", ...secured })
      .pipe(
        Effect.mapError((error: OpenFailed) => failed(peer, "connect", error)),
        Effect.timeoutOrElse({
          duration: connectWithin,
          orElse: () =>
            Effect.fail(failed(peer, "connect", `${to.host}:${to.port} did not accept in time`))
        })
      )
  }
}

/** A peer that ends too soon has not answered; one that says nonsense does not speak this. */
const stepOf = ({ _tag }: { readonly _tag: string }): "answer" | "protocol" =>
  _tag === "FrameTooLong" || _tag === "FrameEmpty" || _tag === "UnknownFrameType"
    ? "protocol"
    : "answer"

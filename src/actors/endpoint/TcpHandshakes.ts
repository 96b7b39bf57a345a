/**
 * Handshakes over TCP, as Mooncake does them: a connection for each call, one frame each way.
 *
 * Where a peer listens is looked up for each call, and nothing of it is kept: a peer that moved is
 * found by the next call.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as dns from "node:dns/promises"
import { isIP } from "node:net"
import { octets } from "../../native/Framer.ts"
import { IoPool } from "../../native/IoPool.ts"
import type { TlsSettings } from "../../native/lanes/jobs.ts"
import type { OpenFailed } from "../../native/OpenFailed.ts"
import * as Body from "../../schema/mooncake/Body.ts"
import { defaultLimit, encode, FrameType } from "../../schema/mooncake/Frame.ts"
import * as Wire from "../../schema/mooncake/Handshake.ts"
import * as NicPath from "../../schema/mooncake/NicPath.ts"
import {
  type HandshakeError,
  HandshakeFailed,
  Handshakes,
  type Offer,
  type Rejected
} from "./Handshake.ts"
import { readFrame } from "./internal/frames.ts"
import * as Mooncake from "./internal/mooncake.ts"

/**
 * @category models
 * @since 0.1.0
 */
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
   * Where the server of a path listens, for example by a metadata service. Asked for each call.
   * Default: its name says it, `host`, `host:port` or `[address]:port`.
   */
  readonly locate?: ((path: NicPath.NicPath) => Effect.Effect<NicPath.Address, unknown>) | undefined
}

/** Addresses of one name that are tried: more of them would take longer than anybody waits. */
const mostAddresses = 8

const byName = (path: NicPath.NicPath) => Effect.fromResult(NicPath.address(path))

const failed = (peer: string, step: HandshakeFailed["step"], detail: unknown): HandshakeFailed => {
  const text = detail instanceof Error ? detail.message : String(detail)
  return new HandshakeFailed({ peer, step, detail: text })
}

class Caller {
  readonly #pool: IoPool["Service"]
  readonly #options: Options

  constructor(pool: IoPool["Service"], options: Options) {
    this.#pool = pool
    this.#options = options
  }

  offer(offer: Offer): Effect.Effect<Offer, HandshakeError> {
    const { from, to } = offer
    return Effect.flatMap(this.#call({ _tag: "Offer", said: offer }), (answer) => {
      const found = Mooncake.offerIn(answer)
      if (found === undefined) return Effect.fail(failed(to, "protocol", "it is no reply"))
      if (found.from === to && found.to === from) return Effect.succeed(found)
      const detail = `${found.from} answers ${found.to} instead of ${from}`
      return Effect.fail(failed(to, "protocol", detail))
    })
  }

  /** Whatever the answer says besides, it is no rejection. */
  tell(message: Mooncake.Said): Effect.Effect<void, HandshakeError> {
    return Effect.asVoid(this.#call(message))
  }

  /** The answer, if it is not a rejection. */
  #call(message: Mooncake.Said) {
    const peer = message.said.to
    return Effect.gen({ self: this }, function* () {
      const call = Mooncake.callOf(message)
      if (Result.isFailure(call)) return yield* failed(peer, "resolve", call.failure)
      const text = Body.encode(Wire.toBody(call.success))
      const frame = encode({ type: FrameType.connection, framing: "typed", text })
      const addresses = yield* this.#addressesOf(call.success.receiver, peer)
      return yield* this.#answerIn(peer, yield* this.#firstOf(addresses, peer, frame))
    })
  }

  #addressesOf(path: NicPath.NicPath, peer: string) {
    const { connectWithin = 5_000, locate = byName } = this.#options
    const found = Effect.flatMap(locate(path), ({ host, port }) => {
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

  #answerIn(
    peer: string,
    { framing, text, type }: { framing: string; text: string; type: number }
  ) {
    const not = (detail: unknown) => Effect.fail(failed(peer, "protocol", detail))
    if (type !== FrameType.connection || framing !== "typed") return not("another type of frame")
    const answer = Result.flatMap(Body.decode(text), Wire.readAnswer)
    if (Result.isFailure(answer)) return not(answer.failure)
    const { success } = answer
    return success._tag === "Rejected"
      ? Effect.fail<Rejected>(Mooncake.rejectedBy(peer, success.reason))
      : Effect.succeed(success)
  }
}

/** A peer that ends too soon has not answered; one that says nonsense does not speak this. */
const stepOf = ({ _tag }: { readonly _tag: string }): "answer" | "protocol" =>
  _tag === "FrameTooLong" || _tag === "FrameEmpty" || _tag === "UnknownFrameType"
    ? "protocol"
    : "answer"

/**
 * What calls peers over TCP.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Handshakes, never, IoPool> =>
  Layer.effect(
    Handshakes,
    Effect.map(IoPool, (pool) => {
      const caller = new Caller(pool, options)
      return Handshakes.of({
        offer: (offer) => caller.offer(offer),
        acknowledge: (said) => caller.tell({ _tag: "Acknowledgement", said }),
        farewell: (said) => caller.tell({ _tag: "Farewell", said })
      })
    })
  )

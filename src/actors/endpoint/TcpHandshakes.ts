/**
 * Handshakes over TCP, as Mooncake does them: a connection for each call, one frame each way.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { IoPool } from "../../native/IoPool.ts"
import * as Body from "../../schema/mooncake/Body.ts"
import { FrameType } from "../../schema/mooncake/Frame.ts"
import * as Wire from "../../schema/mooncake/Handshake.ts"
import * as SegmentDescriptor from "../../schema/mooncake/SegmentDescriptor.ts"
import { Directory, NoDescription } from "./Directory.ts"
import { type HandshakeError, Handshakes, type Offer } from "./Handshake.ts"
import { Caller, failed, type Options } from "./internal/calling.ts"
import * as Mooncake from "./internal/mooncake.ts"
import { toDescription } from "./Segment.ts"

export type {
  /**
   * How peers are called.
   *
   * @category models
   * @since 0.1.0
   */
  Options
}

const offer = Effect.fnUntraced(function* (
  caller: Caller,
  offer: Offer
): Effect.fn.Return<Offer, HandshakeError> {
  const { from, to } = offer
  const found = Mooncake.offerIn(yield* say(caller, { _tag: "Offer", said: offer }))
  if (found === undefined) return yield* failed(to, "protocol", "it is no reply")
  if (found.from === to && found.to === from) return found
  return yield* failed(to, "protocol", `${found.from} answers ${found.to} instead of ${from}`)
})

/** The answer, if it is not a rejection. */
const say = Effect.fnUntraced(function* (caller: Caller, message: Mooncake.Said) {
  const peer = message.said.to
  const call = Mooncake.callOf(message)
  if (Result.isFailure(call)) return yield* failed(peer, "resolve", call.failure)
  const body = Body.encode(Wire.toBody(call.success))
  const { server } = call.success.receiver
  const text = yield* caller.call(server, peer, FrameType.connection, body)
  const answer = Result.flatMap(Body.decode(text), Wire.readAnswer)
  if (Result.isFailure(answer)) return yield* failed(peer, "protocol", answer.failure)
  const { success } = answer
  if (success._tag === "Rejected") return yield* Mooncake.rejectedBy(peer, success.reason)
  return success
})

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
      const tell = (message: Mooncake.Said) => Effect.asVoid(say(caller, message))
      return Handshakes.of({
        offer: (said) => offer(caller, said),
        acknowledge: (said) => tell({ _tag: "Acknowledgement", said }),
        farewell: (said) => tell({ _tag: "Farewell", said })
      })
    })
  )

/**
 * A directory without a directory: each peer is asked itself, at its handshake port. The name of a
 * peer is that of its server.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDirectory = (options: Options = {}): Layer.Layer<Directory, never, IoPool> =>
  Layer.effect(
    Directory,
    Effect.map(IoPool, (pool) => {
      const caller = new Caller(pool, options)
      return Directory.of({
        resolve: Effect.fnUntraced(function* (peer) {
          const text = yield* caller
            .call(peer, peer, FrameType.metadata, "{}\n")
            .pipe(
              Effect.mapError(
                ({ message }) => new NoDescription({ peer, reason: "unanswered", detail: message })
              )
            )
          const segment = SegmentDescriptor.decode(text)
          if (Result.isSuccess(segment)) return toDescription(segment.success)
          const { message: detail } = segment.failure
          return yield* new NoDescription({ peer, reason: "invalid", detail })
        })
      })
    })
  )

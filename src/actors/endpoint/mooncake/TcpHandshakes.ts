/** Handshakes over TCP, as Mooncake does them: a connection for each call, one frame each way. */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { SettingsRefused } from "../../../native/io/PoolError.ts"
import type { IoPool } from "../../../native/io/IoPool.ts"
import * as Body from "../../../schema/mooncake/Body.ts"
import { FrameType } from "../../../schema/mooncake/Frame.ts"
import * as Wire from "../../../schema/mooncake/Handshake.ts"
import * as NicPath from "../../../schema/mooncake/NicPath.ts"
import * as Notify from "../../../schema/mooncake/Notify.ts"
import * as Probe from "../../../schema/mooncake/Probe.ts"
import * as SegmentDescriptor from "../../../schema/mooncake/SegmentDescriptor.ts"
import { Directory, NoDescription } from "../../rdma/Directory.ts"
import { type HandshakeError, type HandshakeFailed, Handshakes, type Offer } from "../Handshake.ts"
import { Caller, defaults, failed, type Options } from "./internal/client.ts"
import * as Mooncake from "./internal/codec.ts"
import { serverOf, toDescription } from "../../rdma/Segment.ts"

export {
  /** How peers are called. */
  type Options,
  /** Default settings. */
  defaults
}

const offer = (caller: Caller, offer: Offer): Effect.Effect<Offer, HandshakeError> =>
  Effect.flatMap(say(caller, { _tag: "Offer", said: offer }), (answer) => {
    const { from, to } = offer
    const found = Mooncake.offerIn(answer)
    if (found === undefined) return Effect.fail(failed(to, "protocol", "it is no reply"))
    if (found.from === to && found.to === from) return Effect.succeed(found)
    const detail = `${found.from} answers ${found.to} instead of ${from}`
    return Effect.fail(failed(to, "protocol", detail))
  })

/** The answer, if it is not a rejection. */
const say = (
  caller: Caller,
  message: Mooncake.Said
): Effect.Effect<Wire.Answer, HandshakeError> => {
  const peer = message.said.to
  const call = Mooncake.callOf(message)
  if (Result.isFailure(call)) return Effect.fail(failed(peer, "resolve", call.failure))
  const body = Body.encode(Wire.toBody(call.success))
  const { server } = call.success.receiver
  return Effect.flatMap(
    // A peer that has connected its half waits only briefly for the acknowledgement.
    caller.call(
      caller.names.nameOf(server),
      peer,
      FrameType.connection,
      body,
      message._tag === "Acknowledgement"
    ),
    (text): Effect.Effect<Wire.Answer, HandshakeError> => {
      const answer = Result.flatMap(Body.decode(text), Wire.readAnswer)
      if (Result.isFailure(answer)) return Effect.fail(failed(peer, "protocol", answer.failure))
      const { success } = answer
      return success._tag === "Rejected"
        ? Effect.fail(Mooncake.rejectedBy(peer, success.reason))
        : Effect.succeed(success)
    }
  )
}

interface Callers {
  readonly caller: Caller
  readonly asker: Caller
}

const callersOf = (options: Options) =>
  Effect.all({ caller: Caller.make(options), asker: Caller.make(options) })

/** Asks for the process at a path. Offers wait for this call, so it has a separate limit. */
const instanceAt = Effect.fnUntraced(function* (caller: Caller, asker: Caller, path: string) {
  const found = NicPath.parse(path)
  if (Result.isFailure(found)) return yield* failed(path, "resolve", found.failure)
  const question = Probe.encode(Probe.whoIsThere)
  const server = caller.names.nameOf(found.success.server)
  const text = yield* asker.call(server, path, FrameType.probe, question)
  const answer = Probe.decode(text)
  return Result.isSuccess(answer) ? answer.success.instance : undefined
})

const handshakesOf = ({ asker, caller }: Callers): Handshakes["Service"] => {
  const tell = (message: Mooncake.Said) => Effect.asVoid(say(caller, message))
  return {
    offer: (said) => offer(caller, said),
    acknowledge: (said) => tell({ _tag: "Acknowledgement", said }),
    farewell: (said) => tell({ _tag: "Farewell", said }),
    answeredAt: (path) => {
      const found = NicPath.parse(path)
      if (Result.isFailure(found)) return 0
      return caller.answeredBy(caller.names.nameOf(found.success.server))
    },
    instanceAt: (path) => instanceAt(caller, asker, path)
  }
}

const directoryOf = (caller: Caller): Directory["Service"] => ({
  resolve: Effect.fnUntraced(function* (peer) {
    if (!caller.mayCall(peer)) {
      const detail = "it is not one of the peers of this node"
      return yield* new NoDescription({ peer, reason: "unknown", detail })
    }
    const text = yield* caller
      .call(peer, peer, FrameType.metadata, "{}\n")
      .pipe(
        Effect.mapError(
          ({ message }) => new NoDescription({ peer, reason: "unanswered", detail: message })
        )
      )
    const segment = SegmentDescriptor.decode(text)
    if (Result.isSuccess(segment)) {
      caller.names.learn(serverOf(segment.success), peer)
      return toDescription(segment.success)
    }
    const { message: detail } = segment.failure
    return yield* new NoDescription({ peer, reason: "invalid", detail })
  })
})

/** Calls peers over TCP. */
export const layer = (options: Options = {}): Layer.Layer<Handshakes, SettingsRefused, IoPool> =>
  Layer.effect(Handshakes, Effect.map(callersOf(options), handshakesOf))

/**
 * The same, with a directory: each peer is asked at its handshake port. The name of a peer is that
 * of its server. A peer that names its NICs by another address is called where it was asked.
 */
export const layerWithDirectory = (
  options: Options = {}
): Layer.Layer<Handshakes | Directory, SettingsRefused, IoPool> =>
  Layer.effectContext(
    Effect.map(callersOf(options), (callers) =>
      Context.make(Handshakes, handshakesOf(callers)).pipe(
        Context.add(Directory, directoryOf(callers.caller))
      )
    )
  )

/** Other calls to a peer. */
export interface Calls {
  /** Sends a message to the process at a peer's handshake port. */
  readonly notify: (peer: string, notify: Notify.Notify) => Effect.Effect<void, HandshakeFailed>
  /** Succeeds if a process answers. */
  readonly probe: (peer: string) => Effect.Effect<void, HandshakeFailed>
}

export const calls = (
  options: Options = {}
): Effect.Effect<Calls, SettingsRefused, IoPool | Scope.Scope> =>
  Effect.map(Caller.make(options), (caller) => {
    const call = <A>(
      peer: string,
      type: FrameType,
      text: string,
      decode: (text: string) => Result.Result<A, { readonly message: string }>
    ) =>
      Effect.flatMap(caller.call(peer, peer, type, text), (answer) => {
        const decoded = decode(answer)
        return Result.isSuccess(decoded)
          ? Effect.succeed(decoded.success)
          : Effect.fail(failed(peer, "protocol", decoded.failure.message))
      })
    return {
      notify: (peer, notify) =>
        Effect.flatMap(
          call(peer, FrameType.notify, Notify.encode(notify), Notify.decode),
          ({ message }) =>
            message === Notify.taken.message
              ? Effect.void
              : Effect.fail(failed(peer, "answer", `it was not taken: ${message.slice(0, 256)}`))
        ),
      probe: (peer) => Effect.asVoid(call(peer, FrameType.probe, Probe.encode({}), Probe.decode))
    }
  })

/**
 * Carries `effect/rpc` by RPC-over-RDMA: an existing `RpcGroup`, its streams included, runs over it
 * unchanged, by the `Protocol` of either end.
 *
 * Requests and their streams outlive connections. A request is handed to its handler once; between
 * the same two processes a stream goes on after a lost connection, without loss and without
 * repetition. If the server is replaced, what it had begun ends as `RpcClientError`.
 */

import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as EffectRpcClient from "effect/rpc/RpcClient"
import { RpcSerialization } from "effect/rpc/RpcSerialization"
import * as EffectRpcServer from "effect/rpc/RpcServer"
import * as Stream from "effect/Stream"
import { MessageCodec } from "./internal/protocol/codec.ts"
import { ProtocolClient } from "./internal/protocol/client.ts"
import { makeProgram, makeReverse } from "./internal/protocol/messages.ts"
import { sendProcedure } from "./internal/protocol/sendMessages.ts"
import { ProtocolServer } from "./internal/protocol/server.ts"
import {
  protocolClientDefaults,
  type ProtocolClientOptions,
  protocolServerDefaults,
  type ProtocolServerOptions,
  split
} from "./internal/protocol/settings.ts"
import * as RpcClient from "./RpcClient.ts"
import * as RpcProgram from "./RpcProgram.ts"
import * as RpcServer from "./RpcServer.ts"

export type { ProtocolClientOptions, ProtocolServerOptions } from "./internal/protocol/settings.ts"

/** Time to tell a server that a client ends. It is best effort: the server finds out by itself. */
const leaveWithin = "1 second"

/** The inline size of both ends by default. */
const defaultInlineBytes = 4_096

/** Makes the client's protocol, and the client whose calls it makes. */
export const makeClient = Effect.fnUntraced(function* (options: ProtocolClientOptions) {
  const serialization = yield* RpcSerialization
  const crypto = yield* WebCrypto.WebCrypto
  const { own, rest } = split(protocolClientDefaults, options)
  const program = makeProgram(own.program)
  let adapter: ProtocolClient | undefined
  const reverse = yield* RpcProgram.implement(makeReverse(own.program), {
    Deliver: ({ events, session }) =>
      adapter === undefined
        ? Effect.succeed({ _tag: "Forgotten" } as const)
        : adapter.take(session, events)
  })
  const { version } = program
  const name = { program: own.program, version, reverse: [reverse] }
  const client = yield* RpcClient.make({ ...rest, ...name })
  const run = yield* FiberSet.makeRuntime()
  const protocol = yield* EffectRpcClient.Protocol.make((deliver, clientIds) => {
    const made = new ProtocolClient({
      calls: client.methods(program),
      send: (call) => client.call(call),
      settings: own,
      inlineBytes: options.inlineBytes ?? defaultInlineBytes,
      codec: new MessageCodec(serialization),
      randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
      fork: (effect) => void run(effect),
      deliver,
      clientIds
    })
    adapter = made
    return Effect.as(
      Effect.addFinalizer(() => Effect.timeoutOption(made.leave, leaveWithin)),
      {
        send: (clientId, message) => made.send(clientId, message),
        supportsAck: true,
        supportsTransferables: false,
        codecFor: serialization.codecFor
      }
    )
  })
  const renew = Effect.suspend(() => adapter?.renew ?? Effect.void)
  // A server that was replaced is found as soon as there is one again.
  yield* client.states.pipe(
    Stream.filter(({ _tag }) => _tag === "Ready"),
    Stream.runForEach(() => renew),
    Effect.forkScoped
  )
  yield* Effect.forkScoped(Effect.forever(Effect.delay(renew, own.renewEveryMs)))
  return { protocol, client }
})

/** The client's protocol, for `RpcClient.make` of `effect/rpc`. */
export const layerClient = (options: ProtocolClientOptions) =>
  Layer.effect(
    EffectRpcClient.Protocol,
    Effect.map(makeClient(options), ({ protocol }) => protocol)
  )

/** Makes the server's protocol, and the server that takes its calls. */
export const makeServer = Effect.fnUntraced(function* (options: ProtocolServerOptions) {
  const serialization = yield* RpcSerialization
  const clock = yield* Clock.Clock
  const { own, rest } = split(protocolServerDefaults, options)
  const disconnects = yield* Queue.make<number>()
  const run = yield* FiberSet.makeRuntime()
  let adapter!: ProtocolServer
  const protocol = yield* EffectRpcServer.Protocol.make((write) => {
    const ends = {
      write,
      reverse: makeReverse(own.program),
      inlineBytes: options.inlineBytes ?? defaultInlineBytes,
      fork: (effect: Effect.Effect<void>) => void run(effect)
    }
    adapter = new ProtocolServer(own, serialization, clock, disconnects, ends)
    return Effect.succeed({
      disconnects,
      send: (clientId, message) => adapter.send(clientId, message),
      end: () => Effect.void,
      clientIds: Effect.sync(() => adapter.clientIds),
      initialMessage: Effect.succeedNone,
      supportsAck: true,
      supportsTransferables: false,
      supportsSpanPropagation: true,
      supportsNotifications: true,
      codecFor: serialization.codecFor
    })
  })
  const typed = yield* RpcProgram.implement(makeProgram(own.program), adapter.handlers)
  const served = { ...typed, procedures: { ...typed.procedures, [sendProcedure]: adapter.sent } }
  const server = yield* RpcServer.make({ ...rest, programs: [served] })
  yield* Effect.addFinalizer(() => Effect.sync(() => adapter.close()))
  yield* Effect.forkScoped(adapter.sweep)
  return { protocol, server }
})

/** The server's protocol, for `RpcServer.layer` of `effect/rpc`. */
export const layerServer = (options: ProtocolServerOptions) =>
  Layer.effect(
    EffectRpcServer.Protocol,
    Effect.map(makeServer(options), ({ protocol }) => protocol)
  )

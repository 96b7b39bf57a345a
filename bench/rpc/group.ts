/** One `RpcGroup` of `effect/rpc`, over its own socket and over RPC-over-RDMA. */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as EffectRpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as EffectRpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import { SocketServer } from "effect/socket/SocketServer"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import * as RpcProtocol from "../../src/actors/rpc/RpcProtocol.ts"
import type { Outcome } from "../harness.ts"
import { layer } from "../iwarp/ends.ts"
import { elsewhere } from "../iwarp/writes.ts"
import { bulk, byFibers, measured } from "./loop.ts"
import {
  bulkBytes,
  bulkCalls,
  bulkInFlight,
  bulkResult,
  mostCredits,
  validateBulk
} from "./program.ts"

const group = RpcGroup.make(
  Rpc.make("Double", { payload: { value: Schema.Int }, success: Schema.Int }),
  Rpc.make("Bulk", { success: Schema.Uint8Array })
)

const handlers = group.toLayer({
  Double: ({ value }) => Effect.succeed(2 * value),
  Bulk: () => Effect.succeed(bulkResult)
})

const serialization = RpcSerialization.layerSchemaBinary()
const ground = Layer.merge(layer("main", false), Journal.layerMemory)

const said = (port: number) => Effect.sync(() => void process.send!({ port }))

/** Serves the group over a socket until it is interrupted. */
export const serveBySocket = Effect.gen(function* () {
  const { address } = yield* SocketServer
  yield* said((address as { readonly port: number }).port)
  return yield* Effect.never
}).pipe(
  Effect.provide(
    EffectRpcServer.layer(group).pipe(
      Layer.provide(handlers),
      Layer.provide(EffectRpcServer.layerProtocolSocketServer),
      Layer.provide(serialization),
      Layer.provideMerge(NodeSocketServer.layer({ host: "127.0.0.1", port: 0 }))
    )
  )
)

/** Serves the group by RPC-over-RDMA until it is interrupted. */
export const serveByRdma = Effect.gen(function* () {
  const { protocol, server } = yield* RpcProtocol.makeServer({
    open: true,
    credits: mostCredits,
    maxCredits: mostCredits,
    maxHandlersPerClient: 2 * mostCredits,
    maxConnections: 32
  })
  yield* Effect.forkScoped(
    Effect.provide(EffectRpcServer.make(group), handlers).pipe(
      Effect.provideService(EffectRpcServer.Protocol, protocol)
    )
  )
  yield* said(server.address.port)
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.provide(Layer.merge(serialization, ground)))

const overSocket = (port: number) =>
  EffectRpcClient.layerProtocolSocket().pipe(
    Layer.provide(NodeSocket.layerNet({ host: "127.0.0.1", port })),
    Layer.provide(serialization)
  )

const overRdma = (port: number) =>
  RpcProtocol.layerClient({ to: { host: "127.0.0.1", port }, credits: mostCredits }).pipe(
    Layer.provide(serialization),
    Layer.provide(ground)
  )

type Over = "socket" | "rdma"

const withGroup = <A>(
  over: Over,
  use: (client: EffectRpcClient.FromGroup<typeof group>) => Promise<A>
): Promise<A> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const peer = new URL("./peer.ts", import.meta.url)
      const port = yield* Effect.promise(() => elsewhere(peer, `group-${over}`, "main"))
      const protocol = over === "socket" ? overSocket(port) : Layer.orDie(overRdma(port))
      return yield* Effect.flatMap(EffectRpcClient.make(group), (client) =>
        Effect.promise(() => use(client as never))
      ).pipe(Effect.provide(protocol))
    }).pipe(Effect.scoped)
  )

/** Small calls of the group. */
export const byGroup = (over: Over, inFlight: number): Promise<Record<string, Outcome>> =>
  withGroup(over, (client) => {
    const call = Effect.map(client.Double({ value: 7 }), (value) => {
      if (value !== 14) throw new Error(`twice 7 is ${value}`)
    })
    return measured(inFlight, byFibers(inFlight, call))
  })

/** Results of 1 MiB of the group. */
export const bulkByGroup = (over: Over): Promise<Record<string, Outcome>> =>
  withGroup(over, (client) => {
    const call = Effect.map(client.Bulk(), validateBulk)
    return bulk([bulkCalls / 2, bulkInFlight, bulkBytes], (inFlight) => byFibers(inFlight, call))
  })

/**
 * Runs an RpcGroup of effect/rpc, a stream included, by RPC-over-RDMA over software iWARP on this
 * machine. The group, its handlers and its client are those of effect/rpc; only the protocols are
 * others, and the stream outlives the connection that it began on.
 *
 * Run it with `node examples/rpc-group.ts`.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Journal } from "../src/actors/kernel/Journal.ts"
import * as RpcProtocol from "../src/actors/rpc/RpcProtocol.ts"
import * as Iwarp from "../src/native/iwarp/IwarpVerbs.ts"

class Prices extends RpcGroup.make(
  Rpc.make("Last", { payload: { symbol: Schema.String }, success: Schema.Int }),
  Rpc.make("Follow", { payload: { symbol: Schema.String }, success: Schema.Int, stream: true })
) {}

const handlers = Prices.toLayer({
  Last: () => Effect.succeed(1999),
  Follow: () => Stream.fromIterable([1999, 2000, 2001]).pipe(Stream.rechunk(1))
})

const program = Effect.gen(function* () {
  const { protocol, server } = yield* RpcProtocol.makeServer({ open: true })
  const serverProtocol = Layer.succeed(RpcServer.Protocol, protocol)
  yield* Layer.build(RpcServer.layer(Prices).pipe(Layer.provide([handlers, serverProtocol])))

  const { client, protocol: clientProtocol } = yield* RpcProtocol.makeClient({ to: server.address })
  const prices = yield* RpcClient.make(Prices).pipe(
    Effect.provideService(RpcClient.Protocol, clientProtocol)
  )
  yield* Console.log(yield* prices.Last({ symbol: "X" })) // 1999
  const follow = prices.Follow({ symbol: "X" }).pipe(Stream.tap(() => client.reconnect))
  yield* Console.log(yield* Stream.runCollect(follow)) // [ 1999, 2000, 2001 ]
})

await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide([Iwarp.layer(), Journal.layerMemory, RpcSerialization.layerSchemaBinary()])
  )
)

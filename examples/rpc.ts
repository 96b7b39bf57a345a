/**
 * Calls a procedure at a peer by RPC-over-RDMA, over software iWARP on this machine. The program is
 * declared once, for both ends. The client may have more calls under way than the server grants:
 * they wait for a credit, and none is lost.
 *
 * Run it with `node examples/rpc.ts`.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as RpcClient from "../src/actors/rpc/RpcClient.ts"
import * as RpcProgram from "../src/actors/rpc/RpcProgram.ts"
import * as RpcServer from "../src/actors/rpc/RpcServer.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"
import * as Iwarp from "../src/native/iwarp/IwarpVerbs.ts"

class TooLarge extends Schema.TaggedError<TooLarge>()("TooLarge", { value: Schema.Int }) {}

const Square = Rpc.make("Square", { payload: Schema.Int, success: Schema.Int, error: TooLarge })

const Numbers = RpcProgram.make({
  program: 0x2000_0001,
  version: 1,
  procedures: { 1: RpcProgram.procedure(Square, { isIdempotent: true }) }
})

const program = Effect.gen(function* () {
  const numbers = yield* RpcProgram.implement(Numbers, {
    Square: (value) =>
      value < 1_000 ? Effect.succeed(value ** 2) : Effect.fail(new TooLarge({ value }))
  })
  const server = yield* RpcServer.make({ programs: [numbers], credits: 4, open: true })
  const client = yield* RpcClient.make(Numbers, { to: server.address })
  const all = Array.from({ length: 100 }, (_, index) => client.Square(index))
  const squares = yield* Effect.all(all, { concurrency: "unbounded" })
  yield* Console.log(squares.slice(0, 5)) // [ 0, 1, 4, 9, 16 ]
  const tooLarge = yield* Effect.flip(client.Square(1_000))
  yield* Console.log(tooLarge._tag) // TooLarge
})

await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide([Iwarp.layer(), Journal.layerMemory]))
)

/**
 * Calls a procedure at a peer by RPC-over-RDMA, over software iWARP on this machine. The client may
 * have more calls under way than the server grants: they wait for a credit, and none is lost.
 *
 * Run it with `node examples/rpc.ts`.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as RpcClient from "../src/actors/rpc/RpcClient.ts"
import type { Program } from "../src/actors/rpc/RpcProgram.ts"
import * as RpcServer from "../src/actors/rpc/RpcServer.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"
import * as Iwarp from "../src/native/iwarp/IwarpVerbs.ts"

/** A program for RPC, as in ONC RPC: a number, a version and procedures. */
const squares: Program = {
  program: 0x2000_0001,
  version: 1,
  procedures: {
    1: {
      isIdempotent: true,
      handler: ({ args }) => {
        const view = new DataView(args.buffer, args.byteOffset)
        const results = new Uint8Array(4)
        new DataView(results.buffer).setUint32(0, view.getUint32(0) ** 2)
        return Effect.succeed({ results })
      }
    }
  }
}

const argsOf = (value: number): Uint8Array => {
  const args = new Uint8Array(4)
  new DataView(args.buffer).setUint32(0, value)
  return args
}

const program = Effect.gen(function* () {
  const server = yield* RpcServer.make({ programs: [squares], credits: 4, open: true })
  const { program, version } = squares
  const client = yield* RpcClient.make({ to: server.address, program, version })
  const call = (value: number) =>
    Effect.map(client.call({ procedure: 1, args: argsOf(value) }), ({ results }) =>
      new DataView(results.buffer, results.byteOffset).getUint32(0)
    )
  const all = Array.from({ length: 100 }, (_, index) => call(index))
  const sums = yield* Effect.all(all, { concurrency: "unbounded" })
  yield* Console.log(sums.slice(0, 5)) // [ 0, 1, 4, 9, 16 ]
  yield* Console.log(client.usage.heldCredits) // 0
})

await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide([Iwarp.layer(), Journal.layerMemory]))
)

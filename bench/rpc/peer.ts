/**
 * The other process of a run: a server whose procedure 1 does nothing, and one whose procedure 2
 * returns so many bytes by chunk; or what the others of the bench call.
 *
 * node peer.ts rpc|grpc|group-socket|group-rdma worker|main
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import * as RpcServer from "../../src/actors/rpc/RpcServer.ts"
import { layer, type On } from "../iwarp/ends.ts"
import { mostCredits, program } from "./program.ts"

const [, , kind = "", on = ""] = process.argv

const started = Effect.gen(function* () {
  const server = yield* RpcServer.make({
    programs: [program],
    open: true,
    credits: mostCredits,
    maxCredits: mostCredits,
    maxHandlersPerClient: 2 * mostCredits,
    maxConnections: 32
  })
  process.send!({ port: server.address.port })
  return yield* Effect.never
})

process.on("disconnect", () => process.exit())
if (kind === "grpc") {
  const { serve } = await import("./grpc.ts")
  process.send!({ port: await serve() })
} else if (kind === "rpc") {
  Effect.runFork(
    Effect.scoped(started).pipe(
      Effect.provide(Layer.merge(layer(on as On, false), Journal.layerMemory))
    )
  )
} else {
  const { serveByRdma, serveBySocket } = await import("./group.ts")
  const serving: Effect.Effect<never, unknown> = kind === "group-rdma" ? serveByRdma : serveBySocket
  Effect.runFork(Effect.tapCause(serving, Effect.logError))
}

/** The other process of a run: a node whose memory may be written. */
import * as Effect from "effect/Effect"
import { TransferEngine } from "../../src/actors/transfer/TransferEngine.ts"
import { TransferNode } from "../../src/actors/transfer/TransferNode.ts"
import { memoryBytes } from "../iwarp/memory.ts"
import { node } from "./moving.ts"

const program = Effect.gen(function* () {
  const engine = yield* TransferEngine
  const { server } = yield* TransferNode
  yield* engine.register({
    name: "inbox",
    memory: memoryBytes,
    access: ["local-write", "remote-write"]
  })
  process.send!({ port: Number(server.split(":")[1]) })
  return yield* Effect.never
})

process.on("disconnect", () => process.exit())
Effect.runFork(Effect.scoped(program).pipe(Effect.provide(node)))

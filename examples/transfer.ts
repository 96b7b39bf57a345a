/** Moves memory to a peer and back: two nodes of one program, over software iWARP on loopback. */
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { TransferEngine } from "../src/actors/transfer/TransferEngine.ts"
import { TransferNode } from "../src/actors/transfer/TransferNode.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"
import * as IwarpVerbs from "../src/native/iwarp/IwarpVerbs.ts"

const node = Layer.build(
  TransferNode.layer({
    host: "127.0.0.1",
    // Whom it serves: others can neither read nor write, nor ask what there is.
    peers: ["127.0.0.1"],
    handshake: { port: 0 }
  }).pipe(Layer.provide([IwarpVerbs.layer(), Journal.layerMemory]))
)

const program = Effect.gen(function* () {
  const [here, there] = [yield* node, yield* node]
  const ann = Context.get(here, TransferEngine)
  const ben = Context.get(there, TransferEngine)
  const { server: peer } = Context.get(there, TransferNode)

  const inbox = yield* ben.register({
    name: "inbox",
    memory: 65_536,
    access: ["local-write", "remote-write", "remote-read"]
  })
  const own = yield* ann.register({ memory: 65_536 })
  own.bytes.fill(7)

  // Waits for a ready peer, not for luck; returns when the peer has every byte.
  yield* ann.write({ peer, from: own.slice(), to: { buffer: "inbox" } })
  yield* Console.log(inbox.bytes.every((byte) => byte === 7)) // true

  inbox.bytes.fill(9)
  const { moved } = yield* ann.read({ peer, from: { buffer: "inbox" }, to: own.slice(0, 4096) })
  yield* Console.log(moved, own.bytes[4095], own.bytes[4096]) // 4096 9 7
})

await Effect.runPromise(Effect.scoped(program))

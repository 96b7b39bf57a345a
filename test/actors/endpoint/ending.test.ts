/**
 * Goal: a node that ends in order is not missed for long: its peers are told by then (R19).
 * Method: two nodes in this process, over real TCP and software iWARP on loopback.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Endpoints } from "../../../src/actors/endpoint/Endpoints.ts"
import { TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import { TransferNode } from "../../../src/actors/transfer/TransferNode.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as IwarpVerbs from "../../../src/native/iwarp/IwarpVerbs.ts"

const node = Layer.build(
  TransferNode.layer({ host: "127.0.0.1", peers: ["127.0.0.1"], handshake: { port: 0 } }).pipe(
    Layer.provide([IwarpVerbs.layer({ on: "main", pool: { workers: 0 } }), Journal.layerMemory])
  )
)

describe("R19 a node that ends in order", () => {
  it.live("has told its peers by then", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const [a, b] = [yield* Scope.provide(node, scope), yield* node]
      const { server: peer } = Context.get(b, TransferNode)
      yield* Context.get(a, TransferEngine).warm(peer)
      const [store] = Context.get(b, Endpoints).values()
      const [path] = Context.get(a, Endpoints).keys()
      yield* store!.open(path!)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* store!.stateOf(path!))._tag, "Idle")
    })
  )
})

/**
 * Goal: two nodes find each other by nothing but a name, shake hands over TCP, and move octets over
 * software iWARP. Method: both in this process, on loopback.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import { TransferEngine } from "../../src/actors/endpoint/TransferEngine.ts"
import { TransferNode } from "../../src/actors/endpoint/TransferNode.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { Verbs } from "../../src/native/Verbs.ts"

const node = Layer.build(
  TransferNode.layer({ host: "127.0.0.1", nics: ["lo"], handshake: { port: 0 } }).pipe(
    Layer.provide([Verbs.layerIwarp({ on: "main", pool: { workers: 0 } }), Journal.layerMemory])
  )
)

const everything = ["local-write", "remote-write", "remote-read"] as const

describe("two nodes", () => {
  it.live("move memory both ways, by names alone", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* node, yield* node]
      const here = Context.get(a, TransferEngine)
      const there = Context.get(b, TransferEngine)
      const { server: peer } = Context.get(b, TransferNode)
      const bytes = 1 << 20
      const inbox = yield* there.register({ name: "inbox", memory: bytes, access: everything })
      const own = yield* here.register({ name: "own", memory: bytes, access: everything })
      own.octets.fill(7)
      const to = { buffer: "inbox" }
      const moved = yield* here.transfer({
        durable: true,
        id: "first",
        peer,
        ops: [{ op: "write", from: own.slice(), to }]
      })
      assert.deepStrictEqual(moved, { moved: bytes, bytes })
      assert.isTrue(inbox.octets.every((octet) => octet === 7))
      yield* Context.get(a, TransferNode).probe(peer)
      yield* Context.get(a, TransferNode).notify(peer, { name: "inbox", message: "it is full" })
      assert.deepStrictEqual(yield* Queue.take(Context.get(b, TransferNode).notifies), {
        name: "inbox",
        message: "it is full"
      })
      inbox.octets.fill(9)
      yield* here.read({ peer, from: to, to: own.slice() })
      assert.isTrue(own.octets.every((octet) => octet === 9))
    })
  )
})

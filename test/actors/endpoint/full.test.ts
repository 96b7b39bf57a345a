/**
 * Goal: a stranger takes no place from a peer, neither at a port whose connections are all taken,
 * nor in a store whose endpoints are all in use (R15, H5).
 * Method: a handshake port on loopback and real endpoints over a simulated fabric; peers call from
 * 127.0.0.1 and a stranger from 127.0.0.2.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Caller, Options } from "../../../src/actors/endpoint/mooncake/HandshakeServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { dial, frameIn, heard, onFabric, pool, tcpHost, type TcpHost } from "./tcp.ts"
import { elsewhere, host as address, offerFrom, questions, said } from "./strangers.ts"

const isPeer = ({ address: from }: { readonly address: string }) => from === address

const make = (server: Options, capacity = 8) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const host = yield* tcpHost({ server, store: { capacity } }).pipe(
      Effect.provide(onFabric(fabric, "m"))
    )
    return { ...host, fabric }
  })

const stateOf = ({ store }: TcpHost, peer: string) =>
  Effect.map(store.stateOf(peer), ({ _tag }) => _tag)

const nothing = ["", "ECONNRESET", "EPIPE"]

describe("a port whose connections are all taken", () => {
  it.live("R15: gives no peer's place to a stranger, and the peers are answered", () =>
    Effect.gen(function* () {
      const host = yield* make({ connections: 2, hears: isPeer })
      const peers = [yield* dial(host.server.port), yield* dial(host.server.port)]
      const answers = yield* Effect.forEach(peers, (socket) =>
        Effect.forkChild(heard(socket), { startImmediately: true })
      )
      const { probe } = questions(host.path)
      for (let count = 0; count < 10; count++) {
        assert.include(nothing, yield* said(host.server.port, probe!, elsewhere))
      }
      for (const [index, socket] of peers.entries()) {
        socket.write(probe!)
        const answer = yield* Fiber.join(answers[index]!)
        assert.include(frameIn(answer)!.text, "success")
      }
      // The twin: a third peer gets the place of the one that is silent longest.
      const silent = [yield* dial(host.server.port), yield* dial(host.server.port)]
      const closed = yield* Effect.forkChild(heard(silent[0]!), { startImmediately: true })
      assert.include(yield* said(host.server.port, probe!, address), "success")
      assert.lengthOf(yield* Fiber.join(closed), 0)
    }).pipe(Effect.provide(pool))
  )
})

describe("a store that is full", () => {
  it.live("R15, H5: gives no peer's place to a stranger's offer, whoever it says it is", () =>
    Effect.gen(function* () {
      const admit = ({ peer }: Caller) => isPeer(peer)
      const host = yield* make({ admit }, 2)
      const [one, two] = [`${address}:1@x`, `${address}:2@x`]
      for (const peer of [one, two]) {
        const offer = offerFrom(peer, host.path, { epoch: "0000000a.1" })
        assert.include(yield* said(host.server.port, offer, address), '"qp_num":[')
      }
      const before = yield* Effect.forEach([one, two], (peer) => host.store.stateOf(peer))
      for (const from of [`${elsewhere}:3@x`, one, two]) {
        for (const epoch of [undefined, "0000000a.2", "0000000b.1"]) {
          const offer = offerFrom(from, host.path, epoch === undefined ? {} : { epoch })
          assert.include(yield* said(host.server.port, offer, elsewhere), "not-admitted")
        }
      }
      assert.deepStrictEqual(
        yield* Effect.forEach([one, two], (peer) => host.store.stateOf(peer)),
        before
      )
      assert.strictEqual(yield* stateOf(host, `${elsewhere}:3@x`), "Idle")
      assert.strictEqual(host.store.size, 2)
      assert.strictEqual(host.fabric.resources("m").queuePairs, 4)
      // The twin: the peer itself begins anew.
      const next = offerFrom(one, host.path, { epoch: "0000000a.2" })
      assert.include(yield* said(host.server.port, next, address), '"qp_num":[')
    }).pipe(Effect.provide(pool))
  )
})

/**
 * Goal: whom a node serves is what its list says, at every port and in every notation, and stays so
 * while names cannot be looked up.
 * Method: lists as tables, with a lookup of names that the test answers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Lookup, type Peer, Peers } from "../../../src/actors/endpoint/mooncake/Peers.ts"
import type { Caller } from "../../../src/actors/endpoint/mooncake/internal/requestHandler.ts"

const fingerprint = Array.from({ length: 32 }, (_, index) => (16 + index).toString(16))
  .join(":")
  .toUpperCase()

const tls = { protocol: "", authorized: true, subject: "", fingerprint, alpn: "", servername: "" }

const peersOf = Effect.fnUntraced(function* (list: ReadonlyArray<Peer>, lookup?: Lookup) {
  const peers = new Peers(lookup ?? (() => Effect.succeed([])))
  for (const peer of list) yield* peers.add(peer)
  yield* peers.refresh
  return peers
})

const caller = (address: string, from?: string): Caller => ({
  peer: { address, port: 1 },
  asks: "handshake",
  ...(from !== undefined && { from })
})

describe("a list of peers", () => {
  const table: ReadonlyArray<readonly [peer: string, served: string, not: string]> = [
    ["10.0.0.2", "10.0.0.2", "10.0.0.3"],
    ["10.0.0.2:12001", "10.0.0.2", "10.0.0.20"],
    ["10.0.0.0/30", "::ffff:10.0.0.3", "::ffff:10.0.0.4"],
    ["fd00::1", "fd00:0::1", "fd00::2"],
    ["[fd00::1]:5", "fd00::1", "fd00::2"],
    ["fd00::/64", "fd00::9", "fd00:0:0:1::9"],
    ["fe80::1%eth0", "fe80::1%eth7", "fe80::2%eth0"]
  ]
  for (const [peer, served, not] of table) {
    it.effect(`closed: with ${peer} serves ${served}, and not ${not}`, () =>
      Effect.gen(function* () {
        const peers = yield* peersOf([peer])
        for (const [address, isServed] of [
          [served, true],
          [not, false],
          ["", false]
        ] as const) {
          assert.strictEqual(peers.hears({ address, port: 1 }), isServed)
          assert.strictEqual(peers.admits(caller(address)), isServed)
          assert.strictEqual(peers.admitsAddress(address), isServed)
        }
      })
    )
  }

  it.effect("closed: serves a name by the addresses that it had when it was last found", () =>
    Effect.gen(function* () {
      let answer: Effect.Effect<ReadonlyArray<string>, string> = Effect.succeed(["::ffff:10.0.0.2"])
      const asked: Array<string> = []
      const peers = yield* peersOf(["ben:7"], (server) => {
        asked.push(server)
        return answer
      })
      const hears = (address: string) => peers.hears({ address, port: 1 })
      assert.isTrue(hears("10.0.0.2"))
      answer = Effect.fail("no such name now")
      yield* peers.refresh
      assert.isTrue(hears("10.0.0.2"))
      answer = Effect.succeed(["10.0.0.3"])
      yield* peers.refresh
      assert.deepStrictEqual([hears("10.0.0.2"), hears("10.0.0.3")], [false, true])
      assert.deepStrictEqual(asked, ["ben:7", "ben:7", "ben:7"])
    })
  )

  it.effect("closed: lets a peer speak and be called for servers of the list alone", () =>
    Effect.gen(function* () {
      const peers = yield* peersOf(["ben", "10.0.0.0/30"], () => Effect.succeed(["10.9.9.9"]))
      for (const [server, isOne] of [
        ["ben:1", true],
        ["ben", true],
        ["benn:1", false],
        ["10.0.0.3:1", true],
        ["10.0.0.4:1", false],
        ["10.9.9.9:1", true],
        ["a b", false]
      ] as const) {
        assert.strictEqual(peers.mayCall(server), isOne, server)
        assert.strictEqual(peers.admits(caller("10.0.0.1", `${server}@x`)), isOne, server)
        assert.isFalse(peers.admits(caller("10.0.0.9", `${server}@x`)), server)
      }
      assert.isFalse(peers.admits(caller("10.0.0.1", "no path")))
    })
  )

  it.effect("closed: knows a certificate by its fingerprint if TLS has checked it", () =>
    Effect.gen(function* () {
      const peers = yield* peersOf([{ certificate: fingerprint.toLowerCase() }])
      const other = fingerprint.replace("10", "11")
      for (const [says, isServed] of [
        [tls, true],
        [{ ...tls, authorized: false }, false],
        [{ ...tls, fingerprint: other }, false],
        [{ ...tls, fingerprint: "" }, false]
      ] as const) {
        const peer = { address: "10.0.0.9", port: 1, tls: says }
        assert.strictEqual(peers.hears(peer), isServed)
        // It may speak for any server: it has proven which peer it is.
        assert.strictEqual(peers.admits({ peer, asks: "handshake", from: "x:1@y" }), isServed)
      }
      assert.isFalse(peers.hears({ address: "10.0.0.9", port: 1 }))
    })
  )
})

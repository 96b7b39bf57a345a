/**
 * Goal: a process serves the peers that it names and nobody else; what cannot be a peer is refused
 * when the process starts.
 * Method: tables of lists and callers, without sockets; names are looked up in a table.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Peers from "../../../src/actors/link/Peers.ts"
import type { PeerInfo } from "../../../src/native/io/Lane.ts"

const names: Record<string, ReadonlyArray<string>> = {
  "node-b:7000": ["::ffff:10.1.0.2", "fd00::2"]
}
const lookup: Peers.Lookup = (server) => {
  const found = names[server]
  return found === undefined ? Effect.fail("no such name") : Effect.succeed(found)
}

const serve = (peers: ReadonlyArray<Peers.Peer>, asksForCertificates = false) =>
  Peers.serve({ peers }, lookup, asksForCertificates)

const digits = (pair: string) => Array.from({ length: 32 }, () => pair).join(":")

const session = { protocol: "TLSv1.3", subject: "", alpn: "", servername: "" }

const caller = (address: string, fingerprint?: string, authorized = true): PeerInfo => ({
  address,
  port: 40_000,
  ...(fingerprint !== undefined && { tls: { ...session, authorized, fingerprint } })
})

describe("Peers", () => {
  it.effect("G13: a process says which peers it serves, or that it is open, and not both", () =>
    Effect.gen(function* () {
      const both = { peers: [], open: true } as const
      for (const wanted of [{}, both, { open: false } as object]) {
        const refused = yield* Effect.flip(Peers.serve(wanted, lookup, false))
        assert.instanceOf(refused, Peers.PeersRefused)
        assert.include(refused.message, "`open: true`")
      }
      const open = yield* Peers.serve({ open: true }, lookup, false)
      assert.isTrue(open.admits(caller("192.0.2.1")) && open.mayCall("anything"))
    })
  )

  it.effect("G13: what cannot be a peer is refused, and named", () =>
    Effect.gen(function* () {
      const bad = ["", "a b:c:d", "10.0.0.0/33", "10.0.0.0/", "ten/8", "::1/129", "host:0"]
      const certificates = [{ certificate: "AB:CD" }, { certificate: `${"AB:".repeat(31)}AB` }]
      for (const peer of [...bad, ...certificates.slice(0, 1)]) {
        const refused = yield* Effect.flip(serve([peer]))
        assert.strictEqual(refused.given, typeof peer === "string" ? peer : peer.certificate)
      }
      // A certificate is of no use where none is asked for.
      assert.instanceOf(yield* Effect.flip(serve([certificates[1]!])), Peers.PeersRefused)
      yield* serve([certificates[1]!], true)
    })
  )

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
        const peers = yield* serve([peer])
        for (const [address, isServed] of [
          [served, true],
          [not, false],
          ["", false]
        ] as const) {
          assert.strictEqual(peers.admits(caller(address)), isServed)
          assert.strictEqual(peers.admitsAddress(address), isServed)
        }
      })
    )
  }

  it.effect("closed: lets a peer name itself, and be called by, a server of the list alone", () =>
    Effect.gen(function* () {
      names["ben"] = ["10.9.9.9"]
      const peers = yield* serve(["ben", "10.0.0.0/30"])
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
        assert.strictEqual(peers.mayNameItself(caller("10.0.0.1"), server), isOne, server)
      }
    })
  )

  it.effect("G13: a name has the addresses of its last lookup, and keeps them when one fails", () =>
    Effect.gen(function* () {
      const before = names["node-b:7000"]!
      const peers = yield* serve(["node-b:7000"])
      assert.isTrue(peers.admits(caller("10.1.0.2")))
      // Addresses have several texts; a caller's is the one of its provider.
      for (const text of ["fd00::2%eth0", "fd00:0000:0000:0000:0000:0000:0000:0002", "FD00::0:2"]) {
        assert.isTrue(peers.admits(caller(text)), text)
        assert.isTrue(peers.admitsAddress(text), text)
      }
      assert.isTrue(peers.mayCall("node-b:1"))
      names["node-b:7000"] = ["10.1.0.3"]
      yield* TestClock.adjust("30 seconds")
      assert.isTrue(peers.admits(caller("10.1.0.3")))
      assert.isFalse(peers.admits(caller("10.1.0.2")))
      delete names["node-b:7000"]
      yield* TestClock.adjust("30 seconds")
      assert.isTrue(peers.admits(caller("10.1.0.3")))
      names["node-b:7000"] = before
    })
  )

  it.effect("G13: a certificate admits a caller from anywhere, if it was verified", () =>
    Effect.gen(function* () {
      const peers = yield* serve([{ certificate: digits("ab") }], true)
      assert.isTrue(peers.admits(caller("192.0.2.1", digits("AB"))))
      assert.isFalse(peers.admits(caller("192.0.2.1", digits("AB"), false)))
      assert.isFalse(peers.admits(caller("192.0.2.1", digits("CD"))))
      assert.isFalse(peers.admits(caller("192.0.2.1")))
      // Its data connections come from anywhere, too, and it speaks for any server.
      assert.isTrue(peers.admitsAddress("192.0.2.9"))
      assert.isTrue(peers.mayNameItself(caller("192.0.2.1", digits("AB")), "node-c"))
      assert.isFalse(peers.mayNameItself(caller("192.0.2.1"), "node-c"))
    })
  )
})

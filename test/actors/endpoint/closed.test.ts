/**
 * Goal: a node serves the peers that it names, and a stranger gets nothing: no answer, no memory,
 * no connection, no endpoint, no entry in the journal, and no call that the node makes for him.
 *
 * Method: nodes over software iWARP on loopback, called from 127.0.0.2, which is no peer, and as a
 * twin from 127.0.0.1, which is one; listeners at addresses that a stranger would have called.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { X509Certificate } from "node:crypto"
import * as net from "node:net"
import { networkInterfaces } from "node:os"
import { Endpoints } from "../../../src/actors/endpoint/Endpoints.ts"
import { TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import {
  type Options,
  PeersRefused,
  TransferNode
} from "../../../src/actors/transfer/TransferNode.ts"
import type { Half } from "../../../src/actors/endpoint/Handshake.ts"
import { raise } from "../../../src/actors/endpoint/internal/queuePairSetup.ts"
import type { Place } from "../../../src/actors/rdma/Nic.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import type { QueuePair } from "../../../src/native/verbs/QueuePair.ts"
import type { Transition } from "../../../src/native/verbs/QueuePairState.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import * as spec from "../../native/verbs/specification.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { elsewhere, host, layerOf, nodeOf, offerFrom, questions, said } from "./strangers.ts"

const served = { peers: [host] } as const

/** A journal that counts what is claimed and appended. */
const counted = () => {
  const store = makeMemory()
  const counts = { claims: 0, appends: 0 }
  const journal = Layer.succeed(Journal, {
    ...store,
    claim: (actor) =>
      Effect.andThen(
        Effect.sync(() => counts.claims++),
        store.claim(actor)
      ),
    append: (request) =>
      Effect.andThen(
        Effect.sync(() => counts.appends++),
        store.append(request)
      )
  })
  return { counts, journal }
}

/** Connections that a listener at an address gets; each is refused after a moment. */
const listener = (at: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; calls: number; readonly server: net.Server }>(
      (resume) => {
        const server = net.createServer((socket) => {
          found.calls += 1
          socket.on("error", () => undefined)
          socket.resetAndDestroy()
        })
        const found = { port: 0, calls: 0, server }
        server.listen(0, at, () => {
          found.port = (server.address() as net.AddressInfo).port
          resume(Effect.succeed(found))
        })
      }
    ),
    ({ server }) => Effect.sync(() => void server.close())
  )

const sizeOf = (context: Context.Context<Endpoints>): number =>
  [...Context.get(context, Endpoints).values()].reduce((sum, { size }) => sum + size, 0)

describe("whom a node serves", () => {
  it.live("closed: has to be said: `peers`, or `open`, and not both", () =>
    Effect.gen(function* () {
      // @ts-expect-error neither is said
      const neither: Options = { host, handshake: { port: 0 } }
      // @ts-expect-error both are said
      const both: Options = { host, handshake: { port: 0 }, open: true, peers: [] }
      const no = { host, handshake: { port: 0 }, open: false } as unknown as Options
      for (const options of [neither, both, no]) {
        const refused = yield* Effect.flip(Layer.build(layerOf(options)))
        assert.instanceOf(refused, PeersRefused)
        assert.include(refused.message, "`open: true`")
      }
    }).pipe(Effect.scoped)
  )

  it.live("closed: is refused if it cannot be a peer", () =>
    Effect.gen(function* () {
      const bad = ["", "a b:c:d", "10.0.0.0/33", "10.0.0.0/", "ten/8", "::1/129", "host:0"]
      const certificates = [{ certificate: "AB:CD" }, { certificate: `${"AB:".repeat(31)}AB` }]
      for (const peer of [...bad, ...certificates]) {
        const refused = yield* Effect.flip(
          Layer.build(layerOf({ host, handshake: { port: 0 }, peers: [peer] }))
        )
        assert.instanceOf(refused, PeersRefused, JSON.stringify(peer))
      }
    }).pipe(Effect.scoped)
  )

  it.live("closed: is said once if it is everyone", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => void lines.push(String(message)))
      const node = yield* nodeOf({ open: true }).pipe(Effect.provide(Logger.layer([logger])))
      assert.deepStrictEqual(lines, [`${node.server} is open: it serves every peer`])
      yield* nodeOf(served).pipe(Effect.provide(Logger.layer([logger])))
      assert.lengthOf(lines, 1)
    }).pipe(Effect.scoped)
  )

  it.live("closed: can be an address, a name, a network, with a port or without", () =>
    Effect.gen(function* () {
      for (const peer of [host, `${host}:9`, "127.0.0.0/30", "localhost:12001"]) {
        const node = yield* nodeOf({ peers: ["::1", peer] })
        const { probe } = questions(node.path)
        assert.include(yield* said(node.port, probe!, host), "success", peer)
        assert.notInclude(yield* said(node.port, probe!, "127.0.0.9"), "success", peer)
      }
    }).pipe(Effect.scoped)
  )
})

describe("a handshake port", () => {
  it.live("closed: answers a stranger nothing, whatever he sends, and keeps nothing of it", () =>
    Effect.gen(function* () {
      const { counts, journal } = counted()
      const node = yield* nodeOf(served, {}, journal)
      yield* Context.get(node.context, TransferEngine).register({ name: "secret", memory: 64 })
      const before = { ...counts }
      for (const [kind, question] of Object.entries(questions(node.path))) {
        assert.include(
          ["", "ECONNRESET", "EPIPE"],
          yield* said(node.port, question, elsewhere),
          kind
        )
      }
      assert.deepStrictEqual([counts, sizeOf(node.context)], [before, 0])
      for (const [kind, question] of Object.entries(questions(node.path))) {
        assert.notInclude(["", "ECONNRESET"], yield* said(node.port, question, host), kind)
      }
    }).pipe(Effect.scoped)
  )

  it.live("closed: lets no peer speak for a server that is no peer", () =>
    Effect.gen(function* () {
      const { counts, journal } = counted()
      const node = yield* nodeOf(served, {}, journal)
      const before = { ...counts }
      for (const from of [`${elsewhere}:1@x`, "somebody:1@x", "x@y"]) {
        const answer = yield* said(node.port, offerFrom(from, node.path), host)
        assert.include(answer, "not-admitted")
      }
      assert.deepStrictEqual([counts, sizeOf(node.context)], [before, 0])
      const twin = offerFrom(`${host}:1@x`, node.path, { gid: host, lid: 9 })
      assert.include(yield* said(node.port, twin, host), '"qp_num":[')
      assert.strictEqual(sizeOf(node.context), 1)
    }).pipe(Effect.scoped)
  )

  it.live("closed: asks the program, too, and both must say yes", () =>
    Effect.gen(function* () {
      const admit = ({ asks }: { readonly asks: string }) => asks !== "metadata"
      const node = yield* nodeOf(served, { handshake: { port: 0, admit } })
      const { metadata, probe } = questions(node.path)
      assert.strictEqual(yield* said(node.port, metadata!, host), "")
      assert.include(yield* said(node.port, probe!, host), "success")
      assert.notInclude(yield* said(node.port, probe!, elsewhere), "success")
    }).pipe(Effect.scoped)
  )

  it.live("closed: makes nothing of a name that is too long", () =>
    Effect.gen(function* () {
      const node = yield* nodeOf({ open: true })
      const long = offerFrom(`${host}:1@${"x".repeat(600)}`, node.path)
      const answer = yield* said(node.port, long, host)
      assert.include(answer, "more than 512 characters")
      assert.isBelow(answer.length, 512)
      assert.strictEqual(sizeOf(node.context), 0)
      yield* said(node.port, offerFrom(`${host}:1@${"x".repeat(400)}`, node.path), host)
      assert.strictEqual(sizeOf(node.context), 1)
    }).pipe(Effect.scoped)
  )

  it.live("closed: knows peers by their certificates where it has TLS", () =>
    Effect.gen(function* () {
      const { cert } = tlsOf("client")
      const listed = new X509Certificate(cert!).fingerprint256
      const other = new X509Certificate(tlsOf("server").cert!).fingerprint256
      for (const [certificate, isServed] of [
        [listed, true],
        [listed.toLowerCase(), true],
        [other, false]
      ] as const) {
        const handshake = { port: 0, tls: tlsOf("server") }
        const options = { handshake, calls: { tls: tlsOf("client") } }
        const node = yield* nodeOf({ peers: [{ certificate }] }, options)
        const { probe } = Context.get(node.context, TransferNode)
        const tried = yield* Effect.exit(probe(node.server))
        assert.strictEqual(tried._tag, isServed ? "Success" : "Failure", certificate)
      }
    }).pipe(Effect.scoped)
  )
})

describe("a data port", () => {
  it.live("closed: leaves a stranger before it reads his request", () =>
    Effect.gen(function* () {
      const node = yield* nodeOf(served)
      const request = spec.start()
      const reply = yield* said(node.dataPort, request, host)
      assert.include(reply, spec.key.reply)
      assert.notInclude(yield* said(node.dataPort, request, elsewhere), spec.key.reply)
    }).pipe(Effect.scoped)
  )

  it.live("closed: is where `host` says, and nowhere else", () =>
    Effect.gen(function* () {
      for (const options of [{}, { nics: ["lo"] }]) {
        const node = yield* nodeOf({ open: true }, options)
        const all = Object.values(networkInterfaces()).flat()
        const others = all.filter((one) => one !== undefined && one.address !== host)
        const addresses = [elsewhere, ...others.map((one) => one!.address)]
        assert.isAbove(addresses.length, 1)
        for (const to of addresses) {
          if (to.startsWith("fe80:")) continue
          for (const port of [node.dataPort, node.port]) {
            const answer = yield* said(port, spec.start(), to.includes(":") ? to : host, to)
            assert.strictEqual(answer, "ECONNREFUSED", `${to} ${port}`)
          }
        }
        assert.include(yield* said(node.dataPort, spec.start(), host), spec.key.reply)
      }
    }).pipe(Effect.scoped)
  )
})

describe("a node", () => {
  it.live("closed: calls no server that is no peer", () =>
    Effect.gen(function* () {
      const there = yield* listener(elsewhere)
      const node = yield* nodeOf(served)
      const engine = Context.get(node.context, TransferEngine)
      const own = yield* engine.register({ memory: 64 })
      const peer = `${elsewhere}:${there.port}`
      const write = engine.write({ peer, from: own.slice(), to: { buffer: "inbox" } })
      const { notify, probe } = Context.get(node.context, TransferNode)
      const failures: ReadonlyArray<{ readonly message: string }> = [
        yield* Effect.flip(write),
        yield* Effect.flip(engine.warm(peer)),
        yield* Effect.flip(probe(peer)),
        yield* Effect.flip(notify(peer, { name: "a", message: "b" }))
      ]
      for (const { message } of failures) {
        assert.include(message, "it is not one of the peers of this node")
      }
      assert.strictEqual(there.calls, 0)
    }).pipe(Effect.scoped)
  )

  it.live("closed: calls no address that is no peer's because an offer names it", () =>
    Effect.gen(function* () {
      const there = yield* listener(elsewhere)
      const node = yield* nodeOf(served)
      const at = { gid: elsewhere, lid: there.port }
      const answer = yield* said(node.port, offerFrom(`${host}:1@x`, node.path, at), host)
      assert.include(answer, '"qp_num":[')
      yield* Effect.sleep("500 millis")
      assert.strictEqual(there.calls, 0)
    }).pipe(Effect.scoped)
  )

  it.live("closed: that is open calls where an offer says, but a bounded number of times", () =>
    Effect.gen(function* () {
      // The address of the one that is called comes later in the order, so the node calls.
      const there = yield* listener("127.0.0.3")
      const node = yield* nodeOf({ open: true })
      const at = { gid: "127.0.0.3", lid: there.port }
      yield* said(node.port, offerFrom(`${host}:1@x`, node.path, at), host)
      const calls = 2 * 8
      while (there.calls < calls) yield* Effect.sleep("20 millis")
      yield* Effect.sleep("1500 millis")
      assert.strictEqual(there.calls, calls)
    }).pipe(Effect.scoped)
  )
})

describe("a data connection", () => {
  it.live("closed: has a key of the nonces that both ends exchanged", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* nodeOf(served), yield* nodeOf(served)]
      yield* Context.get(a.context, TransferEngine).warm(b.server)
      const [here, there] = [a, b].map(({ context }) => [...Context.get(context, Endpoints)][0]![1])
      const state = yield* here!.stateOf(b.path)
      const other = yield* there!.stateOf(a.path)
      assert(state._tag === "Ready" && other._tag === "Ready")
      assert.match(state.own.nonce ?? "", /^[0-9a-f]{32}$/)
      assert.notStrictEqual(state.own.nonce, other.own.nonce)
      const nonces = [state.own.nonce, state.peer.half.nonce]
      assert.deepStrictEqual([other.peer.half.nonce, other.own.nonce], nonces)
    }).pipe(Effect.scoped)
  )

  for (const without of ["own", "peer", undefined] as const) {
    it.effect(`closed: has the same key on both sides, without a nonce of ${without} none`, () =>
      Effect.gen(function* () {
        const keyOf = (own: Half, peer: Half) =>
          Effect.gen(function* () {
            const steps: Array<Transition> = []
            const modify = (step: Transition) => Effect.sync(() => void steps.push(step))
            const place = { gidIndex: 0, mtu: 1024 } as Place
            yield* raise(place, [{ modify } as unknown as QueuePair], own, peer)
            const [first] = steps
            assert(first?.to === "rtr")
            return first.key
          })
        const nonceOf = (digit: string) => digit.repeat(32)
        const half = (digit: string, isKnown: boolean): Half => ({
          queuePairs: [1],
          gid: Gid.nowhere,
          lid: 0,
          epoch: undefined,
          mtu: undefined,
          ...(isKnown && { nonce: nonceOf(digit) })
        })
        const own = half("b", without !== "own")
        const peer = half("a", without !== "peer")
        const key = without === undefined ? nonceOf("a") + nonceOf("b") : undefined
        assert.deepStrictEqual([yield* keyOf(own, peer), yield* keyOf(peer, own)], [key, key])
      })
    )
  }

  it.live("closed: moves memory by TLS, between ends that know each other's certificates", () =>
    Effect.gen(function* () {
      const [cert, caller] = [tlsOf("server"), tlsOf("client")]
      const peers = [cert, caller].map(({ cert }) => ({
        certificate: new X509Certificate(cert!).fingerprint256
      }))
      const tls = { listen: cert, connect: caller }
      const options = { handshake: { port: 0, tls: cert }, calls: { tls: caller } }
      const make = nodeOf({ peers }, options, undefined, { on: "worker", tls })
      const [a, b] = [yield* make, yield* make]
      const engine = Context.get(a.context, TransferEngine)
      const bytes = 1 << 20
      const access = ["local-write", "remote-write", "remote-read"] as const
      const there = Context.get(b.context, TransferEngine)
      const inbox = yield* there.register({ name: "inbox", memory: bytes, access })
      const own = yield* engine.register({ memory: bytes })
      own.bytes.fill(7)
      yield* engine.write({ peer: b.server, from: own.slice(), to: { buffer: "inbox" } })
      assert.isTrue(inbox.bytes.every((byte) => byte === 7))
    }).pipe(Effect.scoped)
  )
})

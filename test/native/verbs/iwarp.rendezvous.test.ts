/**
 * Goal: a queue pair that waits out of band takes in the peer that it was told of, and no other.
 * Method: raw callers, whose hello is written by hand, differ from the peer in one respect each:
 * source address, GID, LID, number, secret. Then two ends with and without the same secret meet.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { createHmac } from "node:crypto"
import * as net from "node:net"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { makeProvider } from "../../../src/native/iwarp/device.ts"
import { poolOf, type Settings } from "../../../src/native/iwarp/settings.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import * as Mpa from "../../../src/schema/iwarp/Mpa.ts"
import { tlsOf } from "../io/harness.ts"
import { dialRaw, ready, request } from "./rawPeer.ts"
import { Loopback, victim } from "./targets.ts"

const host = "127.0.0.1"
const settings = { on: "worker", pool: { workers: 1 }, connectWithinMs: 1_000 } as const

/** The peer that the queue pair is told of: before it in the order, so it is the one that calls. */
const peer = { address: host, lid: 1, number: 77 }

interface Call {
  readonly address?: string
  readonly lid?: number
  readonly number?: number
  /** Where the call comes from, if not from the address of its GID. */
  readonly source?: string
  readonly secret?: string
}

const helloOf = (to: number, call: Call): Uint8Array => {
  const { address, lid, number } = { ...peer, ...call }
  const hello = Buffer.alloc(30)
  hello.write("HFQP", "latin1")
  hello.writeUInt32BE(number, 4)
  hello.writeUInt32BE(to, 8)
  hello.writeUInt16BE(lid, 12)
  hello.set(Gid.toBytes(Gid.fromAddress(address)!), 14)
  if (call.secret === undefined) return hello
  const proof = createHmac("sha256", call.secret).update("caller").update(hello).digest()
  return Buffer.concat([hello, proof])
}

const requestOf = (bytes: Uint8Array): Mpa.MpaFrame => {
  const reader = new Mpa.MpaReader("request")
  reader.push(bytes, 0, bytes.length)
  return reader.frame!
}

/** A queue pair that waits for `peer`, and the port where it does. */
const waiting = Effect.gen(function* () {
  const { device } = yield* Loopback
  const { lid } = yield* device.port()
  const { queuePair } = yield* victim(device, [])
  const path = { gid: Gid.fromAddress(peer.address)!, lid: peer.lid }
  yield* queuePair.modify({ to: "rtr", mtu: 1024, peer: peer.number, path })
  return { lid, queuePair }
})

/** Calls, and answers whether the call was taken. */
const isTaken = (call: Call) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { lid, queuePair } = yield* waiting
      const caller = yield* dialRaw(lid, host, call.source ?? call.address ?? peer.address)
      caller.send(request({ privateData: helloOf(queuePair.number, call) }))
      yield* caller.until(() => caller.reply !== undefined)
      return caller.reply?.reject === false
    })
  )

describe("a queue pair that waits out of band", () => {
  it.live("L13: takes in its peer, and nobody who differs from it", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* isTaken({}))
      assert.isFalse(yield* isTaken({ source: "127.0.0.2" }), "source address")
      assert.isFalse(yield* isTaken({ address: "127.0.0.2" }), "GID")
      assert.isFalse(yield* isTaken({ lid: 2 }), "LID")
      assert.isFalse(yield* isTaken({ number: 78 }), "number")
      assert.isFalse(yield* isTaken({ secret: "s" }), "a proof that was not asked for")
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer(settings)))
  )

  it.live("L13: takes in its peer from where a relay sends it", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* isTaken({ source: "127.0.0.9" }))
      assert.isFalse(yield* isTaken({}))
    }).pipe(
      Effect.scoped,
      Effect.provide(Loopback.layer({ ...settings, arrivesFrom: () => "127.0.0.9" }))
    )
  )

  it.live("L13: takes in only a caller that knows the secret, if there is one", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* isTaken({ secret: "s" }))
      assert.isFalse(yield* isTaken({ secret: "t" }))
      assert.isFalse(yield* isTaken({}))
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, secret: "s" })))
  )

  it.live("L13: leaves a caller that is taken in and never sends its first FPDU", () =>
    Effect.gen(function* () {
      const { lid, queuePair } = yield* waiting
      const call = Effect.gen(function* () {
        const caller = yield* dialRaw(lid, host)
        caller.send(request({ privateData: helloOf(queuePair.number, {}) }))
        yield* caller.until(() => caller.reply !== undefined)
        return caller
      })
      const silent = yield* call
      yield* silent.closed
      const second = yield* call
      assert.isFalse(second.reply?.reject)
      second.send(ready)
      yield* Effect.yieldNow
      assert.isFalse(second.socket.closed)
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, connectWithinMs: 200 })))
  )

  it.live("L13: keeps its peer when others call that look the same", () =>
    Effect.gen(function* () {
      const { lid, queuePair } = yield* waiting
      const call = Effect.gen(function* () {
        const caller = yield* dialRaw(lid, host)
        caller.send(request({ privateData: helloOf(queuePair.number, {}) }))
        return caller
      })
      const first = yield* call
      yield* first.until(() => first.reply !== undefined)
      assert.isFalse(first.reply?.reject)
      // One of the two waits for the queue pair until the other one comes, and is then rejected.
      const others = [yield* call, yield* call]
      yield* Effect.raceAllFirst(
        others.map((other) => other.until(() => other.reply !== undefined))
      )
      const replies = others.flatMap(({ reply }) => (reply === undefined ? [] : [reply.reject]))
      assert.deepStrictEqual(replies, [true])
      assert.isFalse(first.socket.closed)
    }).pipe(
      Effect.scoped,
      Effect.provide(Loopback.layer({ ...settings, connectWithinMs: 600_000 }))
    )
  )

  // Its reply repeats the caller's proof.
  it.live("L13: leaves a callee that cannot prove that it knows the secret, and calls again", () =>
    Effect.gen(function* () {
      const calls = yield* Queue.unbounded<Uint8Array>()
      const server = net.createServer((socket) => {
        socket.on("error", () => undefined)
        socket.once("data", (bytes) => {
          const frame = requestOf(bytes)
          Queue.offerUnsafe(calls, frame.privateData)
          // An answer that settles the connection, were it not for the proof.
          const { ird, ord } = frame.enhanced!
          const enhanced = { ...frame.enhanced!, ird: ord, ord: ird }
          socket.write(Mpa.encode({ ...frame, kind: "reply", enhanced }))
        })
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      yield* Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.2", () => resume(Effect.void))
      })
      const { device } = yield* Loopback
      const { queuePair } = yield* victim(device, [])
      const { port } = server.address() as net.AddressInfo
      const path = { gid: Gid.fromAddress("127.0.0.2")!, lid: port }
      yield* queuePair.modify({ to: "rtr", mtu: 1024, peer: 7, path })
      const [first, second] = [yield* Queue.take(calls), yield* Queue.take(calls)]
      assert.strictEqual(first.length, 30 + 32)
      assert.deepStrictEqual(second, first)
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, secret: "s" })))
  )

  /**
   * Checks whether two ends, each with a secret and a key, can write to each other. Those that
   * can have as long as they need, those that cannot give up soon.
   */
  const meet = (
    isMet: boolean,
    secrets: readonly [string | undefined, string | undefined],
    keys: readonly [string | undefined, string | undefined],
    tls: readonly [Settings["tls"], Settings["tls"]] = [undefined, undefined]
  ) =>
    Effect.gen(function* () {
      const make = Effect.fnUntraced(function* (index: 0 | 1) {
        const provider = yield* makeProvider({
          ...settings,
          connectWithinMs: isMet ? 600_000 : settings.connectWithinMs,
          secret: secrets[index],
          tls: tls[index]
        })
        const device = yield* provider.open("lo")
        const domain = yield* device.protectionDomain
        const completions = yield* device.completionQueue(8)
        const queuePair = yield* domain.queuePair({ sendCompletions: completions })
        yield* queuePair.modify({ to: "init" })
        const { gids, lid } = yield* device.port()
        return { completions, queuePair, gid: gids[0]!.gid, lid, key: keys[index] }
      })
      const ends = [yield* make(0), yield* make(1)] as const
      for (const [own, other] of [ends, ends.toReversed() as unknown as typeof ends]) {
        const { gid, lid, queuePair: its } = other
        const { key, queuePair } = own
        yield* queuePair.modify({ to: "rtr", mtu: 1024, peer: its.number, path: { gid, lid }, key })
        yield* queuePair.modify({ to: "rts" })
      }
      const [{ completions, queuePair }] = ends
      const work = Object.assign(new SendRequest(), { opcode: "write" })
      assert.strictEqual(queuePair.post(work), "accepted")
      yield* completions.ready
      const batch = new CompletionBatch(1)
      completions.poll(batch)
      assert.strictEqual(batch.at(0).status, isMet ? "success" : "retry-exceeded")
    }).pipe(Effect.scoped, Effect.provide(IoPool.layer(poolOf({ workers: 1 }))))

  for (const [secrets, isMet] of [
    [["s", "s"], true],
    [["s", "t"], false],
    [["s", undefined], false],
    [[undefined, "s"], false]
  ] as const) {
    it.live(`L13: ${isMet ? "meets" : "does not meet"} with secrets ${secrets.join(", ")}`, () =>
      meet(isMet, secrets, [undefined, undefined])
    )
  }

  for (const [keys, isMet] of [
    [["k", "k"], true],
    [["k", "j"], false],
    [["k", undefined], false],
    [[undefined, "k"], false]
  ] as const) {
    for (const secret of ["s", undefined]) {
      const name = `${isMet ? "meets" : "does not meet"} with keys ${keys.join(", ")}`
      it.live(`closed: ${name}${secret === undefined ? "" : " and a secret"}`, () =>
        meet(isMet, [secret, secret], keys)
      )
    }
  }

  const tls = { listen: tlsOf("server"), connect: tlsOf("client") }
  const stranger = { listen: tlsOf("stranger"), connect: tlsOf("stranger") }
  for (const [name, ends, isMet] of [
    ["both", [tls, tls], true],
    ["one", [tls, undefined], false],
    ["the other", [undefined, tls], false],
    ["a stranger's", [stranger, tls], false]
  ] as const) {
    it.live(
      `closed: ${isMet ? "meets" : "does not meet"} over TLS with certificates of ${name}`,
      () => meet(isMet, [undefined, undefined], ["k", "k"], ends)
    )
  }

  it.live("waits with work for a peer that is not there as long as it is told to", () =>
    Effect.gen(function* () {
      const patient = { ...settings, connectWithinMs: 600_000, peerWithinMs: 50 }
      const device = yield* (yield* makeProvider(patient)).open("lo")
      const completions = yield* device.completionQueue(8)
      const domain = yield* device.protectionDomain
      const queuePair = yield* domain.queuePair({ sendCompletions: completions })
      yield* queuePair.modify({ to: "init" })
      // Behind the device in the order, so it waits to be called.
      const path = { gid: Gid.fromAddress("127.0.0.1")!, lid: 1 }
      yield* queuePair.modify({ to: "rtr", mtu: 1024, peer: 7, path })
      yield* queuePair.modify({ to: "rts" })
      queuePair.post(Object.assign(new SendRequest(), { opcode: "write" }))
      yield* completions.ready
      const batch = new CompletionBatch(1)
      completions.poll(batch)
      assert.strictEqual(batch.at(0).status, "retry-exceeded")
    }).pipe(Effect.scoped, Effect.provide(IoPool.layer(poolOf({ workers: 1 }))))
  )
})

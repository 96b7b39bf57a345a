/**
 * Goal: a caller that is silent, slow, wrong or gone costs a bounded time and nothing else, and a
 * connection that is cut at any byte ends all posted work once.
 * Method: raw peers over real sockets, against a provider with its sockets in a worker.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import { crc, dialRaw, ready, request } from "./rawPeer.ts"
import { attack, bystanders, isUntouched, Loopback, victim } from "./targets.ts"

const settings = { on: "worker", pool: { workers: 1 }, requestWithinMs: 200 } as const
const provided = Effect.provide(Loopback.layer(settings))

/** A caller of a listener whom nobody answers. */
const caller = Effect.gen(function* () {
  const { device } = yield* Loopback
  const listener = yield* device.listen({ host: "127.0.0.1", backlog: 2 })
  return { device, listener, peer: yield* dialRaw(listener.address.port, "127.0.0.1") }
})

const markers = (): Uint8Array => {
  const frame = request()
  frame[16]! |= 0x80
  return frame
}
const oversized = (): Uint8Array => {
  const frame = request()
  new DataView(frame.buffer).setUint16(18, 513)
  return frame
}
const revision3 = (): Uint8Array => {
  const frame = request()
  frame[17] = 3
  return frame
}

describe("a caller", () => {
  it.live("that says nothing, or too slowly, is cut in time", () =>
    Effect.gen(function* () {
      const { peer } = yield* caller
      const frame = request()
      let at = 0
      const drip = setInterval(() => peer.send(frame.subarray(at, ++at)), 50)
      const { reply } = yield* peer.closed
      clearInterval(drip)
      assert.isUndefined(reply)
      assert.isBelow(at, frame.length)
    }).pipe(Effect.scoped, provided)
  )

  for (const [what, bytes] of [
    ["garbage", Uint8Array.from({ length: 64 }, (_, k) => k * 37)],
    ["too much private data", oversized()],
    ["an unknown revision", revision3()],
    ["more before the reply", Buffer.concat([request(), ready])]
  ] as const) {
    it.live(`that says ${what} is cut`, () =>
      Effect.gen(function* () {
        const { peer } = yield* caller
        peer.send(bytes)
        assert.isUndefined((yield* peer.closed).reply)
      }).pipe(Effect.scoped, provided)
    )
  }

  it.live("that wants markers is rejected", () =>
    Effect.gen(function* () {
      const { peer } = yield* caller
      peer.send(markers())
      assert.isTrue((yield* peer.closed).reply?.reject)
    }).pipe(Effect.scoped, provided)
  )

  it.live("beyond the backlog is rejected", () =>
    Effect.gen(function* () {
      const { listener, peer } = yield* caller
      const others = [1, 2].map(() => dialRaw(listener.address.port, "127.0.0.1"))
      for (const other of yield* Effect.all(others)) other.send(request())
      yield* Effect.sleep("20 millis")
      peer.send(request())
      assert.isTrue((yield* peer.closed).reply?.reject)
    }).pipe(Effect.scoped, provided)
  )
})

const conversation = Buffer.concat([
  ready,
  encode({ _tag: "Send", last: 1, solicited: 0, msn: 1, mo: 0, payload: new Uint8Array(8) }, crc),
  encode({ _tag: "Send", last: 0, solicited: 0, msn: 2, mo: 0, payload: new Uint8Array(8) }, crc),
  encode({ _tag: "Send", last: 1, solicited: 0, msn: 2, mo: 8, payload: new Uint8Array(8) }, crc)
])

describe("a connection", () => {
  it.live("that is reset at any byte ends all posted work once", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const others = yield* bystanders(device)
      for (let cut = 0; cut <= conversation.length - ready.length; cut++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { connection, peer, target } = yield* attack(device, [8, 16, 16])
            peer.send(conversation.subarray(ready.length, ready.length + cut))
            const send = new SendRequest()
            assert.strictEqual(target.queuePair.post(send), "accepted")
            yield* Effect.sync(() => peer.socket.resetAndDestroy())
            yield* connection.disconnected
            assert.strictEqual(target.queuePair.state, "err")
            const batch = new CompletionBatch(64)
            assert.strictEqual(target.completions.poll(batch), 4, `cut at ${cut}`)
            assert.strictEqual(target.completions.reserved, 0)
          })
        )
      }
      yield* others
    }).pipe(Effect.scoped, provided)
  )

  it.live("that is reset within the start ends without a connection", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const start = request()
      for (let cut = 0; cut <= start.length; cut++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const listener = yield* device.listen({ host: "127.0.0.1" })
            const peer = yield* dialRaw(listener.address.port, "127.0.0.1")
            yield* peer.until(() => peer.socket.readyState === "open")
            peer.send(start.subarray(0, cut))
            yield* Effect.sync(() => peer.socket.resetAndDestroy())
          })
        )
      }
      yield* yield* bystanders(device)
    }).pipe(Effect.scoped, provided)
  )

  it.live("whose peer owes an answer for too long ends", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const { connection, target } = yield* attack(device, [])
      const read = new SendRequest()
      read.opcode = "read"
      read.id = 9
      read.scatterList.add(target.inbox, 0, 8)
      assert.strictEqual(target.queuePair.post(read.remote(1, 0)), "accepted")
      assert.strictEqual(yield* connection.disconnected, "failed")
      const batch = new CompletionBatch(4)
      assert.strictEqual(target.completions.poll(batch), 1)
      assert.strictEqual(batch.at(0).status, "retry-exceeded")
      assert.isTrue(isUntouched(target.memory, target.inbox, 0))
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, answerWithinMs: 100 })))
  )

  it.live("is not spoken to before its first FPDU", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const target = yield* victim(device, [])
      const listener = yield* device.listen({ host: "127.0.0.1" })
      const accepting = yield* listener.take.pipe(
        Effect.flatMap((asked) => asked.accept({ queuePair: target.queuePair })),
        Effect.forkScoped({ startImmediately: true })
      )
      const peer = yield* dialRaw(listener.address.port, "127.0.0.1")
      // Without the signal of peer-to-peer mode, the program may post at once.
      peer.send(request({ peerToPeer: false }))
      yield* peer.until(() => peer.reply !== undefined)
      yield* Effect.yieldNow
      while (target.queuePair.state !== "rts") yield* Effect.sleep("1 millis")
      const send = new SendRequest()
      send.scatterList.add(target.inbox, 0, 8)
      assert.strictEqual(target.queuePair.post(send), "accepted")
      yield* Effect.sleep("50 millis")
      assert.strictEqual(peer.messages.length, 0)
      peer.send(ready)
      yield* peer.until(() => peer.messages.length > 0)
      assert.strictEqual(peer.messages[0]!._tag, "Send")
      assert.isDefined(accepting)
    }).pipe(Effect.scoped, provided)
  )
})

/**
 * Goal: callers that prove nothing cannot close a listener, or the out-of-band port, to others.
 * Method: raw sockets fill the port up to its limit; then a real connection is made, and the raw
 * sockets are asked which of them was ended.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as net from "node:net"
import type { Lane } from "../../../src/native/io/Lane.ts"
import { LaneClosed, LaneError } from "../../../src/native/io/LaneError.ts"
import { SessionHandle } from "../../../src/native/iwarp/sessionHandle.ts"
import { dialRaw, type RawPeer, ready, request } from "./rawPeer.ts"
import { bystanders, Loopback, victim } from "./targets.ts"

const host = "127.0.0.1"
const settings = {
  on: "worker",
  pool: { workers: 1 },
  requestWithinMs: 60_000,
  decideWithinMs: 60_000
} as const

/** Silent sockets, connected one after the other so that their order is known. */
const silent = Effect.fnUntraced(function* (port: number, count: number) {
  const peers: Array<RawPeer> = []
  for (let index = 0; index < count; index++) {
    const peer = yield* dialRaw(port, host)
    yield* peer.until(() => peer.socket.readyState === "open")
    peers.push(peer)
  }
  return peers
})

const isOpen = ({ socket }: RawPeer): boolean => socket.readyState === "open"

describe("a port that silent sockets have filled", () => {
  it.live("L5: lets the oldest give way to a caller with a request", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const target = yield* victim(device, [])
      const listener = yield* device.listen({ host })
      const peers = yield* silent(listener.address.port, 4)
      const caller = yield* dialRaw(listener.address.port, host)
      caller.send(request())
      const asked = yield* listener.take
      yield* peers[0]!.closed
      assert.deepStrictEqual(peers.map(isOpen), [false, true, true, true])
      const accepting = yield* asked
        .accept({ queuePair: target.queuePair })
        .pipe(Effect.forkScoped({ startImmediately: true }))
      yield* caller.until(() => caller.reply !== undefined)
      caller.send(ready)
      yield* Fiber.join(accepting)
      // The connection is proven, and does not count any more.
      const more = yield* silent(listener.address.port, 5)
      yield* more[0]!.closed
      assert.isTrue(isOpen(caller))
      assert.isFalse(peers.some(isOpen))
      assert.deepStrictEqual(more.map(isOpen), [false, true, true, true, true])
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, callersMax: 4 })))
  )

  it.live("L5: a request alone proves nothing", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const listener = yield* device.listen({ host })
      const peers = yield* silent(listener.address.port, 2)
      for (const peer of peers) {
        peer.send(request({ revision: 1 }))
        yield* listener.take
      }
      yield* silent(listener.address.port, 1)
      yield* peers[0]!.closed
      assert.deepStrictEqual(peers.map(isOpen), [false, true])
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, callersMax: 2 })))
  )

  it.live("L5: one address has its share", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const listener = yield* device.listen({ host })
      const { port } = listener.address
      const [other] = yield* Effect.acquireRelease(
        Effect.sync(() => [net.connect({ host, port, localAddress: "127.0.0.2" })] as const),
        ([socket]) => Effect.sync(() => socket.destroy())
      )
      yield* Effect.callback<void>((resume) => {
        other.once("connect", () => resume(Effect.void))
      })
      const peers = yield* silent(port, 3)
      yield* peers[0]!.closed
      const open = [other.readyState === "open", ...peers.map(isOpen)]
      assert.deepStrictEqual(open, [true, false, true, true])
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, callersPerAddressMax: 2 })))
  )

  it.live("L5: the out-of-band port does the same", () =>
    Effect.gen(function* () {
      const { device } = yield* Loopback
      const { lid } = yield* device.port()
      const peers = yield* silent(lid, 5)
      yield* peers[0]!.closed
      assert.deepStrictEqual(peers.map(isOpen), [false, true, true, true, true])
      yield* yield* bystanders(device)
    }).pipe(Effect.scoped, Effect.provide(Loopback.layer({ ...settings, callersMax: 4 })))
  )
})

describe("a connection that has ended", () => {
  it("leaves nothing that waits for its request, its answer, its readiness or its proof", () => {
    const link = new SessionHandle({ onFrames: () => undefined } as unknown as Lane)
    link.ended(new LaneError({ peer: host, reason: new LaneClosed({ unsent: 0 }) }))
    const { answer, proven, ready, request } = link
    const isOver = [
      Deferred.isDoneUnsafe(request),
      Deferred.isDoneUnsafe(answer),
      Deferred.isDoneUnsafe(ready),
      Deferred.isDoneUnsafe(proven)
    ]
    assert.deepStrictEqual(isOver, [true, true, true, true])
  })
})

/**
 * Goal: a peer that serves one handshake after the other, slowly, as Mooncake does, is reached by
 * all endpoints that want it, in one round, and no call to it is closed before its answer (R35,
 * H16). Method: a scripted Mooncake, and the defaults. Time is virtual and passes while Mooncake
 * works, so that nothing is late on a busy machine.
 */
import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { SlowMooncake } from "../../schema/mooncake/slowServer.ts"
import { onFabric, pool, script, tcpHost } from "./tcp.ts"

const handshakeMillis = 400

/** A host and a busy Mooncake. */
const busy = (mooncake: SlowMooncake, options: TcpHandshakes.Options = {}) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const port = yield* mooncake.listen
    const host = yield* tcpHost().pipe(Effect.provide(onFabric(fabric, "a", options)))
    const pathOf = (index: number) => `127.0.0.1:${port}@mlx5_${index}`
    return { host, pathOf }
  })

/** A Mooncake whose work lets the virtual time pass. */
const virtual = Effect.map(Effect.context<never>(), (context) => {
  const pass = (millis: number) => Effect.runPromiseWith(context)(TestClock.adjust(millis))
  return new SlowMooncake(handshakeMillis, pass)
})

describe("R35: a busy Mooncake", () => {
  it.effect("is reached by sixty endpoints in one round, in its own time", () =>
    Effect.gen(function* () {
      const mooncake = yield* virtual
      const { host, pathOf } = yield* busy(mooncake)
      const links = yield* Effect.forEach(
        Array.from({ length: 60 }, (_, index) => pathOf(index)),
        (peer) => host.store.open(peer),
        { concurrency: "unbounded" }
      )
      assert.isTrue(links.every(({ isOpen }) => isOpen))
      const { acks, offers } = mooncake.served
      assert.strictEqual(offers, 60)
      // One that waits while others are answered is not lost.
      assert.strictEqual(acks, 60)
      assert.strictEqual(mooncake.brokenPipes, 0)
      assert.isAtMost(mooncake.most, 2 * TcpHandshakes.defaults.callsPerServer)
      // Acknowledgements come before the offers that wait here.
      assert.isAtMost(mooncake.longestWait, 3 * TcpHandshakes.defaults.callsPerServer)
      assert.strictEqual(yield* Clock.currentTimeMillis, 60 * handshakeMillis)
    }).pipe(Effect.provide(pool))
  )

  it.effect("is waited for as long as Mooncake itself waits", () =>
    Effect.gen(function* () {
      const mooncake = yield* virtual
      const { host, pathOf } = yield* busy(mooncake)
      mooncake.keepBusy(30_000)
      assert.isTrue((yield* host.store.open(pathOf(1))).isOpen)
      assert.deepStrictEqual(mooncake.served, { offers: 1, acks: 1 })
    }).pipe(Effect.provide(pool))
  )

  it.live("H16: is not closed by callers that have given up", () =>
    Effect.gen(function* () {
      const mooncake = new SlowMooncake(200)
      const { host, pathOf } = yield* busy(mooncake, { callsPerServer: 2 })
      const opening = yield* Effect.forkChild(host.store.open(pathOf(1)), {
        startImmediately: true
      })
      while (mooncake.open === 0) yield* Effect.sleep(5)
      const state = yield* host.store.stateOf(pathOf(1))
      assert.strictEqual(state._tag, "Offering")
      if (state._tag !== "Offering") return
      const link = { epoch: state.epoch, peer: pathOf(1) } as never
      yield* host.store.retire(link, "retired", "given up")
      yield* Fiber.await(opening)
      while (mooncake.open > 0) yield* Effect.sleep(5)
      assert.deepStrictEqual(mooncake.served, { offers: 1, acks: 0 })
      assert.strictEqual(mooncake.brokenPipes, 0)
    }).pipe(Effect.provide(pool))
  )

  it.live("calls that were given up end with their layer", () =>
    Effect.gen(function* () {
      const open = new Set<Socket>()
      const port = yield* script((socket) => {
        open.add(socket)
        socket.resume().once("close", () => open.delete(socket))
        socket.once("end", () => socket.end())
      })
      const fabric = yield* SimFabric.make()
      yield* Effect.gen(function* () {
        const host = yield* tcpHost()
        yield* Effect.forkChild(host.store.open(`127.0.0.1:${port}@nic0`), {
          startImmediately: true
        })
        while (open.size === 0) yield* Effect.sleep(5)
      }).pipe(Effect.scoped, Effect.provide(onFabric(fabric, "a")))
      while (open.size > 0) yield* Effect.sleep(5)
    }).pipe(Effect.timeout("10 seconds"), Effect.provide(pool))
  )
})

/**
 * Goal: a peer that serves one handshake after the other, slowly, as Mooncake does, is reached by
 * all endpoints that want it, in one round, and no call to it is closed before its answer (R35,
 * H16). Method: a scripted Mooncake, and the defaults with all times a twentieth of what they are.
 */
import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { defaults } from "../../../src/actors/endpoint/Endpoint.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { SlowMooncake } from "../../schema/mooncake/slowServer.ts"
import { onFabric, pool, script, tcpHost } from "./tcp.ts"

const scale = 20
const handshakeMillis = 400 / scale
const calls = {
  connectWithinMs: TcpHandshakes.defaults.connectWithinMs / scale,
  answerWithinMs: TcpHandshakes.defaults.answerWithinMs / scale
}
const rules = {
  readyWithinMs: defaults.readyWithinMs / scale,
  openWithinMs: defaults.openWithinMs / scale
}

/** A host whose times are scaled, and a busy Mooncake. */
const busy = (options: TcpHandshakes.Options = {}, millis = handshakeMillis) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const mooncake = new SlowMooncake(millis)
    const port = yield* mooncake.listen
    const host = yield* tcpHost({ store: { rules } }).pipe(
      Effect.provide(onFabric(fabric, "a", { ...calls, ...options }))
    )
    const pathOf = (index: number) => `127.0.0.1:${port}@mlx5_${index}`
    return { host, mooncake, pathOf }
  })

describe("R35: a busy Mooncake", () => {
  it.live("is reached by sixty endpoints in one round, in about its own time", () =>
    Effect.gen(function* () {
      const { host, mooncake, pathOf } = yield* busy()
      const since = performance.now()
      const links = yield* Effect.forEach(
        Array.from({ length: 60 }, (_, index) => pathOf(index)),
        (peer) => host.store.open(peer),
        { concurrency: "unbounded" }
      )
      const millis = performance.now() - since
      assert.isTrue(links.every(({ isOpen }) => isOpen))
      assert.deepStrictEqual(mooncake.served, { offers: 60, acks: 60 })
      assert.strictEqual(mooncake.brokenPipes, 0)
      assert.isAtMost(mooncake.most, 2 * TcpHandshakes.defaults.callsPerServer)
      // Acknowledgements come before the offers that wait here.
      assert.isAtMost(mooncake.longestWait, 3 * TcpHandshakes.defaults.callsPerServer)
      // Its own work takes 1.2 s; timers of a busy machine are late.
      assert.isBelow(millis, 3 * 60 * handshakeMillis)
    }).pipe(Effect.provide(pool))
  )

  it.live("is waited for as long as Mooncake itself waits", () =>
    Effect.gen(function* () {
      const { host, mooncake, pathOf } = yield* busy()
      // Half a minute, at this scale.
      mooncake.keepBusy(30_000 / scale)
      assert.isTrue((yield* host.store.open(pathOf(1))).isOpen)
      assert.deepStrictEqual(mooncake.served, { offers: 1, acks: 1 })
    }).pipe(Effect.provide(pool))
  )

  it.live("H16: is not closed by callers that have given up", () =>
    Effect.gen(function* () {
      const { host, mooncake, pathOf } = yield* busy({ callsPerServer: 2 }, 200)
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

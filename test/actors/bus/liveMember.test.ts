/**
 * Goal: a node is a full member of a real cluster.
 * Method: redis-server on loopback. Each test ends with what hides no retry: one link each way for
 * each peer, as old as the join, and as many dials as peers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { peer } from "../../peers.ts"
import { wideOr } from "../../wide.ts"
import { isConnected, joined, joinedCluster, live, member } from "./liveMember.ts"
import { nodeTimeoutMs, steady } from "./liveMember.ts"
import { cluster, freePort, lineOf, until } from "./redisServers.ts"

peer("redis-server", "a member of a cluster of redis-server", () => {
  describe("that joins", () => {
    it.live(
      "by its own MEET is connected on all nodes, and stays so",
      () =>
        live(
          Effect.gen(function* () {
            const servers = yield* cluster(3, { timeoutMs: nodeTimeoutMs })
            const bus = yield* member({ meet: [`127.0.0.1:${servers[0]!.busPort}`] })
            yield* joined(servers, bus)
            yield* steady(servers, bus, Effect.sleep(wideOr(60_000, 2 * nodeTimeoutMs)))
            const [view] = yield* Stream.runCollect(Stream.take(bus.slots, 1))
            assert.strictEqual(view!.slots.length, 3)
            for (const server of servers) assert.isTrue(yield* isConnected(server, bus))
          })
        ),
      150_000
    )

    it.live(
      "G16: by a client port is told where the bus is, and by TLS that there is none",
      () =>
        live(
          Effect.gen(function* () {
            const servers = yield* cluster(1, { timeoutMs: nodeTimeoutMs })
            const { busPort, port } = servers[0]!
            const bus = yield* member()
            const failure = yield* Effect.flip(bus.meet(`127.0.0.1:${port}`))
            assert.deepInclude(failure, { reason: "NotABus", bus: `127.0.0.1:${busPort}` })
            const secure = yield* member({ tls: tlsOf("client"), name: "secure" })
            const refused = yield* Effect.flip(secure.meet(`127.0.0.1:${busPort}`))
            assert.strictEqual(refused.reason, "TlsRefused")
            yield* bus.meet(failure.bus!)
          })
        ),
      90_000
    )

    it.live(
      "by their MEET is connected on all nodes, and publishes and hears",
      () =>
        live(
          Effect.gen(function* () {
            const servers = yield* cluster(3, { timeoutMs: nodeTimeoutMs })
            const bus = yield* member()
            const [, port] = bus.address.split(":")
            yield* servers[0]!.ask("cluster", "meet", "127.0.0.1", "7", port!)
            yield* joined(servers, bus)
            const heard = yield* Effect.forkScoped(
              Stream.runCollect(Stream.take(bus.subscribe("news"), 2))
            )
            yield* Effect.yieldNow
            yield* steady(
              servers,
              bus,
              Effect.gen(function* () {
                yield* servers[1]!.ask("publish", "news", "one")
                yield* servers[1]!.ask("publish", "news", "two")
                const texts = (yield* Fiber.join(heard)).map((element) =>
                  element._tag === "Published" ? Buffer.from(element.message).toString() : "missed"
                )
                assert.deepStrictEqual(texts, ["one", "two"])
                const result = yield* bus.publish("news", "three")
                assert.deepStrictEqual(result, { taken: 3, full: 0, closed: 0 })
              })
            )
          })
        ),
      90_000
    )
  })

  describe("that has joined", () => {
    it.live(
      "D27: is not failed while its main thread is blocked for 1.5 node timeouts",
      () =>
        live(
          Effect.gen(function* () {
            const { bus, servers } = yield* joinedCluster()
            yield* steady(
              servers,
              bus,
              Effect.sync(() => {
                Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1.5 * nodeTimeoutMs)
              })
            )
            for (const server of servers) assert.isTrue(yield* isConnected(server, bus))
            assert.deepStrictEqual((yield* bus.health).suspected, [])
          })
        ),
      90_000
    )

    it.live(
      "G18: keeps its links through a publication that is longer than its longest frame",
      () =>
        live(
          Effect.gen(function* () {
            // A server that passes 20 MiB on is silent for seconds on a busy machine.
            const { bus, servers } = yield* joinedCluster({ nodeTimeoutMs: 20_000 })
            const script = "return redis.call('publish', 'news', string.rep('x', 20 * 1024 * 1024))"
            const skipped = Effect.map(bus.health, ({ counts }) => counts.framesSkipped === 1)
            const heard = yield* Effect.forkScoped(
              Stream.runCollect(Stream.take(bus.subscribe("news"), 1))
            )
            yield* steady(
              servers,
              bus,
              Effect.gen(function* () {
                yield* servers[1]!.ask("eval", script, "0")
                yield* until(skipped)
                yield* servers[1]!.ask("publish", "news", "after")
                const [element] = yield* Fiber.join(heard)
                assert.strictEqual(element!._tag, "Published")
              })
            )
          })
        ),
      90_000
    )

    it.live(
      "does all of that over TLS with client certificates, and only with those",
      () =>
        live(
          Effect.gen(function* () {
            const { bus, servers } = yield* joinedCluster({ tls: tlsOf("client") })
            const heard = yield* Effect.forkScoped(
              Stream.runCollect(Stream.take(bus.subscribe("news"), 1))
            )
            yield* steady(
              servers,
              bus,
              Effect.gen(function* () {
                yield* servers[1]!.ask("publish", "news", "one")
                const [element] = yield* Fiber.join(heard)
                assert.strictEqual(element!._tag, "Published")
                const { taken } = yield* bus.publish("news", "two")
                assert.strictEqual(taken, 3)
                yield* Effect.sleep(nodeTimeoutMs)
              })
            )
            const stranger = yield* Effect.provide(
              member({ tls: tlsOf("stranger"), nodeTimeoutMs: 500, name: "stranger" }),
              Journal.layerMemory
            )
            const address = `127.0.0.1:${servers[0]!.busPort}`
            const refused = yield* Effect.flip(stranger.meet(address))
            assert.strictEqual(refused.reason, "TlsRefused")
            const plain = yield* Effect.provide(
              member({ nodeTimeoutMs: 500, name: "plain" }),
              Journal.layerMemory
            )
            const unheard = yield* Effect.flip(plain.meet(address))
            assert.strictEqual(unheard.reason, "SpeaksTls")
          })
        ),
      90_000
    )

    it.live(
      "suspects a node that was killed, and connects to it when it is back",
      () =>
        live(
          Effect.gen(function* () {
            const { bus, servers } = yield* joinedCluster()
            const [first] = servers
            yield* first!.kill
            const suspects = Effect.map(bus.health, ({ suspected }) => suspected)
            yield* until(Effect.map(suspects, (ids) => ids.includes(first!.id)))
            yield* first!.restart
            yield* joined(servers, bus)
            assert.deepStrictEqual(yield* suspects, [])
          })
        ),
      90_000
    )

    it.live(
      "D25: is the same node after a restart on another port, without any seed",
      () =>
        live(
          Effect.gen(function* () {
            const servers = yield* cluster(3, { timeoutMs: nodeTimeoutMs })
            const meet = [`127.0.0.1:${servers[0]!.busPort}`]
            const before = yield* Effect.scoped(
              Effect.tap(member({ meet }), (bus) => joined(servers, bus))
            )
            const bus = yield* member({ listen: { port: yield* freePort } })
            assert.strictEqual(bus.id, before.id)
            assert.notStrictEqual(bus.address, before.address)
            yield* joined(servers, bus)
            for (const server of servers) {
              const line = yield* lineOf(server, bus.id)
              assert.include(line!.address, `@${bus.address.split(":")[1]}`)
            }
          })
        ),
      90_000
    )

    it.live(
      "G11: is removed when every node has forgotten it, and stays away",
      () =>
        live(
          Effect.gen(function* () {
            const { bus, servers } = yield* joinedCluster()
            for (const server of servers) yield* server.ask("cluster", "forget", bus.id)
            yield* until(Effect.map(bus.health, ({ state }) => state === "removed"))
            const { counts } = yield* bus.health
            yield* Effect.sleep(2 * nodeTimeoutMs)
            assert.strictEqual((yield* bus.health).counts.dials, counts.dials)
            for (const server of servers) assert.isUndefined(yield* lineOf(server, bus.id))
          })
        ),
      90_000
    )
  })
})

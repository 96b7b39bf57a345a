/**
 * Goal: a node is a full member of a real cluster.
 * Method: redis-server on loopback. Each test ends with what hides no retry: one link each way for
 * each peer, as old as the join, and as many dials as peers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BusNode, type Settings } from "../../../src/actors/bus/BusNode.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { peer } from "../../peers.ts"
import { cluster, freePort, lineOf, type RedisServer, until } from "./redisServers.ts"

const nodeTimeoutMs = 4_000

/** A node in the Scope of the caller, on one worker. */
const member = (settings: Settings = {}) =>
  Effect.gen(function* () {
    const layer = BusNode.layer({ nodeTimeoutMs, ...settings }).pipe(
      Layer.provide(IoPool.layer({ workers: 1, closeWithinMs: 200 }))
    )
    const context = yield* Layer.build(layer)
    return yield* Effect.provide(BusNode, context)
  })

type Bus = BusNode["Service"]

const isConnected = (server: RedisServer, { id }: Bus) =>
  Effect.map(
    lineOf(server, id),
    (line) => line?.link === "connected" && /^(master|primary)$/.test(line.flags)
  )

const joined = (servers: ReadonlyArray<RedisServer>, bus: Bus) =>
  Effect.gen(function* () {
    for (const server of servers) yield* until(isConnected(server, bus))
    yield* until(Effect.map(bus.health, ({ connected }) => connected === servers.length))
    // A server binds a link to this node with the first frame after it has taken this node in.
    for (const server of servers) {
      yield* until(Effect.map(linksOf(server, bus), ({ length }) => length === 2))
    }
  })

/** The links of a server to and from a node: direction and time of creation, and nothing unsent. */
const linksOf = (server: RedisServer, { id }: Bus) =>
  Effect.map(server.ask("cluster", "links"), (text) => {
    const fields = text.split("\n")
    return fields.flatMap((line, k) => {
      if (line.trim() !== id) return []
      return [`${fields[k - 2]?.trim()} ${fields[k + 2]?.trim()}`]
    })
  })

/** G25: nothing was hidden by a retry. */
const steady = <A, E, R>(
  servers: ReadonlyArray<RedisServer>,
  bus: Bus,
  use: Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const before = yield* Effect.forEach(servers, (server) => linksOf(server, bus))
    for (const links of before) {
      assert.deepStrictEqual(links.map((link) => link.split(" ")[0]).toSorted(), ["from", "to"])
    }
    const result = yield* use
    const after = yield* Effect.forEach(servers, (server) => linksOf(server, bus))
    assert.deepStrictEqual(after, before, "links were made anew")
    const { counts } = yield* bus.health
    assert.strictEqual(counts.dials, servers.length)
    assert.strictEqual(counts.framesDropped, 0)
    return result
  })

const live = <A, E>(program: Effect.Effect<A, E, Journal | Scope.Scope>) =>
  program.pipe(Effect.scoped, Effect.provide(Journal.layerMemory))

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
            yield* steady(servers, bus, Effect.sleep(2 * nodeTimeoutMs))
            const [view] = yield* Stream.runCollect(Stream.take(bus.slots, 1))
            assert.strictEqual(view!.slots.length, 3)
            for (const server of servers) assert.isTrue(yield* isConnected(server, bus))
          })
        ),
      90_000
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
    const joinedCluster = Effect.fnUntraced(function* (settings: Settings = {}) {
      const servers = yield* cluster(3, {
        timeoutMs: settings.nodeTimeoutMs ?? nodeTimeoutMs,
        tls: settings.tls !== undefined
      })
      const bus = yield* member({ meet: [`127.0.0.1:${servers[0]!.busPort}`], ...settings })
      yield* joined(servers, bus)
      return { servers, bus }
    })

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

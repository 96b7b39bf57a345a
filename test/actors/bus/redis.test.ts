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
import { peer } from "../../peers.ts"
import { cluster, lineOf, type RedisServer, until } from "./redisServers.ts"

const nodeTimeoutMs = 2_000

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
            const servers = yield* cluster(3, nodeTimeoutMs)
            const bus = yield* member({ meet: [`127.0.0.1:${servers[0]!.busPort}`] })
            yield* joined(servers, bus)
            yield* steady(servers, bus, Effect.sleep(3 * nodeTimeoutMs))
            const [view] = yield* Stream.runCollect(Stream.take(bus.slots, 1))
            assert.strictEqual(view!.slots.length, 3)
            for (const server of servers) assert.isTrue(yield* isConnected(server, bus))
          })
        ),
      60_000
    )

    it.live(
      "by their MEET is connected on all nodes, and publishes and hears",
      () =>
        live(
          Effect.gen(function* () {
            const servers = yield* cluster(3, nodeTimeoutMs)
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
      60_000
    )
  })
})

/** A node in a cluster of redis-server on loopback, and what holds when it is connected to all. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { BusNode, type Settings } from "../../../src/actors/bus/BusNode.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { cluster, lineOf, type RedisServer, until } from "./redisServers.ts"

export const nodeTimeoutMs = 4_000

/** A node in the Scope of the caller, on one worker. */
export const member = (settings: Settings = {}) =>
  Effect.gen(function* () {
    const layer = BusNode.layer({ nodeTimeoutMs, ...settings }).pipe(
      Layer.provide(IoPool.layer({ workers: 1, closeWithinMs: 200 }))
    )
    const context = yield* Layer.build(layer)
    return yield* Effect.provide(BusNode, context)
  })

export type Bus = BusNode["Service"]

export const isConnected = (server: RedisServer, { id }: Bus) =>
  Effect.map(
    lineOf(server, id),
    (line) => line?.link === "connected" && /^(master|primary)$/.test(line.flags)
  )

export const joined = (servers: ReadonlyArray<RedisServer>, bus: Bus) =>
  Effect.gen(function* () {
    for (const server of servers) yield* until(isConnected(server, bus))
    yield* until(Effect.map(bus.health, ({ connected }) => connected === servers.length))
    // A server binds a link to this node with the first frame after it has taken this node in.
    for (const server of servers) {
      yield* until(Effect.map(linksOf(server, bus), ({ length }) => length === 2))
    }
  })

/** The links of a server to and from a node: direction and time of creation, and nothing unsent. */
export const linksOf = (server: RedisServer, { id }: Bus) =>
  Effect.map(server.ask("cluster", "links"), (text) => {
    const fields = text.split("\n")
    return fields.flatMap((line, k) => {
      if (line.trim() !== id) return []
      return [`${fields[k - 2]?.trim()} ${fields[k + 2]?.trim()}`]
    })
  })

/** G25: nothing was hidden by a retry. */
export const steady = <A, E, R>(
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

export const live = <A, E>(program: Effect.Effect<A, E, Journal | Scope.Scope>) =>
  program.pipe(Effect.scoped, Effect.provide(Journal.layerMemory))

/** Three servers, and a node that is connected to each of them. */
export const joinedCluster = Effect.fnUntraced(function* (settings: Settings = {}) {
  const servers = yield* cluster(3, {
    timeoutMs: settings.nodeTimeoutMs ?? nodeTimeoutMs,
    tls: settings.tls !== undefined
  })
  const bus = yield* member({ meet: [`127.0.0.1:${servers[0]!.busPort}`], ...settings })
  yield* joined(servers, bus)
  return { servers, bus }
})

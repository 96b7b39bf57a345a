/**
 * Goal: a node is a full member of a real cluster: it stays connected, publishes and hears.
 * Method: servers of each kind on loopback. Each test ends with what hides no retry (`live`).
 */
import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { Published } from "../../../src/actors/bus/BusNode.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { slotOf } from "../../../src/schema/bus/Slots.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { wideOr } from "../../wide.ts"
import { type Bus, isConnected, type Live, live, member, nodeTimeoutMs } from "./live.ts"
import { eachKind, type Server, server, subscribed, until } from "./servers.ts"

/** The next publications on a channel. */
const hears = (bus: Bus, channel: string, count: number) =>
  Effect.gen(function* () {
    const published = bus.publications.pipe(
      Stream.filter((element): element is Published => element._tag === "Published"),
      Stream.filter((element) => Buffer.from(element.channel).toString() === channel),
      Stream.take(count)
    )
    const heard = yield* Effect.forkScoped(Stream.runCollect(published))
    yield* Effect.yieldNow
    return heard
  })

const textsOf = (elements: ReadonlyArray<Published>) =>
  elements.map(({ message, type }) => `${type} ${Buffer.from(message).toString()}`)

const saysTo = (client: { text: string }, what: string) =>
  until(Effect.sync(() => client.text.includes(what)))

/** How publications of a channel have gone over the wire: with a light or a full header. */
const formsOf = ({ frames }: Live, from: string, channel: string) => {
  const forms = frames().flatMap(({ from: sender, message }) => {
    if (message._tag !== "Publish" || sender !== from) return []
    if (Buffer.from(message.channel).toString() !== channel) return []
    return [message.header === undefined ? "light" : "full"]
  })
  return [...new Set(forms)]
}

/** The shard of each node, as a server knows it: CLUSTER SHARDS in RESP's order. */
const shardsOf = ({ ask }: Server) =>
  Effect.map(ask("cluster", "shards"), (text) => {
    const fields = text.split("\n").map((line) => line.trim())
    const shards = new Map<string, string>()
    let shard = ""
    for (const [k, field] of fields.entries()) {
      if (field === "shard-id") shard = fields[k + 1]!
      if (field === "id") shards.set(fields[k + 1]!, shard)
    }
    return shards
  })

const pool = IoPool.layer({ workers: 1, closeWithinMs: 200 })

const ownerOf = (servers: ReadonlyArray<Server>, channel: string): Server =>
  servers[Math.floor((3 * slotOf(Buffer.from(channel))) / 16_384)]!

eachKind("a member of a cluster", (kind) => {
  it.live(
    "joins by its own MEET, and stays connected on all nodes under one shard id",
    () =>
      live({ kind }, ({ bus, servers }) =>
        Effect.gen(function* () {
          yield* Effect.sleep(wideOr(60_000, 2 * nodeTimeoutMs))
          const [view] = yield* Stream.runCollect(Stream.take(bus.slots, 1))
          assert.strictEqual(view!.slots.length, 3)
          for (const server of servers) assert.isTrue(yield* isConnected(server, bus))
          const shards = yield* Effect.forEach(servers, shardsOf)
          // A node of 7.0 gives shard ids of its own to all others.
          if (shards.every((ids) => ids.size === 4)) {
            assert.strictEqual(new Set(shards.map((ids) => ids.get(bus.id))).size, 1)
          }
        })
      ),
    150_000
  )

  it.live(
    "joins by their MEET, and publishes and hears in the form that each side takes",
    () =>
      live({ kind, metBy: "server", isTapped: true }, (test) =>
        Effect.gen(function* () {
          const { bus, servers } = test
          const heard = yield* hears(bus, "news", 2)
          const client = yield* subscribed(servers[2]!.port, "SUBSCRIBE", "back")
          yield* servers[1]!.ask("publish", "news", "one")
          yield* servers[1]!.ask("publish", "news", "two")
          assert.deepStrictEqual(textsOf(yield* Fiber.join(heard)), ["publish one", "publish two"])
          const result = yield* bus.publish("back", "three")
          assert.deepStrictEqual(result, { taken: 3, full: 0, closed: 0 })
          yield* saysTo(client, "back\r\n$5\r\nthree\r\n")
          const form = kind.isLight ? "light" : "full"
          assert.deepStrictEqual(formsOf(test, servers[1]!.id, "news"), [form])
          assert.deepStrictEqual(formsOf(test, bus.id, "back"), [form])
        })
      ),
    90_000
  )

  it.live(
    "publishes to a channel of a shard at the server that serves it",
    () =>
      live({ kind }, ({ bus, servers }) =>
        Effect.gen(function* () {
          const owner = ownerOf(servers, "news")
          const client = yield* subscribed(owner.port, "SSUBSCRIBE", "news")
          const { taken } = yield* bus.publishShard("news", "hello")
          assert.strictEqual(taken, 1)
          yield* saysTo(client, "smessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n")
        })
      ),
    90_000
  )

  // Elsewhere a server passes them on to the replicas of its own primary alone.
  it.live.runIf(kind.tellsShards)(
    "hears what clients publish to a channel of its shard, and of no other",
    () =>
      live({ kind }, (test) =>
        Effect.gen(function* () {
          const owner = ownerOf(test.servers, "news")
          const other = ownerOf(test.servers, "sports")
          assert.notStrictEqual(owner, other)
          const shard = (yield* owner.ask("cluster", "myshardid")).trim()
          yield* test.restart({ shard })
          const heard = yield* hears(test.bus, "news", 1)
          const others = yield* Effect.forkScoped(Stream.runHead(test.bus.subscribe("sports")))
          // The servers learn the shard from the first PING that says it.
          const hello = Effect.andThen(
            other.ask("spublish", "sports", "not for this shard"),
            owner.ask("spublish", "news", "hello")
          )
          yield* until(Effect.map(hello, () => heard.pollUnsafe() !== undefined))
          assert.deepStrictEqual(textsOf(yield* Fiber.join(heard)), ["publishShard hello"])
          assert.isUndefined(others.pollUnsafe())
        })
      ),
    90_000
  )

  it.live(
    "D27: is not failed while its main thread is blocked for 1.5 node timeouts",
    () =>
      live({ kind }, ({ bus, servers }) =>
        Effect.gen(function* () {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1.5 * nodeTimeoutMs)
          for (const server of servers) assert.isTrue(yield* isConnected(server, bus))
          assert.deepStrictEqual((yield* bus.health).suspected, [])
        })
      ),
    90_000
  )

  it.live(
    "G18: keeps its links through a publication that is longer than its longest frame",
    () =>
      // A server that passes 20 MiB on is silent for seconds on a busy machine.
      live({ kind, nodeTimeoutMs: 20_000 }, ({ bus, servers }) =>
        Effect.gen(function* () {
          const script = "return redis.call('publish', 'news', string.rep('x', 20 * 1024 * 1024))"
          const heard = yield* hears(bus, "news", 1)
          yield* servers[1]!.ask("eval", script, "0")
          yield* until(Effect.map(bus.health, ({ counts }) => counts.framesSkipped === 1))
          yield* servers[1]!.ask("publish", "news", "after")
          assert.deepStrictEqual(textsOf(yield* Fiber.join(heard)), ["publish after"])
          return { framesSkipped: 1 }
        })
      ),
    90_000
  )

  it.live(
    "does all of that over TLS with client certificates, and only with those",
    () =>
      live({ kind, tls: tlsOf("client") }, ({ bus, servers }) =>
        Effect.gen(function* () {
          const heard = yield* hears(bus, "news", 1)
          yield* servers[1]!.ask("publish", "news", "one")
          assert.deepStrictEqual(textsOf(yield* Fiber.join(heard)), ["publish one"])
          assert.strictEqual((yield* bus.publish("news", "two")).taken, 3)
          const address = `127.0.0.1:${servers[0]!.busPort}`
          const reasonOf = (settings: object) =>
            Effect.gen(function* () {
              const other = yield* member({ nodeTimeoutMs: 1_000, ...settings })
              return (yield* Effect.flip(other.meet(address))).reason
            }).pipe(Effect.provide(Layer.fresh(Journal.layerMemory)))
          assert.strictEqual(yield* reasonOf({ tls: tlsOf("stranger") }), "TlsRefused")
          assert.strictEqual(yield* reasonOf({}), "SpeaksTls")
        })
      ),
    90_000
  )

  it.live(
    "G16: is told by a client port where the bus is, and by TLS that there is none",
    () =>
      Effect.gen(function* () {
        const { busPort, port } = yield* server({ kind, timeoutMs: nodeTimeoutMs })
        const bus = yield* member()
        const failure = yield* Effect.flip(bus.meet(`127.0.0.1:${port}`))
        assert.deepInclude(failure, { reason: "NotABus", bus: `127.0.0.1:${busPort}` })
        const secure = yield* member({ tls: tlsOf("client"), name: "secure" })
        const refused = yield* Effect.flip(secure.meet(`127.0.0.1:${busPort}`))
        assert.strictEqual(refused.reason, "TlsRefused")
        yield* bus.meet(failure.bus!)
      }).pipe(Effect.scoped, Effect.provide([pool, Journal.layerMemory])),
    90_000
  )

  it.live(
    "G25: that had to dial again is found out at the end of its test, though all is well",
    () =>
      Effect.gen(function* () {
        const planted = live({ kind, isTapped: true }, ({ servers }) => servers[1]!.tap!.cut)
        const exit = yield* Effect.exit(planted)
        assert.isTrue(Exit.isFailure(exit))
        assert.match(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), /made again/)
      }),
    90_000
  )
})

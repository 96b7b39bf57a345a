/**
 * Goal: a node refuses to start where strangers would get in or peers could not connect, keeps in
 * its journal what changed and nothing else, and never lets a slow subscriber hold anything up.
 * Method: the layer with settings of each kind; the identity over its journal; subscribers that
 * take nothing beside one that does.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BusRefused } from "../../../src/actors/bus/BusError.ts"
import { BusNode, type Settings } from "../../../src/actors/bus/BusNode.ts"
import { allLimits } from "../../../scripts/reference.ts"
import { BusIdentity } from "../../../src/actors/bus/internal/identity.ts"
import { Latest } from "../../../src/actors/bus/internal/latest.ts"
import { settingsOf } from "../../../src/actors/bus/internal/settings.ts"
import { keepPublication, Subscribers } from "../../../src/actors/bus/internal/subscribers.ts"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { StorageFailed } from "../../../src/schema/JournalRecord.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { idOf } from "./network.ts"
import { until } from "./servers.ts"

const pool = IoPool.layer({ workers: 1, closeWithinMs: 200 })

const start = (settings: Settings) =>
  Layer.build(Layer.provide(BusNode.layerEphemeral(settings), pool)).pipe(
    Effect.flatMap((context) => Effect.provide(BusNode, context))
  )

describe("a node refuses to start", () => {
  const everywhere = { host: "0.0.0.0" }

  it.live.each([
    ["D26: where strangers reach it without certificates", { listen: everywhere }, "Unprotected"],
    [
      "D26: with TLS that asks for no certificates",
      { listen: everywhere, tls: { ...tlsOf("server"), verify: "none" } },
      "Unprotected"
    ],
    ["G17: on loopback for a cluster elsewhere", { meet: ["10.0.0.5:16379"] }, "Unreachable"],
    ["with a seed that is no address", { meet: ["10.0.0.5"] }, "BadAddress"],
    ["G17: with a name announced", { announce: { ip: "x".repeat(64), port: 7 } }, "BadAddress"],
    ["G17: with port 0 announced", { announce: { ip: "10.0.0.1", port: 0 } }, "BadAddress"],
    ["G18: with less room for a frame than a PING has", { maxUnprovenBytes: 2_255 }, "BadLimit"],
    ["G18: with longer frames of strangers", { maxFrameBytes: 65_535 }, "BadLimit"],
    ["G18: with a frame that no lane puts together", { maxFrameBytes: 67_108_865 }, "BadLimit"],
    ["with a limit of nothing", { waitingMessages: 0 }, "BadLimit"],
    ["with waits that shrink", { firstRedialMs: 10, longestRedialMs: 9 }, "BadLimit"]
  ] as ReadonlyArray<[string, Settings, BusRefused["reason"]]>)("%s", ([, settings, reason]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(start(settings))
      assert.strictEqual("reason" in error && error.reason, reason)
    }).pipe(Effect.scoped)
  )

  it.live("G9: on a port that another node has", () =>
    Effect.gen(function* () {
      const first = yield* start({})
      const port = Number(first.address.split(":")[1])
      const error = yield* Effect.flip(start({ listen: { port } }))
      assert.deepInclude(error, { _tag: "SocketOpenError", code: "EADDRINUSE" })
    }).pipe(Effect.scoped)
  )
})

describe("the limits of a node", () => {
  it("each have a unit, a default and its reason", () => {
    const path = "src/actors/bus/internal/settings.ts"
    const described = allLimits().find(({ file }) => file === path)!.limits
    const names = Object.keys(settingsOf())
    assert.sameMembers(
      described.map(({ name }) => name),
      names
    )
    for (const { default: value, name } of described) assert.include(value, ":", name)
  })

  it.live("G18: bound the longest publication that is taken, and the link stays", () =>
    Effect.gen(function* () {
      const settings = { maxFrameBytes: 65_536, nodeTimeoutMs: 2_000 }
      const [first, second] = [yield* start(settings), yield* start(settings)]
      const heard = yield* Effect.forkScoped(
        Stream.runCollect(Stream.take(second.subscribe("news"), 1))
      )
      yield* first.meet(second.address)
      const { taken } = yield* first.publish("news", new Uint8Array(70_000))
      assert.strictEqual(taken, 1)
      yield* first.publish("news", "short")
      const [element] = yield* Fiber.join(heard)
      assert.deepInclude(element, {
        _tag: "Published",
        message: new Uint8Array(Buffer.from("short"))
      })
      const { counts } = yield* second.health
      assert.strictEqual(counts.framesSkipped, 1)
    }).pipe(Effect.scoped)
  )
})

describe("the shard of a node", () => {
  it.live("is one of its own, or the one that it is given", () =>
    Effect.gen(function* () {
      const shard = "5".repeat(40)
      const [first, second] = [yield* start({ shard }), yield* start({})]
      yield* first.meet(second.address)
      const shardOf = (bus: typeof first) =>
        bus.members.pipe(
          Stream.map(({ members }) => members[0]?.shard),
          Stream.filter((shard) => shard !== undefined),
          Stream.take(1),
          Stream.runCollect
        )
      assert.deepStrictEqual(yield* shardOf(second), [shard])
      assert.match((yield* shardOf(first))[0]!, /^[0-9a-f]{40}$/)
      assert.deepInclude(yield* Effect.flip(start({ shard: "mine" })), { reason: "BadShard" })
    }).pipe(Effect.scoped)
  )
})

describe("a node without a cluster", () => {
  it.live("G21: says so, and fails what needs a peer", () =>
    Effect.gen(function* () {
      const bus = yield* start({ admit: "anyone", nodeTimeoutMs: 200 })
      assert.strictEqual((yield* bus.health).state, "notJoined")
      assert.deepInclude(yield* Effect.flip(bus.publish("news", "x")), { _tag: "NotPublished" })
      assert.deepInclude(yield* Effect.flip(bus.forget(bus.id)), { reason: "myself" })
      const meet = (address: string) => Effect.map(Effect.flip(bus.meet(address)), (e) => e.reason)
      assert.strictEqual(yield* meet("127.0.0.1:1"), "NoAnswer")
      assert.strictEqual(yield* meet(bus.address), "Myself")
      assert.strictEqual(yield* meet("nowhere"), "BadAddress")
    }).pipe(Effect.scoped)
  )
})

describe("a pool without workers", () => {
  it.live("G7: answers for no node that is busy, and health says so", () =>
    Effect.gen(function* () {
      for (const workers of [0, 1]) {
        const layer = Layer.provide(BusNode.layerEphemeral({}), IoPool.layer({ workers }))
        const { answersWhileBusy } = yield* Effect.flatMap(BusNode, ({ health }) => health).pipe(
          Effect.provide(layer)
        )
        assert.strictEqual(answersWhileBusy, workers > 0)
      }
    })
  )
})

describe("the identity of a node", () => {
  it.live("G10: is new at the first start, and found again at the next", () =>
    Effect.gen(function* () {
      const again = Effect.map(BusNode, ({ id, isNew }) => ({ id, isNew })).pipe(
        Effect.provide(Layer.fresh(BusNode.layer({})))
      )
      const [first, second] = [yield* again, yield* again]
      assert.deepStrictEqual([first.isNew, second.isNew], [true, false])
      assert.strictEqual(second.id, first.id)
    }).pipe(Effect.provide([pool, Journal.layerMemory]))
  )

  it.effect("G10, G22: is drawn once, and stores changes alone", () =>
    Effect.gen(function* () {
      const [first, second, peer] = ["a", "b", "p"].map(idOf) as [string, string, string]
      const events = Effect.flatMap(Journal, (journal) =>
        Stream.runCount(journal.read("BusIdentity/node"))
      )
      const life = (id: string) =>
        Effect.gen(function* () {
          const identity = yield* Actor.spawn(BusIdentity, "node")
          yield* identity.ask.Begin({ id, shard: id })
          yield* identity.ask.TakePort({ port: 7_000 })
          for (let k = 0; k < 100; k++) {
            yield* identity.ask.KeepPeer({ id: peer, ip: "10.0.0.1", busPort: 7_001 })
          }
          return yield* identity.state
        }).pipe(Effect.scoped)
      const state = yield* life(first)
      assert.strictEqual(state.id, first)
      const stored = yield* events
      assert.strictEqual((yield* life(second)).id, first)
      assert.strictEqual(yield* events, stored)
      assert.strictEqual(stored, 3)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

/** A journal that fails to append while it is told to. */
const unsteady = (memory: Journal["Service"]) => {
  const state = { isFull: false, failures: 0, stored: 0 }
  const append: typeof memory.append = (events) => {
    if (!state.isFull) {
      return Effect.tap(memory.append(events), () => Effect.sync(() => void state.stored++))
    }
    state.failures++
    const where = { operation: "append", file: "memory" } as const
    return Effect.fail(new StorageFailed({ ...where, reason: "disk-full", detail: "full" }))
  }
  return { state, journal: Layer.succeed(Journal, { ...memory, append }) }
}

describe("a disk that is full (G22)", () => {
  it.live("costs no link, and what was to be stored is stored once there is room", () =>
    Effect.gen(function* () {
      const { journal, state } = unsteady(yield* Effect.provide(Journal, Journal.layerMemory))
      const settings: Settings = { admit: "anyone", nodeTimeoutMs: 1_000 }
      const onDisk = Effect.flatMap(Layer.build(BusNode.layer(settings)), (context) =>
        Effect.provide(BusNode, context)
      ).pipe(Effect.provide(Layer.fresh(journal)))
      const before = yield* Scope.fork(yield* Effect.scope)
      const node = yield* Scope.provide(onDisk, before)
      const peer = yield* start(settings)
      state.isFull = true
      yield* peer.meet(node.address)
      yield* until(Effect.sync(() => state.failures > 3))
      const ages = Effect.map(node.links, (links) => links.map(({ ageMs }) => ageMs))
      yield* until(Effect.map(ages, (ages) => ages.every((age) => age > 2_500)))
      assert.deepStrictEqual((yield* node.health).suspected, [])
      assert.strictEqual((yield* node.health).counts.dials, 1)
      state.isFull = false
      // A later start knows the peer; it dials it by what the journal has.
      const again = Effect.gen(function* () {
        const scope = yield* Scope.make()
        const later = yield* Scope.provide(onDisk, scope)
        const { connecting } = yield* later.health
        yield* Scope.close(scope, Exit.void)
        return connecting === 1
      })
      const { stored } = state
      yield* until(Effect.sync(() => state.stored > stored))
      yield* Scope.close(before, Exit.void)
      yield* until(again)
    }).pipe(Effect.scoped, Effect.provide(pool))
  )
})

describe("one journal with two owners (G8)", () => {
  it.live("ends the older node: it keeps no link, dials nothing and says so", () =>
    Effect.gen(function* () {
      const memory = yield* Effect.provide(Journal, Journal.layerMemory)
      const settings: Settings = { admit: "anyone", nodeTimeoutMs: 1_000 }
      // Each wrapper is a journal of its own, as a second process would have.
      const owner = Effect.suspend(() =>
        Effect.flatMap(Layer.build(BusNode.layer(settings)), (context) =>
          Effect.provide(BusNode, context)
        ).pipe(Effect.provide(Layer.fresh(Layer.succeed(Journal, { ...memory }))))
      )
      const [older, newer] = [yield* owner, yield* owner]
      assert.strictEqual(newer.id, older.id)
      const peer = yield* start(settings)
      yield* Effect.exit(peer.meet(older.address))
      yield* until(Effect.map(older.health, ({ state }) => state === "replaced"))
      assert.deepStrictEqual(yield* older.links, [])
      const { dials } = (yield* older.health).counts
      yield* Effect.sleep(1_500)
      assert.strictEqual((yield* older.health).counts.dials, dials)
      assert.notStrictEqual((yield* newer.health).state, "replaced")
    }).pipe(Effect.scoped, Effect.provide(pool))
  )
})

const publication = (k: number) => ({
  _tag: "Published" as const,
  type: "publish" as const,
  from: idOf("p"),
  channel: Buffer.from("news"),
  message: Buffer.from(`${k}`.padStart(8, "0")),
  moduleType: 0
})

const Price = Schema.Struct({ symbol: Schema.String, at: Schema.Date, cents: Schema.Int })

describe("a subscriber", () => {
  it.live("gets values of its Schema, and all else goes to a stream of its own", () =>
    Effect.gen(function* () {
      const [first, second] = [yield* start({}), yield* start({})]
      const collect = <A>(stream: Stream.Stream<A>, count: number) =>
        Effect.forkScoped(Stream.runCollect(Stream.take(stream, count)))
      const prices = yield* collect(second.subscribe("prices", Price), 2)
      const undecoded = yield* collect(second.undecoded, 3)
      yield* first.meet(second.address)
      const values = [1_999, 2_001].map((cents) => ({ symbol: "X", at: new Date(0), cents }))
      yield* first.publish("prices", Price, values[0]!)
      yield* first.publish("prices", "no JSON")
      yield* first.publish("prices", Uint8Array.of(0xff))
      yield* first.publish("prices", JSON.stringify({ symbol: "X".repeat(1_000) }))
      yield* first.publish("others", "not subscribed to")
      yield* first.publish("prices", Price, values[1]!)
      assert.deepStrictEqual(
        yield* Fiber.join(prices),
        values.map((value) => ({ _tag: "Received" as const, from: first.id, value }))
      )
      for (const element of yield* Fiber.join(undecoded)) {
        assert.deepInclude(element, { _tag: "Undecoded", from: first.id })
        assert.isAtMost("detail" in element ? element.detail.length : 0, 300)
      }
      assert.strictEqual((yield* second.health).undecoded, 3)
      const wrong = { ...values[0]!, cents: 0.5 }
      const error = yield* Effect.flip(first.publish("prices", Price, wrong))
      assert.strictEqual(error._tag, "SchemaError")
    }).pipe(Effect.scoped)
  )

  it.effect("G6: that takes nothing misses with a count, and another one misses nothing", () =>
    Effect.gen(function* () {
      const subscribers = new Subscribers()
      const all = { messages: 10_000, bytes: 1_000_000 }
      const slow = yield* Stream.toPull(subscribers.stream(() => true, { messages: 10, bytes: 64 }))
      const other = yield* Effect.forkScoped(
        Stream.runCollect(
          Stream.take(
            subscribers.stream(() => true, all),
            1_000
          )
        )
      )
      yield* Effect.forkScoped(Effect.ignore(slow))
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      for (let k = 0; k < 1_000; k++) subscribers.deliver(publication(k), keepPublication)
      const heard = yield* Fiber.join(other)
      assert.isTrue(heard.every(({ _tag }) => _tag === "Published"))
      const rest: Array<string> = []
      while (!rest.includes("Missed")) {
        for (const element of yield* slow) rest.push(element._tag)
      }
      assert.isAtMost(rest.length, 11)
    }).pipe(Effect.scoped)
  )

  it.effect("G15: of a view ends with the truth, however late it reads", () =>
    Effect.gen(function* () {
      const latest = new Latest(0)
      const pull = yield* Stream.toPull(latest.stream)
      assert.deepStrictEqual([...(yield* pull)], [0])
      for (let k = 1; k <= 1_000; k++) latest.set(k)
      assert.deepStrictEqual([...(yield* pull)], [1_000])
    }).pipe(Effect.scoped)
  )
})

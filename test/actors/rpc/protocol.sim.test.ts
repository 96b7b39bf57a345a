/**
 * Goal: an RpcGroup of effect/rpc runs over RPC-over-RDMA unchanged: values, errors and streams,
 * interruption, back-pressure, lost connections and replaced servers.
 * Method: the group's own client and server over the two protocols on a simulated fabric. Handlers
 * count what they begin, produce and finish.
 */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as RpcProtocol from "../../../src/actors/rpc/RpcProtocol.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import type { Address } from "../../../src/native/verbs/Connection.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

const group = RpcGroup.make(
  Rpc.make("Double", { payload: { value: Schema.Int }, success: Schema.Int, error: Refused }),
  Rpc.make("Slow", { payload: { millis: Schema.Int }, success: Schema.Int }),
  Rpc.make("Never", { payload: { id: Schema.Int } }),
  Rpc.make("Text", { payload: { text: Schema.String }, success: Schema.String }),
  Rpc.make("Count", {
    payload: { to: Schema.Int, everyMs: Schema.Int },
    success: Schema.Int,
    error: Refused,
    stream: true
  })
)

/** What the handlers have done. */
const makeLog = () => ({ begun: 0, produced: 0, finished: 0 })
type Log = ReturnType<typeof makeLog>

const handlers = (log: Log) =>
  group.toLayer({
    Double: ({ value }) =>
      value < 0 ? Effect.fail(new Refused({ why: "negative" })) : Effect.succeed(2 * value),
    Slow: ({ millis }) =>
      Effect.suspend(() => (log.begun++, Effect.delay(Effect.succeed(millis), millis))).pipe(
        Effect.ensuring(Effect.sync(() => void log.finished++))
      ),
    Never: () =>
      Effect.suspend(() => {
        log.begun++
        return Effect.never
      }).pipe(Effect.ensuring(Effect.sync(() => void log.finished++))),
    Text: ({ text }) => Effect.succeed(text),
    Count: ({ everyMs, to }) =>
      Stream.range(1, to).pipe(
        Stream.mapEffect((value) =>
          Effect.delay(
            Effect.sync(() => (log.produced++, value)),
            everyMs
          )
        ),
        Stream.rechunk(1),
        Stream.onStart(Effect.sync(() => void log.begun++)),
        Stream.ensuring(Effect.sync(() => void log.finished++))
      )
  })

type ServerOptions = Partial<RpcProtocol.ProtocolServerOptions>
type ClientOptions = Partial<RpcProtocol.ProtocolClientOptions>

/** A server of the group. Its protocol may end before its handlers, as in a process that dies. */
const startServer = Effect.fnUntraced(
  function* (_: SimFabric, log: Log, options: ServerOptions = {}, scope?: Scope.Scope) {
    const { protocol, server } = yield* Scope.provide(
      RpcProtocol.makeServer({ open: true, host: "*", closeWithinMs: 100, ...options }),
      scope ?? (yield* Effect.scope)
    )
    yield* Layer.build(
      RpcServer.layer(group).pipe(
        Layer.provide(handlers(log)),
        Layer.provide(Layer.succeed(RpcServer.Protocol, protocol))
      )
    )
    return server
  },
  (start, fabric) =>
    Effect.provide(start, [
      SimVerbs.layer(fabric, { host: "server" }),
      RpcSerialization.layerSchemaBinary()
    ])
)

const startClient = (
  fabric: SimFabric,
  to: Address,
  { host = "client", ...options }: ClientOptions & { readonly host?: string } = {}
) =>
  Effect.gen(function* () {
    const { client, protocol } = yield* RpcProtocol.makeClient({
      to,
      firstPauseMs: 5,
      longestPauseMs: 50,
      ...options
    })
    const rpc = yield* Effect.provideService(RpcClient.make(group), RpcClient.Protocol, protocol)
    return { client, rpc }
  }).pipe(Effect.provide([SimVerbs.layer(fabric, { host }), RpcSerialization.layerSchemaBinary()]))

const makeWorld = Effect.fnUntraced(function* (
  options: { readonly server?: ServerOptions; readonly client?: ClientOptions } = {}
) {
  const fabric = yield* SimFabric.make()
  const log = makeLog()
  const server = yield* startServer(fabric, log, options.server)
  const ends = yield* startClient(fabric, server.address, options.client)
  return { fabric, log, server, ...ends }
})

const upTo = (to: number) => Array.from({ length: to }, (_, index) => index + 1)
const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

describe("an RpcGroup", () => {
  it.sim("has its values, errors and streams", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { fabric, rpc } = yield* makeWorld()
      assert.strictEqual(yield* rpc.Double({ value: 21 }), 42)
      const error = yield* Effect.flip(rpc.Double({ value: -1 }))
      assert.deepStrictEqual(error, new Refused({ why: "negative" }))
      assert.strictEqual(yield* rpc.Slow({ millis: 50 }), 50)
      const counted = yield* Stream.runCollect(rpc.Count({ to: 20, everyMs: 1 }))
      assert.deepStrictEqual([...counted], upTo(20))
      const all = yield* Effect.forEach(upTo(40), (value) => rpc.Double({ value }), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        all,
        upTo(40).map((value) => 2 * value)
      )
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  it.sim("has messages of every length up to its limit", { seeds: 2 }, () =>
    Effect.gen(function* () {
      const { rpc } = yield* makeWorld({ server: { maxMessageBytes: 1 << 20 } })
      for (const length of [0, 900, 2_900, 3_100, 4_100, 100_000, 1_000_000]) {
        const text = "x".repeat(length)
        assert.strictEqual((yield* rpc.Text({ text })).length, length)
      }
      const exit = yield* Effect.exit(rpc.Text({ text: "x".repeat(1 << 20) }))
      assert.isTrue(Exit.hasDies(exit))
      assert.strictEqual(yield* rpc.Double({ value: 1 }), 2)
    })
  )

  it.sim("G7 G17: interrupts its handlers, whatever credits there are", { seeds: 3 }, () =>
    Effect.gen(function* () {
      for (const credits of [1, 2, 8]) {
        const { client, fabric, log, rpc } = yield* makeWorld({ server: { credits } })
        const never = upTo(20).map((id) => Effect.forkChild(rpc.Never({ id })))
        const streams = upTo(20).map(() =>
          Effect.forkChild(Stream.runDrain(rpc.Count({ to: 1_000_000, everyMs: 1_000 })))
        )
        const fibers = yield* Effect.all([...never, ...streams])
        yield* Sim.eventually(() => log.begun === 40, "60 seconds", "all handlers run")
        assert.strictEqual(yield* rpc.Double({ value: 4 }), 8)
        yield* Fiber.interruptAll(fibers)
        // Long before the server would give up a client that has nothing more to say.
        yield* Sim.eventually(() => log.finished === 40, "5 seconds", "all finalizers ran")
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(client.usage, free)
        assert.strictEqual(fabric.rnrs, 0)
      }
    })
  )

  it.sim("G17: stops a producer whose consumer stops, and nobody else", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { log, rpc } = yield* makeWorld({ server: { credits: 4 } })
      const taken = yield* Deferred.make<void>()
      const stopped = rpc
        .Count({ to: 10_000, everyMs: 0 }, { streamBufferSize: 4 })
        .pipe(
          Stream.runForEach(() => Effect.andThen(Deferred.succeed(taken, undefined), Effect.never))
        )
      const fiber = yield* Effect.forkChild(stopped)
      yield* Deferred.await(taken)
      const calls = Effect.forEach(upTo(20), (value) => rpc.Double({ value }))
      yield* calls
      yield* Effect.sleep("30 seconds")
      // The consumer has one, the buffer four, and one is on its way; the producer is one ahead.
      assert.isAtMost(log.produced, 1 + 4 + 1 + 1)
      const another = yield* Stream.runCollect(rpc.Count({ to: 50, everyMs: 1 }))
      assert.deepStrictEqual([...another], upTo(50))
      yield* Fiber.interrupt(fiber)
      yield* Sim.eventually(() => log.finished === 2, "10 seconds", "both streams ended")
    })
  )

  it.sim("G3 G18: outlives lost connections, without loss and repetition", { seeds: 4 }, () =>
    Effect.gen(function* () {
      const { client, fabric, log, rpc } = yield* makeWorld()
      const counting = yield* Effect.forkChild(
        Stream.runCollect(rpc.Count({ to: 100, everyMs: 5 })),
        { startImmediately: true }
      )
      const slow = yield* Effect.forkChild(rpc.Slow({ millis: 500 }), { startImmediately: true })
      while (counting.pollUnsafe() === undefined) {
        yield* Effect.sleep("37 millis")
        yield* client.reconnect
        assert.strictEqual(yield* rpc.Double({ value: 8 }), 16)
      }
      assert.deepStrictEqual([...(yield* Fiber.join(counting))], upTo(100))
      assert.strictEqual(yield* Fiber.join(slow), 500)
      assert.deepStrictEqual(log, { begun: 2, produced: 100, finished: 2 })
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  for (const isKilled of [false, true]) {
    const what = isKilled ? "killed" : "closed"
    it.sim(`G18: ends in a typed error if its server is ${what}`, { seeds: 3 }, () =>
      Effect.gen(function* () {
        const fabric = yield* SimFabric.make()
        const log = makeLog()
        const scope = yield* Scope.make()
        const server = yield* startServer(fabric, log, {}, scope)
        const { rpc } = yield* startClient(fabric, server.address)
        const seen: Array<number> = []
        const counting = yield* Effect.forkChild(
          Stream.runForEach(rpc.Count({ to: 1_000_000, everyMs: 1 }), (value) =>
            Effect.sync(() => void seen.push(value))
          )
        )
        const slow = yield* Effect.forkChild(rpc.Slow({ millis: 100_000 }))
        yield* Sim.eventually(() => seen.length > 10, "10 seconds", "the stream runs")
        if (isKilled) fabric.crash("server")
        yield* Scope.close(scope, Exit.void)
        yield* startServer(fabric, log, { port: server.address.port })
        const errors = [
          yield* Effect.flip(Fiber.join(counting)),
          yield* Effect.flip(Fiber.join(slow))
        ]
        for (const { _tag } of errors) assert.strictEqual(_tag, "RpcClientError")
        assert.deepStrictEqual(seen, upTo(seen.length))
        assert.strictEqual(yield* rpc.Double({ value: 3 }), 6)
      })
    )
  }

  it.sim("outlives no client: its handlers end with it", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const log = makeLog()
      const server = yield* startServer(fabric, log, { goneAfterMs: 2_000 })
      const begin = (scope: Scope.Scope) =>
        Effect.gen(function* () {
          const { rpc } = yield* startClient(fabric, server.address, { renewEveryMs: 500 })
          yield* Effect.forkScoped(Stream.runDrain(rpc.Count({ to: 1_000_000, everyMs: 10 })))
          yield* Effect.forkScoped(rpc.Never({ id: 1 }))
        }).pipe(Scope.provide(scope))
      const leaving = yield* Scope.make()
      yield* begin(leaving)
      yield* Sim.eventually(() => log.begun === 2, "10 seconds", "the handlers run")
      yield* Scope.close(leaving, Exit.void)
      yield* Sim.eventually(() => log.finished === 2, "1 second", "a client that leaves is told of")
      yield* begin(yield* Effect.scope)
      yield* Sim.eventually(() => log.begun === 4, "10 seconds", "the handlers run again")
      fabric.strike({ _tag: "Cut", from: "client", to: "server", forMillis: 60_000 })
      yield* Sim.eventually(() => log.finished === 4, "4 seconds", "one that is mute is given up")
    })
  )

  for (const node of ["server", "client"]) {
    it.sim(`G18: loses and repeats no chunk that the ${node} is cut at`, { seeds: 3 }, () =>
      Effect.gen(function* () {
        const { fabric, log, rpc } = yield* makeWorld()
        const seen: Array<number> = []
        yield* Stream.runForEach(rpc.Count({ to: 40, everyMs: 2 }), (value) =>
          Effect.sync(() => {
            seen.push(value)
            // The client has the chunk, and the server has not heard of that.
            fabric.strike({ _tag: "QueuePairError", node, step: "running" })
          })
        )
        assert.deepStrictEqual(seen, upTo(40))
        assert.deepStrictEqual(log, { begun: 1, produced: 40, finished: 1 })
      })
    )
  }

  it.sim("G18: of a replaced client meets nothing of the older one", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const log = makeLog()
      const admit = () => Effect.succeed("one principal")
      const server = yield* startServer(fabric, log, { admit, open: undefined })
      const older = yield* startClient(fabric, server.address, { host: "older" })
      yield* Effect.forkScoped(
        Effect.ignore(Stream.runDrain(older.rpc.Count({ to: 1_000, everyMs: 10 })))
      )
      yield* Effect.forkScoped(Effect.ignore(older.rpc.Slow({ millis: 2_000 })))
      yield* Effect.sleep("50 millis")
      fabric.strike({ _tag: "Cut", from: "older", to: "server", forMillis: 60_000 })
      // Its requests have the same numbers, from 0 on.
      const { rpc } = yield* startClient(fabric, server.address, { host: "newer" })
      const counted = yield* Stream.runCollect(rpc.Count({ to: 30, everyMs: 10 }))
      assert.deepStrictEqual([...counted], upTo(30))
      assert.strictEqual(yield* rpc.Slow({ millis: 7 }), 7)
    })
  )

  it.sim("G18: ends in a typed error if its server has forgotten the client", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const server = yield* startServer(fabric, makeLog(), { maxClients: 1, idleWithinMs: 500 })
      const limits = { renewEveryMs: 1_000, overdueAfterMs: 500, probeWithinMs: 200 }
      const { rpc } = yield* startClient(fabric, server.address, limits)
      const counting = yield* Effect.forkChild(
        Effect.exit(Stream.runDrain(rpc.Count({ to: 1_000, everyMs: 3_000 })))
      )
      yield* Effect.sleep("100 millis")
      fabric.strike({ _tag: "Cut", from: "client", to: "server", forMillis: 1_500 })
      yield* Effect.sleep("1 second")
      const another = yield* startClient(fabric, server.address, { host: "another" })
      assert.strictEqual(yield* another.rpc.Double({ value: 1 }), 2)
      const exit = yield* Fiber.join(counting).pipe(Effect.timeout("60 seconds"))
      const error = yield* Effect.flip(Effect.suspend(() => exit))
      assert.strictEqual(error._tag, "RpcClientError")
    })
  )
})

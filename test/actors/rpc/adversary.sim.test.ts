/**
 * Goal: whatever bytes, credits, keys and orders a peer draws, the other side's honest callers get
 * their results, each executed once, and when the peer is gone nothing is left of it.
 * Method: seeded requesters and responders that mutate good messages on the simulated fabric.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { CompletionRouter } from "../../../src/actors/rdma/CompletionRouter.ts"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import { openPort } from "../../../src/actors/rpc/internal/epoch.ts"
import type { PortUser } from "../../../src/actors/rpc/internal/messagePort.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import type { Address } from "../../../src/native/verbs/Connection.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import * as ConnectionData from "../../../src/schema/rpc/ConnectionData.ts"
import * as RpcMessage from "../../../src/schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../src/schema/rpc/RpcRdmaMessage.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, echo, makeWorld, pattern, procedures, program } from "./world.ts"

const { authNone } = RpcMessage
const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }
const range = (length: number) => Array.from({ length }, (_, index) => index)

/** Numbers at the edges of their fields. */
const edges = [0, 1, 3, 4, 7, 8, 16, 1_024, 2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]
const offsets = [0n, 1n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]

const pick = <A>(items: ReadonlyArray<A>) =>
  Effect.map(Random.nextIntBetween(0, items.length - 1), (index) => items[index]!)

const segment = (keys: ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const isKnown = keys.length > 0 && (yield* Random.nextBoolean)
    const handle = isKnown ? yield* pick(keys) : yield* pick(edges)
    return { handle, length: yield* pick(edges), offset: yield* pick(offsets) }
  })

const some = <A, E, R>(make: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Random.nextIntBetween(0, 4), (length) => Effect.forEach(range(length), () => make))

/** Chunk lists of any kind. */
const chunks = Effect.fnUntraced(function* (keys: ReadonlyArray<number>) {
  const read = Effect.zipWith(
    segment(keys),
    pick([0, 0, 4, 40, 44, 48, 2 ** 32 - 4]),
    (one, position) => ({
      position,
      ...one
    })
  )
  const hasReply = yield* Random.nextBoolean
  return {
    reads: yield* some(read),
    writes: yield* some(some(segment(keys))),
    reply: hasReply ? yield* some(segment(keys)) : undefined
  } satisfies RpcRdmaMessage.ChunkLists
})

/** Bytes of a message, a few of which are others, or missing. */
const mutate = Effect.fnUntraced(function* (message: Uint8Array) {
  const bytes = Uint8Array.from(message)
  const changes = yield* Random.nextIntBetween(0, 3)
  for (let change = 0; change < changes; change++) {
    const at = yield* Random.nextIntBetween(0, bytes.length - 1)
    bytes[at] = yield* pick([0, 1, 2, 3, 4, 127, 128, 255])
  }
  const isCut = (yield* Random.next) < 0.1
  return isCut ? bytes.subarray(0, yield* Random.nextIntBetween(0, bytes.length)) : bytes
})

const device = (fabric: SimFabric, host: string) =>
  Effect.gen(function* () {
    const device = yield* (yield* Verbs).open()
    const domain = yield* device.protectionDomain
    const router = new CompletionRouter(yield* device.completionQueue(1_024))
    yield* Effect.forkScoped(Effect.ignore(router.run))
    const region = yield* domain.register({
      memory: 1 << 16,
      access: ["local-write", "remote-read", "remote-write"]
    })
    return { device, domain, router, key: region.renewKey() }
  }).pipe(Effect.provide(SimVerbs.layer(fabric, { host })))

/** Private data of any kind. */
const privateData = Effect.gen(function* () {
  const data = ConnectionData.encode({
    sendBytes: 1_024 * (yield* pick([1, 4, 256])),
    receiveBytes: 1_024 * (yield* pick([1, 4, 256])),
    remoteInvalidate: yield* Random.nextBoolean,
    extension: (yield* Random.nextBoolean)
      ? { instance: new Uint8Array(16), reverseCalls: yield* pick(edges) }
      : undefined
  })
  const kind = yield* Random.next
  return kind < 0.2 ? undefined : kind < 0.6 ? data : yield* mutate(data)
})

/** A requester that draws what it sends. */
const requester = Effect.fnUntraced(function* (fabric: SimFabric, to: Address, host: string) {
  const { device: nic, domain, key, router } = yield* device(fabric, host)
  const user: PortUser = {
    received: () => undefined,
    turn: () => undefined,
    failed: () => undefined
  }
  const depths = { receives: 32, sends: 64, transfers: 0, inlineBytes: 4_096 }
  const { port, queuePair } = yield* openPort({ domain, router }, depths, user, Effect.void)
  port.postReceives(yield* pick([0, 1, 32]))
  yield* nic.connect({ to, queuePair, rnrRetries: 0, privateData: yield* privateData })
  for (let message = 0; message < 12; message++) {
    const xid = yield* pick([1, 2, 3, 2 ** 32 - 1])
    const procedure = yield* pick([0, procedures.echo, procedures.count, procedures.fill, 99])
    const rpc = RpcMessage.encode({
      _tag: "Call",
      xid,
      program: yield* pick([program, program, program, 0x4866_7374, 1]),
      version: yield* pick([1, 1, 1, 9]),
      procedure,
      credential: authNone,
      verifier: authNone,
      args: new Uint8Array(yield* pick([0, 4, 100, 900]))
    })
    const lists = (yield* Random.nextBoolean) ? yield* chunks([key]) : RpcRdmaMessage.noChunks
    const common = { xid, credits: yield* pick(edges), chunks: lists }
    const bytes = RpcRdmaMessage.encode(
      (yield* Random.nextBoolean)
        ? { _tag: "RdmaMsg", ...common, rpc }
        : { _tag: "RdmaNomsg", ...common }
    )
    port.send((yield* mutate(bytes)).subarray(0, 4_096))
    yield* Effect.sleep(yield* Random.nextBetween(0, 2))
    port.postReceives(yield* pick([0, 1, 2]))
  }
})

describe("a server among hostile requesters", () => {
  it.sim("B5 E1 G14: answers honest calls, and keeps nothing of them", { seeds: 30 }, () =>
    Effect.gen(function* () {
      const { client, executions, fabric, server } = yield* makeWorld({
        server: { maxUnproven: 16, maxUnprovenPerHost: 16, unprovenWithinMs: 500 }
      })
      yield* count(client, 1_000_000)
      const before = fabric.resources("server")
      const attacks = yield* Effect.forkChild(
        Effect.forEach(
          range(20),
          (index) =>
            Effect.gen(function* () {
              yield* Effect.sleep(yield* Random.nextBetween(0, 60))
              const scope = yield* Scope.make()
              yield* Effect.exit(
                Scope.provide(requester(fabric, server.address, `hostile ${index % 3}`), scope)
              )
              yield* Effect.sleep(yield* Random.nextBetween(0, 20))
              yield* Scope.close(scope, Exit.void)
            }),
          { concurrency: "unbounded", discard: true }
        )
      )
      for (const value of range(60)) {
        assert.strictEqual(yield* count(client, 2_000_000 + value), 1)
        const bytes = pattern(6_000, value)
        assert.deepStrictEqual(yield* echo(client, bytes), bytes)
      }
      yield* Fiber.join(attacks)
      yield* Effect.sleep("2 seconds")
      assert.strictEqual(yield* count(client, 3_000_000), 1)
      assert.strictEqual(server.usage.handlers, 0)
      assert.deepStrictEqual(client.usage, free)
      const { connections, queuePairs } = fabric.resources("server")
      assert.deepStrictEqual([connections, queuePairs], [before.connections, before.queuePairs])
      assert.isAbove(executions.size, 60)
    })
  )
})

const name = { program, version: 1 }

/** A good answer to a call, with its chunks unused. */
const goodReply = (
  { chunks: offered, xid }: RpcRdmaMessage.RdmaMsg | RpcRdmaMessage.RdmaNomsg,
  credits: number,
  rpc = RpcMessage.encode({
    _tag: "Accepted",
    xid,
    verifier: authNone,
    outcome: { _tag: "Success", results: new Uint8Array(8) }
  })
): RpcRdmaMessage.RpcRdmaMessage => ({
  _tag: "RdmaMsg",
  xid,
  credits,
  rpc,
  chunks: {
    reads: [],
    writes: offered.writes.map((chunk) => chunk.map((one) => ({ ...one, length: 0 }))),
    reply: undefined
  }
})

/** Accepts connections, and draws what it answers while `state.isHostile`. */
const responder = Effect.fnUntraced(function* (fabric: SimFabric, state: { isHostile: boolean }) {
  const { device: nic, domain, router } = yield* device(fabric, "server")
  const listener = yield* nic.listen()
  const seen: Array<RpcRdmaMessage.RdmaMsg | RpcRdmaMessage.RdmaNomsg> = []
  const answer = Effect.fnUntraced(function* (
    message: RpcRdmaMessage.RdmaMsg | RpcRdmaMessage.RdmaNomsg
  ) {
    if (!state.isHostile) return [{ bytes: RpcRdmaMessage.encode(goodReply(message, 8)), key: 0 }]
    const kind = yield* Random.next
    if (kind < 0.15) return []
    const times = kind < 0.3 ? 2 : 1
    const meant = kind > 0.85 ? yield* pick(seen) : message
    const keys = seen
      .slice(-4)
      .flatMap(({ chunks }) => [chunks.reads, chunks.writes.flat(), chunks.reply ?? []].flat())
      .map(({ handle }) => handle)
    const good = goodReply(meant, yield* pick(edges))
    const { xid } = good
    const odd: ReadonlyArray<RpcRdmaMessage.RpcRdmaMessage> = [
      good,
      good,
      good,
      { ...good, chunks: yield* chunks(keys) } as RpcRdmaMessage.RdmaMsg,
      { _tag: "RdmaNomsg", xid, credits: 8, chunks: yield* chunks(keys) },
      { _tag: "RdmaErrChunk", xid, credits: yield* pick(edges) },
      { _tag: "RdmaDone", xid, credits: 8 },
      goodReply(
        meant,
        8,
        RpcMessage.encode({
          _tag: "Call",
          xid,
          ...name,
          procedure: 1,
          credential: authNone,
          verifier: authNone,
          args: new Uint8Array(4)
        })
      )
    ]
    const bytes = RpcRdmaMessage.encode(yield* pick(odd))
    const isMutated = (yield* Random.next) < 0.3
    const key = keys.length > 0 && (yield* Random.next) < 0.1 ? yield* pick(keys) : 0
    const sent = { bytes: (isMutated ? yield* mutate(bytes) : bytes).subarray(0, 1_024), key }
    return range(times).map(() => sent)
  })
  const run = yield* Effect.context<never>()
  const serve = Effect.gen(function* () {
    const request = yield* listener.take
    const user: PortUser = {
      received: (bytes) => {
        const read = RpcRdmaMessage.decode(bytes)
        port.postReceives(1)
        if (read._tag === "Failure") return
        const message = read.success
        if (message._tag !== "RdmaMsg" && message._tag !== "RdmaNomsg") return
        if (message._tag === "RdmaMsg") {
          const call = RpcMessage.decode(message.rpc)
          if (call._tag === "Success" && call.success._tag !== "Call") return
        }
        seen.push(message)
        for (const { bytes: sent, key } of Effect.runSyncWith(run)(answer(message))) {
          port.send(sent, key)
        }
      },
      turn: () => undefined,
      failed: () => undefined
    }
    const depths = { receives: 64, sends: 128, transfers: 0, inlineBytes: 4_096 }
    const { port, queuePair } = yield* openPort({ domain, router }, depths, user, Effect.void)
    port.postReceives(64)
    const isHostile = state.isHostile && (yield* Random.nextBoolean)
    const data = isHostile ? yield* privateData : undefined
    yield* request.accept({ queuePair, rnrRetries: 0, privateData: data })
  })
  yield* Effect.forkScoped(Effect.forever(Effect.ignore(serve)))
  return listener.address
})

describe("a client of a hostile responder", () => {
  it.sim("A4 B1 B5 G22: ends all its calls, and holds nothing", { seeds: 30 }, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const state = { isHostile: true }
      const address = yield* responder(fabric, state)
      const handler = ({ args }: { readonly args: Uint8Array }) => Effect.succeed({ results: args })
      const client = yield* Effect.provide(
        RpcClient.make({
          ...name,
          to: address,
          credits: 8,
          firstPauseMs: 1,
          longestPauseMs: 10,
          overdueAfterMs: 100,
          probeWithinMs: 50,
          zombieWithinMs: 200,
          connectWithinMs: 100,
          trustsForeignCache: true,
          reverse: [{ ...name, procedures: { 1: { handler } } }],
          reverseCalls: 2
        }),
        SimVerbs.layer(fabric, { host: "client" })
      )
      const caller = Effect.gen(function* () {
        for (let round = 0; round < 10; round++) {
          const isLong = yield* Random.nextBoolean
          const call = client.call({
            procedure: 1,
            args: new Uint8Array(isLong ? 6_000 : 4),
            maxResultBytes: isLong ? 9_000 : 100,
            bulkResults: isLong ? [8_000] : [],
            isIdempotent: true
          })
          yield* Effect.exit(Effect.timeoutOption(call, yield* Random.nextBetween(1, 100)))
        }
      })
      yield* Effect.forEach(range(12), () => caller, { concurrency: "unbounded", discard: true })
      state.isHostile = false
      const last = client.call({ procedure: 1, args: new Uint8Array(4), isIdempotent: true })
      yield* Effect.timeout(last, "30 seconds")
      yield* Sim.eventually(() => client.usage.xids === 0, "30 seconds", "nothing is out")
      assert.deepStrictEqual(client.usage, free)
    })
  )
})

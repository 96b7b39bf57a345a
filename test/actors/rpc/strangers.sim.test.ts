/**
 * Goal: strangers take nothing from a server but a bounded number of places for a while, and what
 * a hostile requester does ends its own connection alone.
 * Method: raw queue pairs on the simulated fabric, beside an honest client.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { CompletionRouter } from "../../../src/actors/rdma/CompletionRouter.ts"
import { openPort } from "../../../src/actors/rpc/internal/epoch.ts"
import type { PortUser } from "../../../src/actors/rpc/internal/messagePort.ts"
import type { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import type { Address } from "../../../src/native/verbs/Connection.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import * as RpcMessage from "../../../src/schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../src/schema/rpc/RpcRdmaMessage.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeWorld, procedures, program } from "./world.ts"

const settings = { seeds: 3, timerSlack: 0 } as const

/** A requester that keeps to no rule. Its messages go out as they are given. */
const stranger = Effect.fnUntraced(function* (fabric: SimFabric, to: Address, receives = 16) {
  const device = yield* Effect.provide(
    Effect.flatMap(Verbs, (verbs) => verbs.open()),
    SimVerbs.layer(fabric, { host: "stranger" })
  )
  const domain = yield* device.protectionDomain
  const router = new CompletionRouter(yield* device.completionQueue(1_024))
  yield* Effect.forkScoped(Effect.ignore(router.run))
  const answers: Array<Uint8Array> = []
  const state = { hasFailed: false }
  const user: PortUser = {
    received: (message) => void answers.push(message.slice()),
    turn: () => undefined,
    failed: () => void (state.hasFailed = true)
  }
  const depths = { receives, sends: 128, transfers: 0, inlineBytes: 1_024 }
  const { port, queuePair } = yield* openPort({ domain, router }, depths, user, Effect.void)
  port.postReceives(receives)
  yield* device.connect({ to, queuePair, rnrRetries: 0 })
  return { answers, port, state }
})

const rpcCall = (xid: number, change: Partial<RpcMessage.Call> = {}): Uint8Array =>
  RpcMessage.encode({
    _tag: "Call",
    xid,
    program,
    version: 1,
    procedure: 0,
    credential: RpcMessage.authNone,
    verifier: RpcMessage.authNone,
    args: new Uint8Array(0),
    ...change
  })

const nullCall = (xid: number, change: Partial<RpcMessage.Call> = {}): Uint8Array =>
  RpcRdmaMessage.encode({
    _tag: "RdmaMsg",
    xid,
    credits: 64,
    chunks: RpcRdmaMessage.noChunks,
    rpc: rpcCall(xid, change)
  })

const tagOf = (answer: Uint8Array): string | undefined => {
  const read = RpcRdmaMessage.decode(answer)
  return read._tag === "Success" ? read.success._tag : undefined
}

describe("a server", () => {
  it.sim("G1: serves several foreign clients of one host side by side", settings, () =>
    Effect.gen(function* () {
      const { fabric, server } = yield* makeWorld()
      const clients = yield* Effect.forEach([1, 2, 3], () => stranger(fabric, server.address))
      for (const { answers, port, state } of clients) {
        port.send(nullCall(1))
        yield* Effect.sleep("1 millis")
        assert.deepStrictEqual(answers.map(tagOf), ["RdmaMsg"])
        assert.isFalse(state.hasFailed)
      }
    })
  )

  it.sim("G13: does not start unless it says whom it serves", settings, () =>
    Effect.gen(function* () {
      const both = { peers: [], open: true } as const
      const refused = [{}, both, { peers: [] }, { peers: ["10.0.0.0/99"] }] as const
      for (const server of refused) {
        const error = yield* Effect.flip(makeWorld({ server: { open: undefined, ...server } }))
        assert.strictEqual(error._tag, "PeersRefused")
      }
    })
  )

  it.sim("G13: hears its peers alone, and asks `admit` about none but them", settings, () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const admit = (host: string) =>
        Effect.sync(() => {
          asked.push(host)
          return host
        })
      const { another, client, executions } = yield* makeWorld({
        server: { open: undefined, peers: ["10.0.0.2"], admit }
      })
      yield* Effect.timeout(count(client, 1), "1 second")
      const stranger = yield* another
      yield* Effect.timeoutOption(count(stranger, 2), "1 second")
      assert.deepStrictEqual([...executions.keys()], [1])
      assert.deepStrictEqual(asked, ["10.0.0.2"])
    })
  )

  it.sim("G13: serves none that `admit` refuses, fails for or hangs on", settings, () =>
    Effect.gen(function* () {
      const refusing = [
        { open: undefined, admit: () => Effect.undefined },
        { open: undefined, admit: () => Effect.fail("no") },
        { open: undefined, admit: () => Effect.die("broken") },
        { open: undefined, admit: () => Effect.never, admitWithinMs: 100 }
      ]
      for (const server of refusing) {
        const scope = yield* Scope.make()
        const {
          client,
          executions,
          server: served
        } = yield* Scope.provide(makeWorld({ server }), scope)
        yield* Effect.timeoutOption(count(client, 1), "1 second")
        assert.strictEqual(executions.size, 0)
        assert.strictEqual(served.usage.proven, 0)
        yield* Scope.close(scope, Exit.void)
      }
    })
  )

  it.sim("G12: answers an honest client among connections that say nothing", settings, () =>
    Effect.gen(function* () {
      const { client, fabric, server } = yield* makeWorld({
        server: { maxUnproven: 16, maxUnprovenPerHost: 8, unprovenWithinMs: 2_000 }
      })
      const silent = Effect.forEach(
        Array.from({ length: 30 }),
        () => Effect.exit(stranger(fabric, server.address)),
        { concurrency: "unbounded" }
      )
      yield* Effect.forkScoped(silent)
      yield* Effect.sleep("50 millis")
      assert.strictEqual(server.usage.unproven, 8)
      yield* Effect.timeout(count(client, 1), "1 second")
      yield* Effect.sleep("3 seconds")
      assert.deepStrictEqual(server.usage, { proven: 1, unproven: 0, clients: 2, handlers: 0 })
    })
  )

  it.sim("B5 D1: answers what cannot be read, and goes on with the next call", settings, () =>
    Effect.gen(function* () {
      const { fabric, server } = yield* makeWorld()
      const { answers, port, state } = yield* stranger(fabric, server.address)
      const malformed = nullCall(2)
      new DataView(malformed.buffer, malformed.byteOffset).setUint32(12, 9)
      const another = nullCall(3)
      new DataView(another.buffer, another.byteOffset).setUint32(4, 2)
      const cases: ReadonlyArray<readonly [Uint8Array, string | undefined]> = [
        [nullCall(1), "RdmaMsg"],
        [malformed, "RdmaErrChunk"],
        [another, "RdmaErrVers"],
        [new Uint8Array(12), undefined],
        [RpcRdmaMessage.encode({ _tag: "RdmaDone", xid: 4, credits: 1 }), undefined],
        [RpcRdmaMessage.encode({ _tag: "RdmaErrChunk", xid: 5, credits: 1 }), undefined],
        [nullCall(6, { program: 1 }), "RdmaMsg"],
        [nullCall(7, { version: 9 }), "RdmaMsg"],
        [nullCall(8, { procedure: 99 }), "RdmaMsg"],
        [nullCall(9), "RdmaMsg"]
      ]
      for (const [message, tag] of cases) {
        answers.length = 0
        port.send(message)
        yield* Effect.sleep("1 millis")
        port.postReceives(1)
        assert.deepStrictEqual(answers.map(tagOf), tag === undefined ? [] : [tag])
      }
      assert.isFalse(state.hasFailed)
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  it.sim("E1 G14: ends a requester that floods, or lends what it does not have", settings, () =>
    Effect.gen(function* () {
      const { client, fabric, server } = yield* makeWorld({ server: { maxCallBytes: 1 << 20 } })
      yield* count(client, 1)
      const before = fabric.resources("server")
      const chunk = (length: number) =>
        RpcRdmaMessage.encode({
          _tag: "RdmaNomsg",
          xid: 77,
          credits: 1,
          chunks: {
            ...RpcRdmaMessage.noChunks,
            reads: [{ position: 0, handle: 12_345, length, offset: 0n }]
          }
        })
      const scope = yield* Scope.make()
      const attack = (messages: ReadonlyArray<Uint8Array>) =>
        Scope.provide(
          Effect.gen(function* () {
            const { answers, port, state } = yield* stranger(fabric, server.address)
            for (const message of messages) port.send(message)
            yield* Effect.sleep("50 millis")
            return { answers: answers.map(tagOf), hasFailed: state.hasFailed }
          }),
          scope
        )
      // Handlers that do not end: the first call has not been answered, so it was the last one.
      const slow = { procedure: procedures.custom, args: new Uint8Array(4) }
      const flood = yield* attack(Array.from({ length: 10 }, (_, index) => nullCall(index, slow)))
      assert.isTrue(flood.hasFailed)
      // The sum of the chunks is beyond the limit: refused before anything is read.
      const tooLong = yield* attack([chunk(2 ** 31)])
      assert.deepStrictEqual(tooLong, { answers: ["RdmaErrChunk"], hasFailed: false })
      const badKey = yield* attack([chunk(100)])
      assert.deepStrictEqual(badKey, { answers: [], hasFailed: true })
      yield* Scope.close(scope, Exit.void)
      yield* Effect.sleep("1 second")
      assert.strictEqual(yield* count(client, 1), 2)
      const { connections, queuePairs } = fabric.resources("server")
      assert.deepStrictEqual([connections, queuePairs], [before.connections, before.queuePairs])
    })
  )

  const [bogus, sent] = [{ handle: 12_345, length: 100, offset: 0n }, new Uint8Array(4)]
  const lost = {
    "read from": RpcRdmaMessage.encode({
      _tag: "RdmaNomsg",
      xid: 77,
      credits: 1,
      chunks: { ...RpcRdmaMessage.noChunks, reads: [{ position: 0, ...bogus }] }
    }),
    "write to": RpcRdmaMessage.encode({
      _tag: "RdmaMsg",
      xid: 77,
      credits: 1,
      chunks: { ...RpcRdmaMessage.noChunks, writes: [[bogus]] },
      rpc: rpcCall(77, { procedure: procedures.fill, args: sent.with(3, 64) })
    })
  }
  for (const [what, message] of Object.entries(lost)) {
    it.sim(`B4: refuses the chunks of a call again that it could not ${what}`, settings, () =>
      Effect.gen(function* () {
        const { fabric, server } = yield* makeWorld()
        const once = (bytes: Uint8Array) =>
          Effect.scoped(
            Effect.gen(function* () {
              const { answers, port, state } = yield* stranger(fabric, server.address)
              port.send(bytes)
              yield* Effect.sleep("50 millis")
              return { answers: answers.map(tagOf), hasFailed: state.hasFailed }
            })
          )
        assert.deepStrictEqual(yield* once(message), { answers: [], hasFailed: true })
        const refused = { answers: ["RdmaErrChunk"], hasFailed: false }
        assert.deepStrictEqual(yield* once(message), refused)
        const another = { answers: ["RdmaMsg"], hasFailed: false }
        assert.deepStrictEqual(yield* once(nullCall(77)), another)
      })
    )
  }
})

/**
 * Goal: over real sockets, calls of every size come back whole and once, also while the server is
 * killed and started again, and nothing is left of them.
 * Method: one client and one server over software iWARP on loopback. Each call carries a token that
 * the program counts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Fiber from "effect/Fiber"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import type { RpcClient } from "../../../src/actors/rpc/RpcClient.ts"
import * as Client from "../../../src/actors/rpc/RpcClient.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import * as Iwarp from "../../../src/native/iwarp/IwarpVerbs.ts"
import { count, echo, makeProgram, opaque, pattern, procedures, program, token } from "./world.ts"

const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }
const layers = Layer.merge(Iwarp.layer(), Journal.layerMemory)
const mebibyte = 1 << 20

const many = <A>(calls: number, call: (index: number) => Effect.Effect<A, unknown>) =>
  Effect.forEach(
    Array.from({ length: calls }, (_, index) => index),
    call,
    { concurrency: "unbounded" }
  )

const startClient = (server: RpcServer.RpcServer) =>
  Client.make({ to: server.address, program, version: 1, firstPauseMs: 5, longestPauseMs: 50 })

/** Returns an opaque of so many bytes that the server has written. */
const fill = (client: RpcClient, length: number) =>
  Effect.map(
    client.call({
      procedure: procedures.fill,
      args: token(length),
      maxResultBytes: length + 8,
      bulkResults: [length]
    }),
    ({ bulk }) => bulk[0]!
  )

describe("calls over iWARP", () => {
  it.live(
    "D3 F1: travel inline, as long calls and by chunks of 1 MiB, 64 at once",
    () =>
      Effect.gen(function* () {
        const { served } = makeProgram()
        const server = yield* RpcServer.make({ programs: [served], peers: ["localhost"] })
        const client = yield* startClient(server)
        assert.deepStrictEqual(
          yield* many(64, (index) => count(client, index)),
          Array.from({ length: 64 }, () => 1)
        )
        for (const size of [0, 1, 900, 4_000, 4_096, 100_000, mebibyte]) {
          const bytes = pattern(size, size)
          assert.deepStrictEqual(yield* echo(client, bytes), bytes, `${size} bytes`)
        }
        const long = opaque(pattern(9_000, 1))
        const { results } = yield* client.call({
          procedure: procedures.echo,
          args: long,
          maxResultBytes: long.length
        })
        assert.deepStrictEqual(Uint8Array.from(results), long)
        const written = pattern(mebibyte, mebibyte)
        for (const bytes of yield* many(64, () => fill(client, mebibyte))) {
          assert.isTrue(Buffer.from(bytes).equals(written))
        }
        const echoed = yield* many(64, (index) => echo(client, pattern(mebibyte, index)))
        for (const [index, bytes] of echoed.entries()) {
          assert.isTrue(Buffer.from(bytes).equals(pattern(mebibyte, index)))
        }
        assert.strictEqual(server.usage.handlers, 0)
        assert.deepStrictEqual(client.usage, free)
      }).pipe(Effect.scoped, Effect.provide(layers)),
    120_000
  )

  it.live(
    "B1 B2 C4: are executed at most once while the server comes and goes",
    () =>
      Effect.gen(function* () {
        const { executions, served } = makeProgram()
        const start = (port = 0) =>
          Effect.gen(function* () {
            const scope = yield* Scope.make()
            const options = { programs: [served], peers: ["127.0.0.0/8"], port, closeWithinMs: 1 }
            const server = yield* Scope.provide(RpcServer.make(options), scope)
            return { server, kill: Scope.close(scope, Exit.void) }
          })
        let { kill, server } = yield* start()
        const client = yield* startClient(server)
        yield* count(client, 0)
        let [last, replies, unknown, target] = [0, 0, 0, Infinity]
        let reached = Deferred.makeUnsafe<void>()
        const state = { isOver: false }
        const caller = Effect.gen(function* () {
          while (!state.isOver) {
            last++
            const exit = yield* Effect.exit(count(client, last))
            if (Exit.isSuccess(exit)) {
              assert.strictEqual(exit.value, 1)
              replies++
              if (replies === target) Deferred.doneUnsafe(reached, Effect.void)
            } else {
              const error = yield* Effect.flip(exit)
              assert.strictEqual(error._tag, "OutcomeUnknown")
              unknown++
            }
          }
        })
        const written = Buffer.from(pattern(mebibyte, mebibyte))
        const filler = Effect.gen(function* () {
          while (!state.isOver) {
            const exit = yield* Effect.exit(fill(client, mebibyte))
            if (Exit.isSuccess(exit)) assert.isTrue(written.equals(exit.value))
            else assert.strictEqual((yield* Effect.flip(exit))._tag, "OutcomeUnknown")
          }
        })
        const calling = yield* Effect.forkChild(
          many(64, (index) => (index % 16 === 0 ? filler : caller))
        )
        for (let round = 0; round < 10; round++) {
          reached = Deferred.makeUnsafe()
          target = replies + 200
          yield* Effect.raceFirst(Deferred.await(reached), Fiber.join(calling))
          yield* kill
          ;({ kill, server } = yield* start(server.address.port))
        }
        state.isOver = true
        yield* Fiber.join(calling)
        assert.isTrue([...executions.values()].every((times) => times === 1))
        assert.strictEqual(replies + unknown, last)
        assert.strictEqual(server.usage.handlers, 0)
        assert.deepStrictEqual(client.usage, free)
        yield* kill
      }).pipe(Effect.scoped, Effect.provide(layers)),
    120_000
  )
})

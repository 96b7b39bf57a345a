/**
 * Goal: of a client's older connection nothing more begins once its newer one has made a call, so a
 * write that its caller was told had failed never follows one that succeeded; and an instance id
 * gives nothing to a stranger.
 * Method: a server in a process that is paused while calls and a newer connection wait for it; the
 * register that the calls write is read after each newer write.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import type { Program } from "../../../src/actors/rpc/RpcProgram.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import * as WebCrypto from "effect/crypto/WebCrypto"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { Parts, parts } from "../../../src/actors/rpc/internal/parts.ts"
import { type Incoming, Responder } from "../../../src/actors/rpc/internal/responder.ts"
import { count, makeWorld, procedures as worldProcedures, token } from "./world.ts"

const name = { program: 0x2000_0001, version: 1 }
const { custom } = worldProcedures
const procedures = { write: 1, writeIdempotent: 2, writeLong: 3 } as const
/** Of calls by chunk: the server reads them before they begin. */
const longBytes = 3_000

const numberIn = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/** A register, and the writes of it in order. */
const makeRegister = () => {
  const writes: Array<number> = []
  const handler: Program["procedures"][number]["handler"] = ({ args }) =>
    Effect.sync(() => {
      writes.push(numberIn(args))
      return { results: new Uint8Array(0) }
    })
  const served: Program = {
    ...name,
    procedures: {
      [procedures.write]: { handler },
      [procedures.writeIdempotent]: { handler, isIdempotent: true },
      [procedures.writeLong]: { handler }
    }
  }
  return { writes, served }
}

describe("a newer connection of a client", () => {
  for (const [sort, procedure] of Object.entries(procedures)) {
    it.sim(`G6: lets nothing begin that waits on the older one: ${sort}`, { seeds: 5 }, () =>
      Effect.gen(function* () {
        const fabric = yield* SimFabric.make()
        const { served, writes } = makeRegister()
        const host = SimVerbs.layer(fabric, { host: "server" })
        const options = { programs: [served], open: true, host: "*", port: 20_049 } as const
        const serving = Effect.andThen(RpcServer.make(options), Effect.never)
        const server = yield* Sim.process("server", Effect.provide(serving, host))
        yield* Effect.sleep("1 millis")
        const client = yield* Effect.provide(
          RpcClient.make({
            ...name,
            to: { host: "10.0.0.1", port: 20_049 },
            firstPauseMs: 1,
            longestPauseMs: 10
          }),
          SimVerbs.layer(fabric, { host: "client" })
        )
        const bytes = procedure === procedures.writeLong ? longBytes : 4
        const write = (value: number) => {
          const args = new Uint8Array(bytes)
          args.set(token(value))
          return client.call({ procedure, args, isIdempotent: true })
        }
        for (let round = 1; round <= 5; round++) {
          yield* write(10 * round)
          yield* server.pause
          const failed = Effect.timeoutOption(write(10 * round + 1), "5 millis")
          yield* Effect.all([failed, failed, failed, failed], { concurrency: "unbounded" })
          yield* client.reconnect
          yield* Effect.sleep("5 millis")
          yield* server.resume
          yield* write(10 * round + 2)
          yield* Effect.sleep("10 millis")
          assert.strictEqual(writes.at(-1), 10 * round + 2, writes.join(" "))
        }
      })
    )
  }
})

/** A copy: the bytes of a call are valid until it has been handed over. */
const kept = (message: Incoming["message"]): Incoming["message"] =>
  message._tag === "RdmaMsg" ? { ...message, rpc: message.rpc.slice() } : message

/** A server that takes up a call only when it is told to, but for NULL. */
const takingLate = (held: Array<() => void>): Parts => ({
  ...parts,
  responder: (options) =>
    new Responder({
      ...options,
      take: (incoming) => {
        const { message } = incoming
        const isNull = message._tag === "RdmaMsg" && message.rpc.length === 40
        const isHeld = held.length === 0 && !isNull
        if (isHeld) held.push(() => options.take({ ...incoming, message: kept(message) }))
        else options.take(incoming)
      }
    })
})

describe("a call that a server has not taken up", () => {
  for (const isIdempotent of [true, false]) {
    const sort = isIdempotent ? "idempotent" : "executed once"
    it.sim(`G6: does not begin after a call of a newer connection: ${sort}`, { seeds: 2 }, () =>
      Effect.gen(function* () {
        const held: Array<() => void> = []
        const written: Array<number> = []
        const { client } = yield* makeWorld({
          client: { firstPauseMs: 1 },
          isIdempotent,
          custom: ({ args }) =>
            Effect.sync(() => {
              written.push(numberIn(args))
              return { results: new Uint8Array(0) }
            })
        }).pipe(Effect.provideService(Parts, takingLate(held)))
        const write = (value: number) => client.call({ procedure: custom, args: token(value) })
        yield* Effect.timeoutOption(write(1), "10 millis")
        assert.lengthOf(held, 1)
        yield* client.reconnect
        yield* write(2)
        held[0]!()
        yield* Effect.sleep("10 millis")
        assert.notInclude(written, 1)
        assert.include(written, 2)
      })
    )
  }
})

describe("a client among more than are remembered", () => {
  it.sim("G6: has one connection, and its cache", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { another, client, fabric, server } = yield* makeWorld({
        client: { firstPauseMs: 1 },
        server: { maxClients: 1 }
      })
      assert.strictEqual(yield* count(client, 1), 1)
      const other = yield* another
      assert.strictEqual(yield* count(other, 2), 1)
      // The server has not heard of the end of the older connection.
      fabric.strike({ _tag: "Cut", from: "other", to: "server", forMillis: 10 })
      yield* other.reconnect
      assert.strictEqual(yield* count(other, 3), 1)
      assert.strictEqual(server.usage.proven, 2)
      // A call whose answer is lost with the connection.
      const call = yield* Effect.forkChild(count(other, 4), { startImmediately: true })
      yield* Effect.sleep("10 micros")
      fabric.strike({ _tag: "QueuePairError", node: "server", step: "running" })
      assert.strictEqual(yield* Fiber.join(call), 1)
    })
  )
})

describe("a stranger who names the instance of a client", () => {
  it.sim("G6: neither ends its connection nor gets its replies", { seeds: 3 }, () =>
    Effect.gen(function* () {
      // Both draw the same instance.
      const crypto = yield* WebCrypto.WebCrypto
      const fixed: Pick<Crypto, "getRandomValues"> = {
        getRandomValues: (array) =>
          array instanceof Uint8Array ? array : crypto.getRandomValues(array as never)
      }
      const forging = Effect.provideService(WebCrypto.WebCrypto, fixed as typeof crypto)
      const { another, client, executions, server } = yield* forging(makeWorld())
      assert.strictEqual(yield* count(client, 7), 1)
      const stranger = yield* forging(another)
      assert.strictEqual(yield* count(stranger, 7), 2)
      assert.strictEqual(yield* count(client, 8), 1)
      assert.strictEqual(server.usage.proven, 2)
      assert.strictEqual(server.usage.clients, 2)
      assert.strictEqual(executions.get(7), 2)
    })
  )
})

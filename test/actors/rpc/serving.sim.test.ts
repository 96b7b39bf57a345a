/**
 * Goal: whatever a handler does, and whatever else goes on, each call is answered, and one that was
 * not executed is not taken for one that was.
 * Method: one client and one server on a simulated fabric, with handlers that break, and chunks
 * that are read more slowly than hundreds of other calls are answered.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { Procedure } from "../../../src/actors/rpc/RpcProgram.ts"
import type { RpcClient } from "../../../src/actors/rpc/RpcClient.ts"
import { Parts, parts } from "../../../src/actors/rpc/internal/parts.ts"
import { type Incoming, Responder } from "../../../src/actors/rpc/internal/responder.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeWorld, procedures, token } from "./world.ts"

const settings = { seeds: 3, timerSlack: 0, shrinkAttempts: 0 } as const
const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

const range = (length: number) => Array.from({ length }, (_, index) => index)

const custom = (client: RpcClient) =>
  client.call({ procedure: procedures.custom, args: new Uint8Array(4) })

const broken: Record<string, Procedure["handler"]> = {
  throws: () => {
    throw new Error("broken")
  },
  dies: () => Effect.die("broken"),
  "interrupts itself": () => Effect.interrupt
}

describe("a handler", () => {
  for (const [what, handler] of Object.entries(broken)) {
    for (const isIdempotent of [false, true]) {
      const sort = isIdempotent ? "idempotent" : "executed once"
      it.sim(`B1: that ${what} is answered by an error: ${sort}`, settings, () =>
        Effect.gen(function* () {
          const { client, server } = yield* makeWorld({ custom: handler, isIdempotent })
          for (let round = 0; round < 5; round++) {
            const error = yield* Effect.flip(custom(client)).pipe(Effect.timeout("1 second"))
            assert.deepInclude(error, { _tag: "CallRefused", reason: "system-error" })
          }
          assert.strictEqual(server.usage.handlers, 0)
          assert.deepStrictEqual(client.usage, free)
        })
      )
    }
  }

  const ofNoResults: Record<string, Procedure["handler"]> = {
    "at once": () => Effect.succeed({ results: undefined as never }),
    later: () => Effect.delay(Effect.succeed({ results: undefined as never }), "1 millis")
  }
  for (const [when, handler] of Object.entries(ofNoResults)) {
    it.sim(`F2: whose results are none, ${when}, ends its connection alone`, settings, () =>
      Effect.gen(function* () {
        const { another, client, server } = yield* makeWorld({ custom: handler })
        const other = yield* another
        yield* count(other, 1)
        yield* Effect.timeoutOption(custom(client), "200 millis")
        assert.strictEqual(yield* count(other, 1), 2)
        assert.strictEqual(yield* Effect.timeout(count(client, 2), "1 second"), 1)
        assert.strictEqual(server.usage.handlers, 0)
      })
    )
  }
})

describe("results that are longer than a connection's memory", () => {
  it.sim("G19: are refused, and cost no connection", settings, () =>
    Effect.gen(function* () {
      const { client } = yield* makeWorld({
        server: { maxBytesPerConnection: 1 << 20, maxCallBytes: 1 << 20 }
      })
      const phases: Array<string> = []
      yield* client.states.pipe(
        Stream.runForEach(({ _tag }) => Effect.sync(() => void phases.push(_tag))),
        Effect.forkScoped({ startImmediately: true })
      )
      const length = 2 << 20
      const call = client.call({
        procedure: procedures.fill,
        args: token(length),
        maxResultBytes: length + 8,
        bulkResults: [length]
      })
      const error = yield* Effect.flip(call).pipe(Effect.timeout("10 seconds"))
      assert.deepInclude(error, { _tag: "CallRefused", reason: "chunks-refused" })
      assert.notInclude(phases, "Pausing")
      assert.deepStrictEqual(client.usage, free)
    })
  )
})

/** Reads chunks while hundreds of short calls are answered. */
class ReadingSlowly extends Responder {
  override assemble(incoming: Incoming) {
    const assembled = super.assemble(incoming)
    const { reads } = incoming.message.chunks
    return reads.length === 0 ? assembled : Effect.delay(assembled, "1 second")
  }
}

describe("a call by chunks", () => {
  it.sim("G11: is not forgotten before it begins, however many others end", settings, () =>
    Effect.gen(function* () {
      const slowly: Parts = { ...parts, responder: (options) => new ReadingSlowly(options) }
      const { client, executions } = yield* makeWorld().pipe(Effect.provideService(Parts, slowly))
      yield* count(client, 0)
      const args = new Uint8Array(10_000)
      args.set(token(1))
      const long = yield* Effect.forkChild(client.call({ procedure: procedures.count, args }), {
        startImmediately: true
      })
      for (let value = 2; value < 300; value++) yield* count(client, value)
      assert.isFalse(executions.has(1))
      yield* Fiber.join(long)
      assert.strictEqual(executions.get(1), 1)
    })
  )

  it.sim("G11: is executed once although it comes twice and is forgotten meanwhile", settings, () =>
    Effect.gen(function* () {
      const slowly: Parts = { ...parts, responder: (options) => new ReadingSlowly(options) }
      const { client, executions } = yield* makeWorld({ client: { firstPauseMs: 1 } }).pipe(
        Effect.provideService(Parts, slowly)
      )
      const args = new Uint8Array(10_000)
      args.set(token(1))
      const long = yield* Effect.forkChild(
        Effect.exit(client.call({ procedure: procedures.count, args })),
        { startImmediately: true }
      )
      yield* Effect.sleep("990 millis")
      yield* client.reconnect
      yield* Effect.sleep("20 millis")
      for (let value = 2; value < 300; value++) yield* count(client, value)
      yield* Fiber.join(long)
      assert.isAtMost(executions.get(1) ?? 0, 1)
    })
  )
})

describe("a call by chunks that a lost connection gave back", () => {
  it.sim("G11: goes again before newer calls, which wait for memory too", settings, () =>
    Effect.gen(function* () {
      class Reading extends Responder {
        override assemble(incoming: Incoming) {
          const { reads } = incoming.message.chunks
          const assembled = super.assemble(incoming)
          return reads.length === 0 ? assembled : Effect.delay(assembled, "50 millis")
        }
      }
      const slowly: Parts = { ...parts, responder: (options) => new Reading(options) }
      const { client, executions } = yield* makeWorld({
        client: { firstPauseMs: 1, memoryBytes: 2 * 16_384 }
      }).pipe(Effect.provideService(Parts, slowly))
      const long = (value: number) => {
        const args = new Uint8Array(10_000)
        args.set(token(value))
        return client.call({ procedure: procedures.count, args })
      }
      yield* count(client, 0)
      const calls = yield* Effect.forkChild(
        Effect.forEach(range(30), (index) => long(index + 1), { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      yield* Effect.sleep("10 millis")
      yield* client.reconnect
      for (let value = 100; value < 400; value++) yield* count(client, value)
      yield* Fiber.join(calls)
      assert.isTrue([...executions.values()].every((times) => times === 1))
      assert.deepStrictEqual(client.usage, free)
    })
  )
})

describe("a server that was closed", () => {
  it.sim("G24: takes no newcomer, and answers none", settings, () =>
    Effect.gen(function* () {
      const { another, client, server } = yield* makeWorld()
      yield* count(client, 1)
      yield* server.close
      const newcomer = yield* another
      yield* Effect.sleep("1 second")
      assert.deepInclude(server.usage, { proven: 0, unproven: 0 })
      yield* Effect.timeoutOption(count(newcomer, 2), "1 second")
    })
  )
})

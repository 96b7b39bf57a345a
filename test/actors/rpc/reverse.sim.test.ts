/**
 * Goal: a server calls its clients back on credits of their own: each call executed once over all
 * connections, within what the client offered, and without waiting for forward credits.
 * Method: one client and one server on a simulated fabric. Handlers of the server call the client;
 * the twins offer nothing, or lose their connections.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Procedure, Program, ReverseCaller } from "../../../src/actors/rpc/RpcProgram.ts"
import type { RpcClient } from "../../../src/actors/rpc/RpcClient.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeWorld, opaque, pattern, procedures, token } from "./world.ts"

const settings = { seeds: 5 } as const
const name = { program: 0x2000_0002, version: 1 }

const numberIn = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/** What a client serves: it counts executions by token, and returns the token. */
const makeReverse = (delayMs = 0) => {
  const executions = new Map<number, number>()
  let [running, highest] = [0, 0]
  const handler: Procedure["handler"] = ({ args }) =>
    Effect.suspend(() => {
      executions.set(numberIn(args), (executions.get(numberIn(args)) ?? 0) + 1)
      running++
      highest = Math.max(highest, running)
      return Effect.delay(Effect.succeed({ results: args }), delayMs)
    }).pipe(Effect.ensuring(Effect.sync(() => void running--)))
  const served: Program = { ...name, procedures: { 1: { handler } } }
  return { executions, served, highest: () => highest }
}

/** Calls back with the arguments, and returns what came. */
const callBack = (caller: ReverseCaller | undefined, args: Uint8Array) =>
  Effect.orDie(caller!.call({ ...name, procedure: 1, args }))

const callingBack: Procedure["handler"] = ({ args, caller }) =>
  Effect.map(callBack(caller, args), (results) => ({ results }))

const nested = (client: RpcClient, value: number) =>
  Effect.map(client.call({ procedure: procedures.custom, args: token(value) }), ({ results }) =>
    numberIn(results)
  )

const range = (length: number) => Array.from({ length }, (_, index) => index)

const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

describe("a call in the reverse direction", () => {
  for (const [credits, reverseCalls] of [
    [1, 1],
    [2, 1],
    [64, 1],
    [64, 8]
  ] as const) {
    const what = `${credits} credits, ${reverseCalls} reverse`
    it.sim(`E2 G21: waits for no forward credit: ${what}`, settings, () =>
      Effect.gen(function* () {
        const { executions, highest, served } = makeReverse(1)
        const { client, fabric } = yield* makeWorld({
          server: { credits },
          client: { credits, reverse: [served], reverseCalls },
          custom: callingBack
        })
        const values = yield* Effect.forEach(range(100), (value) => nested(client, value), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(values, range(100))
        assert.isTrue([...executions.values()].every((times) => times === 1))
        assert.isAtMost(highest(), reverseCalls)
        assert.strictEqual(fabric.rnrs, 0)
        assert.deepStrictEqual(client.usage, free)
      })
    )
  }

  it.sim("G21: fails at once without a Send if the client takes none", settings, () =>
    Effect.gen(function* () {
      const errors: Array<unknown> = []
      const { client, fabric } = yield* makeWorld({
        custom: ({ args, caller }) =>
          Effect.as(
            Effect.map(
              Effect.orDie(Effect.flip(caller!.call({ ...name, procedure: 1, args }))),
              (error) => void errors.push(error)
            ),
            { results: args }
          )
      })
      yield* nested(client, 1)
      assert.deepInclude(errors[0], { _tag: "CallRefused", reason: "not-offered" })
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  it.sim("G21: is executed once, however often the connection is lost", settings, () =>
    Effect.gen(function* () {
      const { executions, served } = makeReverse(20)
      const {
        client,
        executions: forward,
        fabric
      } = yield* makeWorld({
        client: { reverse: [served], reverseCalls: 4, firstPauseMs: 1, longestPauseMs: 10 },
        custom: callingBack
      })
      const calls = yield* Effect.forkChild(
        Effect.forEach(range(40), (value) => nested(client, value), { concurrency: "unbounded" })
      )
      const others = yield* Effect.forkChild(
        Effect.forEach(range(40), (value) => count(client, value))
      )
      for (const node of ["server", "client"]) {
        for (let round = 0; round < 10; round++) {
          yield* Effect.sleep("13 millis")
          fabric.strike({ _tag: "QueuePairError", node, step: "running" })
        }
      }
      assert.deepStrictEqual(yield* Fiber.join(calls), range(40))
      yield* Fiber.join(others)
      assert.strictEqual(executions.size, 40)
      assert.isTrue([...executions.values()].every((times) => times === 1))
      assert.isTrue([...forward.values()].every((times) => times === 1))
      assert.strictEqual(fabric.rnrs, 0)
      yield* Sim.eventually(() => client.usage.xids === 0, "10 seconds")
      assert.deepStrictEqual(client.usage, free)
    })
  )

  it.sim("D3 G21: is refused here if it does not fit inline", settings, () =>
    Effect.gen(function* () {
      const { served } = makeReverse()
      const errors: Array<unknown> = []
      const { client } = yield* makeWorld({
        client: { reverse: [served], reverseCalls: 1 },
        custom: ({ args, caller }) =>
          Effect.as(
            Effect.map(
              Effect.orDie(
                Effect.flip(
                  caller!.call({ ...name, procedure: 1, args: opaque(pattern(9_000, 1)) })
                )
              ),
              (error) => void errors.push(error)
            ),
            { results: args }
          )
      })
      yield* nested(client, 1)
      assert.deepInclude(errors[0], { _tag: "CallRefused", reason: "too-long" })
    })
  )

  it.sim("A6 G21: that is interrupted gives its credit back when it is answered", settings, () =>
    Effect.gen(function* () {
      const { executions, served } = makeReverse(50)
      const { client, fabric } = yield* makeWorld({
        client: { reverse: [served], reverseCalls: 1 },
        custom: ({ args, caller }) =>
          Effect.as(Effect.timeoutOption(callBack(caller, args), "10 millis"), { results: args })
      })
      for (const value of range(10)) yield* nested(client, value)
      assert.isAtMost(executions.size, 10)
      yield* Effect.sleep("1 second")
      assert.strictEqual(yield* nested(client, 99), 99)
      assert.strictEqual(executions.get(99), 1)
      assert.strictEqual(fabric.rnrs, 0)
    })
  )
})

/**
 * Goal: calls of every size come back whole, and nothing is left of them.
 * Method: one client and one server on a simulated fabric, under several seeds each.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { it } from "../../../src/testing/vitest.ts"
import { count, echo, makeWorld, opaque, pattern, procedures, token } from "./world.ts"

describe("a call", () => {
  it.sim("returns the results of its procedure", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { client, executions, fabric } = yield* makeWorld()
      assert.strictEqual(yield* count(client, 7), 1)
      assert.strictEqual(yield* count(client, 7), 2)
      assert.deepStrictEqual([...executions], [[7, 2]])
      assert.strictEqual(fabric.counters.rnrs, 0)
    })
  )

  it.sim("D3: travels inline, by read and write chunks, or as a long call", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { client, fabric } = yield* makeWorld()
      for (const size of [0, 1, 900, 1_000, 3_900, 4_000, 4_096, 5_001, 100_000]) {
        const bytes = pattern(size, size)
        assert.deepStrictEqual(yield* echo(client, bytes), bytes, `${size} bytes`)
        const { bulk, results } = yield* client.call({
          procedure: procedures.fill,
          args: token(size),
          maxResultBytes: size + 8,
          bulkResults: [size]
        })
        const whole =
          bulk[0] === undefined || bulk[0].length === 0 ? results.slice(4, 4 + size) : bulk[0]
        assert.deepStrictEqual(whole, bytes, `${size} bytes back`)
      }
      const long = opaque(pattern(9_000, 1))
      const { results } = yield* client.call({
        procedure: procedures.echo,
        args: long,
        maxResultBytes: long.length
      })
      assert.deepStrictEqual(Uint8Array.from(results), long)
      assert.deepStrictEqual(client.usage, { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 })
      assert.strictEqual(fabric.counters.rnrs, 0)
    })
  )

  it.sim("A1: is sent only within the grant, whoever else calls", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { client, executions, fabric } = yield* makeWorld({ server: { credits: 4 } })
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, index) => index),
        (index) => count(client, index),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(executions.size, 200)
      assert.strictEqual(fabric.counters.rnrs, 0)
      assert.strictEqual(client.usage.heldCredits, 0)
    })
  )

  it.sim(
    "D3: with more chunks than fit inline is refused, and not planned for ever",
    { seeds: 2 },
    () =>
      Effect.gen(function* () {
        const { client } = yield* makeWorld({ client: { inlineBytes: 1_024 } })
        yield* count(client, 1)
        const call = client.call({
          procedure: procedures.echo,
          args: new Uint8Array(4),
          maxResultBytes: 10_000,
          bulkResults: Array.from({ length: 60 }, () => 100)
        })
        const error = yield* Effect.flip(call)
        assert.deepInclude(error, { _tag: "CallRefused", reason: "too-long" })
        assert.deepStrictEqual(client.usage, { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 })
      })
  )
})

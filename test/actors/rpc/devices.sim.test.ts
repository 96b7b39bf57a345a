/**
 * Goal: a device that is pulled out and comes back costs a client and a server no call.
 * Method: one client and one server on a simulated fabric, whose devices are removed for a while
 * under calls of every kind; the twin is a device that does not come back.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, echo, makeWorld, pattern } from "./world.ts"

const settings = { seeds: 3 } as const

const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index)

/** Calls inline, by chunks, and more of them than there is memory for. */
const calls = (client: Parameters<typeof count>[0], from: number) =>
  Effect.all(
    [
      Effect.forEach(range(from, from + 20), (token) => count(client, token), {
        concurrency: "unbounded"
      }),
      Effect.forEach(range(0, 6), (index) => echo(client, pattern(30_000, index)), {
        concurrency: "unbounded"
      })
    ],
    { concurrency: "unbounded" }
  )

describe("a device that is removed and comes back", () => {
  for (const node of ["client", "server"]) {
    it.sim(`C3 C4: costs the ${node} no call, whatever is under way`, settings, () =>
      Effect.gen(function* () {
        const { client, executions, fabric, server } = yield* makeWorld({
          client: { memoryBytes: 200_000, firstPauseMs: 5, longestPauseMs: 100 }
        })
        yield* calls(client, 0)
        const before = fabric.resources()
        for (const [round, wait] of [0, 0.05, 0.2, 1].entries()) {
          const calling = yield* Effect.forkChild(calls(client, 100 * (round + 1)))
          yield* Effect.sleep(wait)
          fabric.strike({ _tag: "DeviceRemoval", node, forMillis: 500 })
          yield* Effect.sleep("200 millis")
          const later = yield* Effect.forkChild(calls(client, 100 * (round + 1) + 20))
          const [, echoed] = yield* Fiber.join(calling)
          for (const [index, bytes] of echoed.entries()) {
            assert.deepStrictEqual(bytes, pattern(30_000, index))
          }
          yield* Fiber.join(later)
        }
        assert.strictEqual(executions.size, 20 + 4 * 40)
        assert.isTrue([...executions.values()].every((times) => times === 1))
        yield* Sim.eventually(() => server.usage.proven === 1, "10 seconds")
        assert.deepStrictEqual(client.usage, free)
        const { regions: _, ...left } = fabric.resources()
        const { regions: __, ...first } = before
        assert.deepStrictEqual(left, first)
        assert.strictEqual(fabric.rnrs, 0)
      })
    )
  }
})

describe("a device that is removed for good", () => {
  it.sim("C3: keeps no call of its client from ending when that is closed", settings, () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { client, fabric } = yield* Scope.provide(makeWorld(), scope)
      yield* count(client, 1)
      fabric.strike({ _tag: "DeviceRemoval", node: "client", forMillis: 1e9 })
      const waiting = yield* Effect.forkChild(
        Effect.all([Effect.flip(count(client, 2)), Effect.flip(echo(client, pattern(9_000, 1)))], {
          concurrency: 2
        })
      )
      yield* Effect.sleep("10 seconds")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
      const errors = yield* Effect.timeout(Fiber.join(waiting), "1 second")
      for (const error of errors) assert.strictEqual(error._tag, "ClientClosed")
    })
  )
})

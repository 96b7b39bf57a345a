/**
 * Goal: a call that is interrupted, at whatever step, ends its handler or keeps it from beginning,
 * holds no memory that others need, and costs the other calls no connection.
 * Method: one client and one server on a simulated fabric, whose handlers never end and whose
 * chunks are read slowly. The twins are calls that are not interrupted.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { RpcClient } from "../../../src/actors/rpc/RpcClient.ts"
import { Parts, parts } from "../../../src/actors/rpc/internal/parts.ts"
import { type Incoming, Responder } from "../../../src/actors/rpc/internal/responder.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeWorld, procedures, token } from "./world.ts"

const settings = { seeds: 3, timerSlack: 0, shrinkAttempts: 0 } as const
const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

const readMs = 20

/** A responder that takes its time to read chunks. */
class ReadingSlowly extends Responder {
  override assemble(incoming: Incoming) {
    const assembled = super.assemble(incoming)
    const { reads } = incoming.message.chunks
    return reads.length === 0 ? assembled : Effect.delay(assembled, readMs)
  }
}

const readingSlowly: Parts = { ...parts, responder: (options) => new ReadingSlowly(options) }

/** Handlers that never end, and are counted. */
const makeNever = () => {
  const log = { begun: 0, running: 0 }
  const custom = () =>
    Effect.suspend(() => {
      log.begun++
      log.running++
      return Effect.never
    }).pipe(Effect.ensuring(Effect.sync(() => void log.running--)))
  return { custom, log }
}

const call = (client: RpcClient, bytes = 4) =>
  client.call({ procedure: procedures.custom, args: new Uint8Array(bytes) })

const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(effect, { startImmediately: true })

describe("an interrupted call", () => {
  it.sim("G7: whose chunks are still read does not begin", settings, () =>
    Effect.gen(function* () {
      const { custom, log } = makeNever()
      const { client, server } = yield* makeWorld({ custom }).pipe(
        Effect.provideService(Parts, readingSlowly)
      )
      yield* count(client, 1)
      const long = yield* start(call(client, 10_000))
      yield* Effect.sleep(readMs / 4)
      yield* Fiber.interrupt(long)
      yield* Effect.sleep(2 * readMs)
      assert.deepStrictEqual(log, { begun: 0, running: 0 })
      assert.strictEqual(server.usage.handlers, 0)
      assert.deepStrictEqual(client.usage, free)
      const another = yield* start(call(client, 10_000))
      yield* Effect.sleep(2 * readMs)
      assert.strictEqual(log.running, 1)
      yield* Fiber.interrupt(another)
    })
  )

  for (const isIdempotent of [false, true]) {
    const sort = isIdempotent ? "idempotent" : "executed once"
    it.sim(`A6 G7: that waits to be sent again ends its handler: ${sort}`, settings, () =>
      Effect.gen(function* () {
        const { custom, log } = makeNever()
        const options = { custom, isIdempotent, client: { firstPauseMs: 50 } }
        const { client, server } = yield* makeWorld(options)
        yield* count(client, 1)
        const waiting = yield* start(call(client))
        yield* Effect.sleep("10 millis")
        yield* client.reconnect
        yield* Effect.sleep("10 millis")
        assert.strictEqual(log.running, 1)
        yield* Fiber.interrupt(waiting)
        yield* Sim.eventually(() => log.running === 0, "1 second", "the handler has ended")
        assert.strictEqual(server.usage.handlers, 0)
        yield* Sim.eventually(() => client.usage.xids === 0, "1 second", "the XID is free")
        assert.deepStrictEqual(client.usage, free)
      })
    )
  }

  it.sim("G7: that is idempotent leaves no handler of older connections", settings, () =>
    Effect.gen(function* () {
      const { custom, log } = makeNever()
      const options = { custom, isIdempotent: true, client: { firstPauseMs: 1 } }
      const { client, server } = yield* makeWorld(options)
      const waiting = yield* start(call(client))
      for (let round = 0; round < 10; round++) {
        yield* Effect.sleep("20 millis")
        yield* client.reconnect
      }
      yield* Effect.sleep("100 millis")
      assert.strictEqual(log.running, 1)
      yield* Fiber.interrupt(waiting)
      yield* Sim.eventually(() => log.running === 0, "1 second", "the handler has ended")
      assert.strictEqual(server.usage.handlers, 0)
    })
  )

  it.sim("G7: takes no more than its share of the memory, with others like it", settings, () =>
    Effect.gen(function* () {
      // They end long after they were interrupted, so they keep their memory.
      const custom = () =>
        Effect.uninterruptible(Effect.delay(Effect.succeed({ results: token(1) }), "20 seconds"))
      const { client } = yield* makeWorld({
        custom,
        client: { memoryBytes: 64 << 10, firstPauseMs: 1, zombieWithinMs: 30_000 }
      })
      yield* count(client, 1)
      for (let round = 0; round < 3; round++) {
        const zombie = yield* start(call(client, 16_000))
        yield* Effect.sleep("5 millis")
        yield* Fiber.interrupt(zombie)
      }
      const args = new Uint8Array(40_000)
      args.set(token(2))
      const large = client.call({ procedure: procedures.count, args })
      yield* Effect.timeout(large, "1 second")
    })
  )
})

/**
 * Goal: load starts and parks workers, no faster than it should, and what pools count shows in
 * Effect's metrics.
 * Method: a framer that burns the time of its worker as long as its peer keeps sending.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type { IoPool } from "../../../src/native/io/IoPool.ts"
import * as LaneMetrics from "../../../src/native/io/LaneMetrics.ts"
import * as lab from "./harness.ts"

type Pool = IoPool["Service"]

/** Keeps the workers busy for so many of a hundred milliseconds, again and again. */
const burn = (pool: Pool, millis: number) =>
  Effect.gen(function* () {
    const { client } = yield* lab.pair(pool, "worker")
    while (true) {
      client.send(lab.frame("busy", lab.words(millis)))
      yield* Effect.sleep("100 millis")
    }
  }).pipe(Effect.scoped)

const workers = (pool: Pool) => Effect.map(pool.stats, (stats) => stats.workers)

describe("the load of a pool", () => {
  it.live("starts a second worker when the first is busy, and parks one when all are idle", () =>
    lab.withPool({ workers: { min: 1, max: 2 } }, (pool) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* workers(pool), 1)
        const load = yield* Effect.forkChild(burn(pool, 100))
        yield* lab.until("a second worker", () => Effect.map(workers(pool), (n) => n === 2))
        yield* Fiber.interrupt(load)
        // Five seconds of idleness come first.
        yield* Effect.sleep("3 seconds")
        assert.strictEqual(yield* workers(pool), 2)
        yield* Effect.sleep("1500 millis")
        yield* lab.until("one parks", () => Effect.map(workers(pool), (n) => n === 1))
        assert.strictEqual((yield* pool.stats).workersStarted, 2)
        assert.strictEqual((yield* pool.stats).workersCrashed, 0)
      })
    )
  )

  it.live("the start of a worker is no load", () =>
    lab.withPool({ workers: { min: 1, max: 3 } }, (pool) =>
      Effect.gen(function* () {
        yield* Effect.sleep("1500 millis")
        assert.strictEqual((yield* pool.stats).workersStarted, 1)
      })
    )
  )
})

describe("metrics of lanes", () => {
  it.live("follow what lanes carry, and their high-water marks", () =>
    Effect.gen(function* () {
      const read = Effect.all({
        frames: Metric.value(LaneMetrics.framesReceived),
        sent: Metric.value(LaneMetrics.bytesSent),
        received: Metric.value(LaneMetrics.bytesReceived),
        opened: Metric.value(LaneMetrics.opened),
        lanes: Metric.value(LaneMetrics.lanes),
        sendMark: Metric.value(LaneMetrics.sendHighWater),
        receiveMark: Metric.value(LaneMetrics.receiveHighWater)
      })
      const before = yield* read
      yield* lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const pairs = yield* Effect.forEach(["worker", "main"] as const, (on) =>
            lab.pair(pool, on)
          )
          for (const { client, server } of pairs) {
            for (let n = 0; n < 10; n++) client.send(lab.numbered(n, 1_000))
            yield* lab.takeCount(server, 10)
          }
          yield* lab.until("the lanes show", () =>
            Effect.map(read, ({ lanes }) => lanes.value === before.lanes.value + 4)
          )
          assert.strictEqual((yield* pool.stats).framesReceived, 20)
        })
      )
      // The pool has stopped: nothing is left to be counted.
      const after = yield* read
      const bytes = 20 * lab.numbered(0, 1_000).length
      assert.strictEqual(after.frames.count - before.frames.count, 20)
      assert.strictEqual(after.received.count - before.received.count, bytes)
      assert.strictEqual(after.sent.count - before.sent.count, bytes)
      assert.strictEqual(after.lanes.value, before.lanes.value)
      assert.isAtLeast(after.opened.count - before.opened.count, 2)
      assert.isAtLeast(after.sendMark.value, 5_000)
      assert.isAtLeast(after.receiveMark.value, 1_000)
    })
  )
})

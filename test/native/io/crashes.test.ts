/**
 * Goal: what a worker published before it crashed is delivered, its listeners go on elsewhere, and
 * TLS settings are those of the lane.
 * Method: workers that crash, while the main thread is kept from looking, and listeners that are
 * connected to afterwards.
 */
import type * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { threadId } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Listener } from "../../../src/native/io/IoPool.ts"
import * as lab from "./harness.ts"

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

/** Keeps the main thread from its event loop for so long. */
const block = (millis: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

describe("a worker that crashes", () => {
  it.live("loses no record that it had published, however many they are", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const at = lab.loopback
        const listener = yield* pool.listen({ framer: lab.labFramer, on: "worker", at })
        const peer = yield* lab.rawClient(listener.port)
        const lane = yield* listener.accept
        // The lane reads once a frame has come through.
        peer.write(lab.numbered(0))
        yield* lab.takeCount(lane, 1)
        // A consumed frame ends a run of neighbours: each plain frame takes a record. They are more
        // than the main thread takes in a turn.
        const swallow = lab.frame("swallow")
        const pairs = upTo(6_000).flatMap((n) => [swallow, lab.numbered(n)])
        peer.write(Buffer.concat([...pairs, lab.frame("crash")]))
        block(500)
        const frames = yield* lab.takeCount(lane, 6_000)
        assert.deepStrictEqual(frames.map(lab.numberOf), upTo(6_000))
        assert.strictEqual((yield* lane.closed).reason._tag, "WorkerCrashed")
      })
    )
  )

  for (const reusePort of [true, false]) {
    it.live(`leaves its listener to another one (${reusePort ? "shared" : "alone"})`, () =>
      lab.withPool({ workers: 2 }, (pool) =>
        Effect.gen(function* () {
          const at = lab.loopback
          const options = { framer: lab.labFramer, on: "worker", at, reusePort } as const
          const listener = yield* pool.listen(options)
          for (let crashes = 1; crashes <= 3; crashes++) {
            const peer = yield* lab.rawClient(listener.port)
            const lane = yield* listener.accept
            peer.write(lab.frame("crash"))
            assert.strictEqual((yield* lane.closed).reason._tag, "WorkerCrashed")
            yield* lab.until("the crash", () =>
              Effect.map(pool.stats, (stats) => stats.workersCrashed === crashes)
            )
            yield* lab.until("the listener", () => Effect.map(pool.stats, (s) => s.jobsOut === 0))
          }
          const peer = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          peer.write(lab.numbered(5))
          const frames = yield* lab.takeCount(lane, 1)
          assert.deepStrictEqual(frames.map(lab.numberOf), [5])
        })
      )
    )
  }
})

/** Whether a new connection is read by a worker, and not by this thread. */
const isInWorker = Effect.fnUntraced(function* (listener: Listener, peer: net.Socket) {
  const lane = yield* listener.accept
  peer.write(lab.frame("where"))
  const [answer] = yield* lab.takeCount(lane, 1)
  return answer![0] !== threadId
})

describe("a listener", () => {
  for (const counts of [
    [0, 2],
    [1, 0, 1]
  ] as const) {
    it.live(`L8: goes back to workers when there are some (${counts.join(" to ")})`, () =>
      lab.withPool({ workers: counts[0] }, (pool) =>
        Effect.gen(function* () {
          const at = lab.loopback
          const options = { framer: lab.labFramer, on: "worker", reusePort: true } as const
          const listener = yield* pool.listen({ ...options, at })
          const nextIsInWorker = Effect.gen(function* () {
            const peer = yield* lab.rawClient(listener.port)
            return yield* isInWorker(listener, peer)
          }).pipe(Effect.scoped)
          // Also lets the listener come to rest: one that begins looks for workers by itself.
          assert.strictEqual(yield* nextIsInWorker, counts[0] > 0)
          for (const count of counts.slice(1)) yield* pool.resize(count)
          yield* lab.until("a connection in a worker", () =>
            nextIsInWorker.pipe(
              // A connection that a closing share had not accepted is reset by the kernel.
              Effect.timeoutOption("3 seconds"),
              Effect.map(Option.getOrElse(() => false))
            )
          )
          // The main thread has let go: it would get its share of so many.
          for (let n = 0; n < 20; n++) assert.isTrue(yield* nextIsInWorker, `connection ${n}`)
        })
      )
    )
  }

  it.live("L8: on a path, or alone on a port, outlives a resize and a crash of its worker", () =>
    lab.withPool({ workers: 2 }, (pool) =>
      Effect.gen(function* () {
        const path = join(tmpdir(), `handfast-lanes-${process.pid}-${Date.now()}.sock`)
        const listener = yield* pool.listen({ framer: lab.labFramer, on: "worker", at: { path } })
        const alone = yield* pool.listen({
          framer: lab.labFramer,
          on: "worker",
          at: lab.loopback
        })
        const carries = Effect.gen(function* () {
          for (const [listening, to] of [
            [listener, { path }],
            [alone, { host: "127.0.0.1", port: alone.port }]
          ] as const) {
            const client = yield* pool.connect({ framer: lab.labFramer, on: "main", to })
            const lane = yield* listening.accept
            client.send(lab.numbered(1))
            yield* lab.takeCount(lane, 1)
          }
        }).pipe(Effect.scoped)
        yield* carries
        yield* pool.resize(1)
        yield* carries
        yield* pool.resize(0)
        yield* carries
        yield* pool.resize(1)
        const to = { path }
        const client = yield* pool.connect({ framer: lab.labFramer, on: "main", to })
        const lane = yield* listener.accept
        client.send(lab.frame("crash"))
        assert.strictEqual((yield* lane.closed).reason._tag, "WorkerCrashed")
        yield* lab.until("the listener", () => Effect.map(pool.stats, (s) => s.jobsOut === 0))
        yield* Effect.retry(carries, { times: 500, schedule: Schedule.spaced("20 millis") })
      })
    )
  )
})

describe("the settings of TLS", () => {
  for (const on of ["worker", "main"] as const) {
    it.live(`decide by their own authority, also behind others of the same identity (${on})`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({
            framer: lab.labFramer,
            on,
            tls: { ...lab.tlsOf("server"), verify: "none" },
            at: lab.loopback
          })
          const to = { host: "127.0.0.1", port: listener.port }
          const connect = (tls: ReturnType<typeof lab.tlsOf>) =>
            pool.connect({ framer: lab.labFramer, on, tls, to })
          const tls = lab.tlsOf("client")
          yield* connect(tls)
          const failed = yield* Effect.flip(connect({ ...tls, ca: tls.cert! }))
          assert.strictEqual(failed.step, "tls")
          yield* connect(tls)
        })
      )
    )
  }
})

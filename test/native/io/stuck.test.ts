/**
 * Goal: a worker that does not get on any more is noticed from outside, costs its lanes and nothing
 * else, and no memory that it may still write is given back; a worker that works, or whose main
 * thread is busy, is left alone (L14).
 * Method: framers that loop, that block in native code until the test lets them go, and that work
 * for long; and the watch by itself, look by look.
 */
import { execFileSync } from "node:child_process"
import { closeSync, constants, existsSync, openSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { IoPool } from "../../../src/native/io/IoPool.ts"
import {
  countIn,
  madeProgress,
  progressBytes,
  ProgressMonitor
} from "../../../src/native/io/internal/progress.ts"
import { eventually } from "../../eventually.ts"
import * as lab from "./harness.ts"

type Pool = IoPool["Service"]

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

/** Keeps the main thread from its event loop for so long. */
const block = (millis: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

/** A listener in the worker, and a lane of it whose peer is the test. */
const listening = Effect.fnUntraced(function* (pool: Pool, reusePort = false) {
  const options = { framer: lab.labFramer, on: "worker", at: lab.loopback, reusePort } as const
  const listener = yield* pool.listen(options)
  const peer = yield* lab.rawClient(listener.port)
  const lane = yield* listener.accept
  // The lane reads once a frame has come through.
  peer.write(lab.numbered(0))
  yield* lab.takeCount(lane, 1)
  return { lane, listener, peer }
})

/** A new connection to the listener carries a frame. */
const carries = ({ accept, port }: Effect.Success<ReturnType<Pool["listen"]>>) =>
  Effect.gen(function* () {
    const peer = yield* lab.rawClient(port)
    const lane = yield* accept
    peer.write(lab.numbered(5))
    const frames = yield* lab.takeCount(lane, 1)
    return lab.numberOf(frames[0]!) === 5
  }).pipe(
    Effect.scoped,
    // A connection that waits at the socket of the worker that is gone is reset by the kernel.
    Effect.timeoutOrElse({ duration: "2 seconds", orElse: () => Effect.succeed(false) })
  )

/**
 * A frame that blocks its worker in native code, until it is let go or the Scope closes: it reads a
 * named pipe that no writer has opened.
 */
const blockade = Effect.acquireRelease(
  Effect.sync(() => {
    const pipe = join(tmpdir(), `handfast-stuck-${process.pid}-${Date.now()}.pipe`)
    execFileSync("mkfifo", [pipe])
    const letGo = (): void => closeSync(openSync(pipe, constants.O_RDWR))
    const isReached = Effect.sync(() => existsSync(`${pipe}.reached`))
    const reached = eventually("the worker is about to block", isReached)
    return { block: lab.frame("block", new TextEncoder().encode(pipe)), letGo, pipe, reached }
  }),
  ({ letGo, pipe }) =>
    Effect.sync(() => {
      letGo()
      rmSync(pipe)
      rmSync(`${pipe}.reached`, { force: true })
    })
)

const stuckAfterMs = 1_000

describe("a stuck worker", () => {
  for (const reusePort of [true, false]) {
    it.live(`L14: is replaced, and its listener moves (${reusePort ? "shared" : "alone"})`, () =>
      lab.withPool({ workers: 1, stuckAfterMs }, (pool) =>
        Effect.gen(function* () {
          const { lane, listener, peer } = yield* listening(pool, reusePort)
          const to = { host: "127.0.0.1", port: listener.port }
          const other = yield* pool.connect({ framer: lab.labFramer, on: "worker", to })
          yield* listener.accept
          peer.write(lab.numbered(1))
          yield* lab.until("a frame that waits to be taken", () =>
            Effect.map(pool.stats, (stats) => stats.framesReceived === 2)
          )
          peer.write(lab.frame("loop"))
          const end = yield* lane.closed
          assert.strictEqual(end.reason._tag, "WorkerCrashed")
          assert.isTrue(end.reason._tag === "WorkerCrashed" && end.reason.isStuck)
          assert.include(end.message, "made no progress for 1000 ms")
          assert.deepStrictEqual((yield* lane.take).map(lab.numberOf), [1])
          assert.strictEqual((yield* other.closed).reason._tag, "WorkerCrashed")
          yield* lab.until("the listener in another worker", () => carries(listener))
          const { workers, workersCrashed, workersStarted } = yield* pool.stats
          assert.deepStrictEqual([workers, workersStarted, workersCrashed], [1, 2, 1])
        })
      )
    )
  }

  it.live("L14: ends the close of its lane, and what is opened in it, typed", () =>
    lab.withPool({ workers: 1, stuckAfterMs }, (pool) =>
      Effect.gen(function* () {
        const { lane, peer } = yield* listening(pool)
        peer.write(lab.frame("loop"))
        const server = yield* lab.rawServer(() => {})
        const to = { host: "127.0.0.1", port: server.port }
        const connecting = pool.connect({ framer: lab.labFramer, on: "worker", to })
        // Both are out before the worker is given up.
        const opening = yield* Effect.forkChild(Effect.flip(connecting), { startImmediately: true })
        yield* lane.close
        assert.strictEqual((yield* lane.closed).reason._tag, "WorkerCrashed")
        const failed = yield* Fiber.join(opening)
        assert.deepStrictEqual([failed._tag, failed.step], ["SocketOpenError", "worker"])
      })
    )
  )

  it.live("L14: does not keep a registration, nor its end, for ever", () =>
    lab.withPool({ workers: 2, stuckAfterMs }, (pool) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Scope.provide(pool.register(new SharedArrayBuffer(8)), scope)
        const { peer } = yield* listening(pool)
        peer.write(lab.frame("loop"))
        const registering = Effect.scoped(pool.register(new SharedArrayBuffer(8)))
        yield* Effect.all([registering, Scope.close(scope, Exit.void)], { concurrency: 2 })
        assert.strictEqual((yield* pool.stats).workersCrashed, 1)
      })
    )
  )

  it.live("L14: keeps the memory that it may write until its thread has ended", () =>
    lab.withPool({ workers: 1, stuckAfterMs }, (pool) =>
      Effect.gen(function* () {
        const scopes = [yield* Scope.make(), yield* Scope.make()]
        for (const scope of scopes) {
          yield* Scope.provide(pool.register(new SharedArrayBuffer(8)), scope)
        }
        const { lane, peer } = yield* listening(pool)
        const { block, letGo, reached } = yield* blockade
        peer.write(block)
        yield* reached
        const release = (index: number) =>
          Effect.forkChild(Scope.close(scopes[index]!, Exit.void), { startImmediately: true })
        // One release is asked for before the worker is given up, and one after.
        const before = yield* release(0)
        assert.strictEqual((yield* lane.closed).reason._tag, "WorkerCrashed")
        yield* lane.close
        const after = yield* release(1)
        // A new worker has answered by the time that it has carried so many frames.
        const server = yield* lab.rawServer((socket) => void socket.pipe(socket))
        yield* lab.until("a new worker", () =>
          Effect.map(pool.stats, (stats) => stats.workersStarted === 2)
        )
        const to = { host: "127.0.0.1", port: server.port }
        const echo = yield* pool.connect({ framer: lab.labFramer, on: "worker", to })
        for (const n of upTo(50)) {
          echo.send(lab.numbered(n))
          yield* lab.takeCount(echo, 1)
        }
        assert.deepStrictEqual([before.pollUnsafe(), after.pollUnsafe()], [undefined, undefined])
        assert.strictEqual((yield* pool.stats).workersCrashed, 0)
        letGo()
        yield* Fiber.join(before)
        yield* Fiber.join(after)
        yield* lab.until("the thread has ended", () =>
          Effect.map(pool.stats, (stats) => stats.workersCrashed === 1)
        )
      })
    )
  )

  it.live("L14: fails what it was opening at once, and ends its listener with its thread", () =>
    lab.withPool({ workers: 1, stuckAfterMs }, (pool) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { peer } = yield* Scope.provide(listening(pool, true), scope)
        const { block, letGo, reached } = yield* blockade
        peer.write(block)
        yield* reached
        const silent = yield* lab.rawServer(() => {})
        const to = { host: "127.0.0.1", port: silent.port }
        const options = { framer: lab.labFramer, tls: lab.tlsOf("client"), on: "worker" } as const
        const failed = yield* Effect.flip(pool.connect({ ...options, to }))
        assert.strictEqual(failed.step, "worker")
        assert.strictEqual((yield* pool.stats).workersCrashed, 0)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* Effect.sleep("100 millis")
        assert.isUndefined(closing.pollUnsafe())
        letGo()
        yield* Fiber.join(closing)
      })
    )
  )

  it.live("L14: is noticed although it is parked", () =>
    lab.withPool({ workers: 1, stuckAfterMs }, (pool) =>
      Effect.gen(function* () {
        const { lane, peer } = yield* listening(pool)
        yield* pool.resize(0)
        peer.write(lab.frame("loop"))
        assert.strictEqual((yield* lane.closed).reason._tag, "WorkerCrashed")
      })
    )
  )
})

describe("a worker that is not stuck", () => {
  it.live("L14: is left alone while the main thread is busy, idle as it is or with work", () =>
    lab.withPool({ workers: 1, stuckAfterMs: 500 }, (pool) =>
      Effect.gen(function* () {
        const { lane, peer } = yield* listening(pool)
        block(1_500)
        yield* Effect.sleep("20 millis")
        peer.write(lab.frame("busy", lab.words(1_000)))
        yield* Effect.sleep("20 millis")
        block(1_500)
        // A main thread that is busy most of the time looks now and then.
        for (const _ of upTo(30)) {
          block(70)
          yield* Effect.sleep("1 millis")
        }
        peer.write(lab.numbered(1))
        assert.deepStrictEqual((yield* lab.takeCount(lane, 1)).map(lab.numberOf), [1])
        assert.strictEqual((yield* pool.stats).workersCrashed, 0)
      })
    )
  )

  it.live("L14: is left alone while it works without a pause, in one read or many", () =>
    lab.withPool({ workers: 1, stuckAfterMs: 1_000 }, (pool) =>
      Effect.gen(function* () {
        const { lane, peer } = yield* listening(pool)
        const busy = lab.frame("busy", lab.words(50))
        peer.write(Buffer.concat([...upTo(50).map(() => busy), lab.numbered(1)]))
        assert.deepStrictEqual((yield* lab.takeCount(lane, 1)).map(lab.numberOf), [1])
        assert.strictEqual((yield* pool.stats).workersCrashed, 0)
      })
    )
  )

  it.live("L14: is left alone in a storm of handshakes, and under frames of a megabyte", () =>
    lab.withPool({ workers: 1, stuckAfterMs: 1_000 }, (pool) =>
      Effect.gen(function* () {
        const tls = lab.tlsOf("server")
        const options = { framer: lab.labFramer, on: "worker", at: lab.loopback, tls } as const
        const listener = yield* pool.listen(options)
        const to = { host: "127.0.0.1", port: listener.port }
        const connecting = pool.connect({ ...options, tls: lab.tlsOf("client"), to })
        const lanes = yield* Effect.all(
          upTo(80).map(() => connecting),
          { concurrency: "unbounded" }
        )
        const client = lanes[0]!
        yield* Effect.forkScoped(
          Effect.forEach(upTo(20), (n) => lab.send(client, lab.numbered(n, 1_000_000)))
        )
        // One of them is the other end of the first.
        const takers = yield* Effect.forEach(lanes, () => listener.accept)
        yield* Effect.raceAll(takers.map((lane) => lab.takeCount(lane, 20)))
        assert.strictEqual((yield* pool.stats).workersCrashed, 0)
      })
    )
  )
})

describe("the watch of a worker", () => {
  const watched = () => {
    const memory = new SharedArrayBuffer(progressBytes)
    countIn(memory)
    return new ProgressMonitor(memory)
  }

  it("L14: takes a worker that has not come up for one that starts", () => {
    const watch = watched()
    for (const _ of upTo(100)) assert.strictEqual(watch.check(), "progress")
  })

  it("L14: finds it stuck at the tenth look in a row without progress", () => {
    const watch = watched()
    madeProgress()
    assert.strictEqual(watch.check(), "progress")
    for (const _ of upTo(9)) assert.strictEqual(watch.check(), "none")
    madeProgress()
    assert.strictEqual(watch.check(), "progress")
    for (const _ of upTo(9)) assert.strictEqual(watch.check(), "none")
    assert.strictEqual(watch.check(), "stuck")
  })
})

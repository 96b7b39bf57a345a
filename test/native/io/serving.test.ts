/**
 * Goal: a server's handlers fail alone, answer with bounded memory however slowly a peer reads, and
 * end in order with their server.
 * Method: servers on loopback, plain and over TLS, in workers and on the main thread, with raw
 * peers and lanes as clients; and a lane on a driver that records.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { lengthPrefixed } from "../../../src/native/io/Framer.ts"
import type { FrameBatch } from "../../../src/native/io/FrameBatch.ts"
import { idleLane } from "./idleLane.ts"
import * as lab from "./harness.ts"

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)
const framer = lengthPrefixed

/** A number behind its length, in so many bytes. */
const prefixed = (n: number, bytes = 8): Buffer => {
  const frame = Buffer.alloc(bytes)
  frame.writeUInt32BE(bytes - 4)
  frame.writeUInt32BE(n, 4)
  return frame
}

const numbersIn = (bytes: Buffer): ReadonlyArray<number> => {
  const numbers: Array<number> = []
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) {
    numbers.push(bytes.readUInt32BE(at + 4))
  }
  return numbers
}

const numberOf = (frame: Uint8Array): number =>
  new DataView(frame.buffer, frame.byteOffset).getUint32(4)

/** Keeps what is logged. */
const recorder = () => {
  const lines: Array<{ level: string; text: string; peer: unknown }> = []
  const logger = Logger.make(({ cause, fiber, logLevel, message }) => {
    const { peer } = fiber.getRef(References.CurrentLogAnnotations)
    lines.push({ level: logLevel, text: `${String(message)} ${String(cause)}`, peer })
  })
  return { lines, layer: Logger.layer([logger]) }
}

/** A raw client, plain or over TLS, closed with the Scope. */
const rawPeer = (port: number, secure: boolean) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const { ca, cert, key } = lab.tlsOf("client")
      const to = { host: "127.0.0.1", port }
      const socket = secure
        ? tls.connect({ ...to, ca: ca!, cert: cert!, key: key!, servername: "localhost" })
        : net.connect(to)
      socket.on("error", () => {})
      socket.once(secure ? "secureConnect" : "connect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

for (const on of ["worker", "main"] as const) {
  for (const secure of [false, true]) {
    const options = {
      framer,
      on,
      at: lab.loopback,
      ...(secure ? { tls: lab.tlsOf("server") } : {})
    }
    const clientOptions = { framer, on, ...(secure ? { tls: lab.tlsOf("client") } : {}) }

    describe(`a server (${on}, ${secure ? "TLS" : "plain"})`, () => {
      it.live("echoes batches to many clients at once, in order", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { port } = yield* pool.serve(options, (lane) =>
              lane.run((batch) => {
                assert.isAtMost(batch.count, 64)
                lane.send(batch.all)
              })
            )
            const client = Effect.gen(function* () {
              const to = { host: "127.0.0.1", port }
              const lane = yield* pool.connect({ ...clientOptions, to })
              yield* Effect.forkScoped(
                Effect.forEach(upTo(1_000), (n) => lab.send(lane, prefixed(n, 50 + (n % 100))))
              )
              const got = yield* lab.takeCount(lane, 1_000)
              assert.deepStrictEqual(got.map(numberOf), upTo(1_000))
            }).pipe(Effect.scoped)
            yield* Effect.all(
              upTo(10).map(() => client),
              { concurrency: "unbounded" }
            )
          })
        )
      )

      it.live("reads no further than it may while a peer takes no answers, and loses none", () =>
        lab.withPool({ workers: 1, sendBytes: 100_000, receiveBytes: 400_000 }, (pool) =>
          Effect.gen(function* () {
            const statuses = new Set<string>()
            const counts: Array<Effect.Effect<object>> = []
            const { port } = yield* pool.serve(options, (lane) => {
              counts.push(lane.counts)
              return lane.run((batch) => {
                // Each frame is answered by twenty times its bytes.
                for (let i = 0; i < batch.count; i++) {
                  const answer = prefixed(numberOf(batch.copy(i)), 2_000)
                  statuses.add(lane.send(answer))
                }
              })
            })
            const peer = yield* rawPeer(port, secure)
            const total = 20_000
            const hello = Buffer.concat(upTo(total).map((n) => prefixed(n, 100)))
            peer.pause().write(hello)
            // Nothing moves any more: the server has stopped to read.
            let last = -1
            yield* lab.until("the reading stops", () =>
              Effect.gen(function* () {
                yield* Effect.sleep("150 millis")
                const { bytesReceived } = yield* pool.stats
                const stands = bytesReceived > 0 && bytesReceived === last
                last = bytesReceived
                return stands
              })
            )
            const stats = yield* pool.stats
            assert.isBelow(stats.bytesReceived, hello.length)
            assert.isAtMost(stats.sendHighWater, 500_000)
            // A read may begin just below the limit.
            assert.isBelow(stats.receiveHighWater, 400_000 + 262_144 + 100)
            const chunks: Array<Buffer> = []
            let bytes = 0
            peer.on("data", (chunk: Buffer) => {
              chunks.push(chunk)
              bytes += chunk.length
            })
            peer.resume()
            yield* lab.until("all answers", () => Effect.sync(() => bytes === total * 2_000))
            assert.deepStrictEqual(numbersIn(Buffer.concat(chunks)), upTo(total))
            assert.deepStrictEqual([...statuses], ["accepted"])
          })
        )
      )

      it.live("ends the lane of a handler that fails, logs it, and serves the others", () => {
        const { layer, lines } = recorder()
        return lab
          .withPool({ workers: 1 }, (pool) =>
            Effect.gen(function* () {
              let closed = 0
              const { port } = yield* pool.serve(options, (lane) => {
                if (lane.peer.port === 0) throw new Error("no peer")
                return Effect.gen(function* () {
                  yield* Effect.addFinalizer(() => Effect.sync(() => void closed++))
                  const [first] = yield* lane.take
                  const kind = numberOf(first!)
                  if (kind === 0) return yield* Effect.fail("refuses")
                  if (kind === 1) return yield* Effect.die(new Error("is broken"))
                  yield* lane.run((batch) => {
                    if (kind === 2) throw new Error("throws")
                    lane.send(batch.all)
                  })
                })
              })
              const to = { host: "127.0.0.1", port }
              const good = yield* pool.connect({ ...clientOptions, to })
              good.send(prefixed(9))
              for (const kind of upTo(3)) {
                const bad = yield* pool.connect({ ...clientOptions, to })
                bad.send(prefixed(kind))
                yield* Effect.sleep("20 millis")
                bad.send(prefixed(kind))
                const end = yield* bad.closed
                assert.include(["PeerClosed", "PeerReset"], end.reason._tag)
              }
              yield* lab.until("Scopes close", () => Effect.sync(() => closed === 3))
              good.send(prefixed(9))
              assert.deepStrictEqual((yield* lab.takeCount(good, 1)).map(numberOf), [9])
              yield* good.close
              yield* lab.until("the last one", () => Effect.sync(() => closed === 4))
              const errors = lines.filter(({ level }) => level === "Error")
              assert.lengthOf(errors, 3)
              for (const [i, what] of ["refuses", "is broken", "throws"].entries()) {
                assert.include(errors[i]!.text, what)
                assert.match(String(errors[i]!.peer), /^127\.0\.0\.1:\d+$/)
              }
            })
          )
          .pipe(Effect.provide(layer))
      })

      it.live("logs a framer that throws as an error, and what it refuses as no error", () => {
        const { layer, lines } = recorder()
        const errors = () => lines.filter(({ level }) => level === "Error")
        const long = prefixed(0)
        long.writeUInt32BE(0xffff_ffff)
        return lab
          .withPool({ workers: 1 }, (pool) =>
            Effect.gen(function* () {
              const silent = (maxBodyBytes: number) =>
                pool.serve({ ...options, options: { maxBodyBytes } }, (lane) => lane.run(() => {}))
              const good = yield* silent(100)
              const refused = yield* pool.connect({
                ...clientOptions,
                to: { host: "127.0.0.1", port: good.port }
              })
              refused.send(long)
              yield* refused.closed
              assert.isEmpty(errors())
              // Every connection would be closed, and nothing would say why.
              const { port } = yield* silent(Number.NaN)
              const lane = yield* pool.connect({
                ...clientOptions,
                to: { host: "127.0.0.1", port }
              })
              yield* lane.closed
              yield* lab.until("a log", () => Effect.sync(() => errors().length === 1))
              assert.include(errors()[0]!.text, "the framer threw: maxBodyBytes is NaN")
            })
          )
          .pipe(Effect.provide(layer))
      })

      it.live("ends with its Scope: the listener first, then its lanes, in time", () =>
        lab.withPool({ workers: 1, closeWithinMs: 1_000 }, (pool) =>
          Effect.gen(function* () {
            const scope = yield* Scope.make()
            const order: Array<string> = []
            const ready = yield* Deferred.make<void>()
            const { port } = yield* pool
              .serve(options, (lane) =>
                Effect.gen(function* () {
                  yield* Effect.addFinalizer(() =>
                    Effect.gen(function* () {
                      const to = { host: "127.0.0.1", port: lane.peer.port }
                      const again = pool.connect({ ...clientOptions, to: { ...to, port } })
                      order.push((yield* Effect.exit(Effect.scoped(again)))._tag)
                    })
                  )
                  // More than the peer, which reads nothing, and the kernel will take.
                  while (lane.send(new Uint8Array(65_536)) === "accepted");
                  yield* Deferred.succeed(ready, undefined)
                  return yield* Effect.never
                })
              )
              .pipe(Scope.provide(scope))
            for (const _ of upTo(5)) (yield* rawPeer(port, secure)).pause()
            yield* Deferred.await(ready)
            yield* lab.until("lanes", () => Effect.map(pool.stats, ({ lanes }) => lanes === 5))
            yield* Effect.sleep("50 millis")
            const began = performance.now()
            yield* Scope.close(scope, Exit.void)
            // All together: five one after the other would take five times the bound.
            assert.isBelow(performance.now() - began, 4_000)
            assert.deepStrictEqual(
              order,
              Array.from({ length: 5 }, () => "Failure")
            )
            yield* lab.until("lanes", () => Effect.map(pool.stats, ({ lanes }) => lanes === 0))
          })
        )
      )

      it.live("answers all that a peer sent before it ended its side", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { port } = yield* pool.serve({ ...options, halfOpen: true }, (lane) =>
              lane.run((batch) => lane.send(batch.all))
            )
            const peer = yield* rawPeer(port, secure)
            const chunks: Array<Buffer> = []
            peer.on("data", (chunk: Buffer) => chunks.push(chunk))
            const ended = Effect.callback<void>((resume) => {
              peer.once("end", () => resume(Effect.void))
            })
            peer.end(Buffer.concat(upTo(3_000).map((n) => prefixed(n, 100))))
            yield* ended
            assert.deepStrictEqual(numbersIn(Buffer.concat(chunks)), upTo(3_000))
          })
        )
      )
    })
  }
}

describe("a handler that answers", () => {
  /** A lane that nothing drives by itself, and the bytes that its user is done with. */
  const idle = () => {
    let consumed = 0
    const core = idleLane({
      flushSoon: (core) => void core.flush(),
      consumed: (_, bytes) => void (consumed += bytes)
    })
    /** Hands so many frames of 8 bytes over as one run, numbered from `first` on. */
    const push = (first: number, count: number): void => {
      const bytes = Buffer.concat([Buffer.alloc(3), ...upTo(count).map((n) => prefixed(first + n))])
      const ends = Int32Array.from([0, ...upTo(count).map((n) => 3 + (n + 1) * 8)])
      core.frames(bytes, ends, 1, count, 3)
      bytes.fill(0xff)
    }
    return { core, push, consumed: () => consumed }
  }

  it("is held back in the midst of a run, and goes on in order when half is free", () => {
    const { consumed, core, push } = idle()
    const seen: Array<number> = []
    core.onFrames((batch: FrameBatch) => {
      for (let i = 0; i < batch.count; i++) {
        seen.push(numberOf(batch.copy(i)))
        assert.strictEqual(core.send(new Uint8Array(20)), "accepted")
      }
    })
    push(0, 200)
    assert.deepStrictEqual(seen, upTo(64))
    assert.strictEqual(consumed(), 64 * 8)
    push(200, 10)
    assert.lengthOf(seen, 64)
    // The first job took the first answer, and left the others.
    core.written(20)
    assert.lengthOf(seen, 64)
    core.written(63 * 20)
    assert.deepStrictEqual(seen, upTo(128))
    for (let trips = 0; trips < 10 && seen.length < 210; trips++) core.written(1)
    assert.deepStrictEqual(seen, upTo(210))
    assert.strictEqual(consumed(), 210 * 8)
  })

  it("is told that the lane is full when one call sends without end", () => {
    const { core, push } = idle()
    let sent = 0
    core.onFrames(() => {
      while (core.send(new Uint8Array(100)) === "accepted") sent += 100
    })
    push(0, 1)
    assert.strictEqual(sent, core.limits.sendBytes + core.limits.receiveBytes)
    assert.strictEqual(core.send(new Uint8Array(1)), "full")
  })

  it("leaves to `take` what it has not had, when it is removed in the midst of a run", () => {
    const { consumed, core, push } = idle()
    core.onFrames(() => void core.send(new Uint8Array(1_500)))
    push(0, 200)
    core.written(1_500)
    core.onFrames(undefined)
    assert.deepStrictEqual(
      core.takeBacklog().map(numberOf),
      upTo(72).map((n) => 128 + n)
    )
    assert.strictEqual(consumed(), 200 * 8)
  })

  it("gets what waits for it when the lane ends, unless it has failed", () => {
    for (const act of ["none", "throw"]) {
      const { core, push } = idle()
      const seen: Array<number> = []
      core.onFrames((batch: FrameBatch) => {
        seen.push(batch.count)
        core.send(new Uint8Array(1_500))
        if (seen.length < 2) return
        if (act === "throw") throw new Error("no")
      })
      push(0, 200)
      assert.deepStrictEqual(seen, [64])
      core.ended({ kind: "peer-closed", missing: 0 })
      assert.deepStrictEqual(seen, act === "throw" ? [64, 64] : [64, 64, 64, 8])
      assert.strictEqual(core.end?.kind, act === "throw" ? "handler" : "peer-closed")
      assert.lengthOf(core.takeBacklog(), 0)
    }
  })
})

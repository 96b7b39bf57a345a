/**
 * Goal: what reviewers found wrong in a cluster bus that moved its socket work to threads cannot
 * happen here. Each test carries the number of its defect; those that are absent here are with
 * the parts they concern.
 * Method: real sockets with peers that misbehave; a pool whose queues are as small as can be.
 */
import * as tls from "node:tls"
import type * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as lab from "./harness.ts"

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

const numbersOf = (frames: ReadonlyArray<Uint8Array>): Array<number> => frames.map(lab.numberOf)

for (const on of ["worker", "main"] as const) {
  describe(`lanes on: ${on}`, () => {
    it.live("D1: bytes belong to the lane once send has taken them", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const { client, server } = yield* lab.pair(pool, on)
          for (let n = 0; n < 300; n++) {
            const bytes = lab.numbered(n, 2_000)
            client.send(bytes)
            bytes.fill(0xee)
          }
          assert.deepStrictEqual(numbersOf(yield* lab.takeCount(server, 300)), upTo(300))
        })
      )
    )

    it.live("D4, D15: k good frames, then garbage: k frames, then one refusal", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: lab.labFramer, on, at: lab.loopback })
          for (const k of [0, 1, 50]) {
            const peer = yield* lab.rawClient(listener.port)
            const lane = yield* listener.accept
            for (const n of upTo(k)) peer.write(lab.numbered(n))
            peer.write(Uint8Array.of(0, 0, 0, 1, 9, 9))
            assert.deepStrictEqual(numbersOf(yield* lab.takeCount(lane, k)), upTo(k))
            assert.strictEqual((yield* Effect.flip(lane.take)).reason._tag, "FrameRefused")
          }
        })
      )
    )

    it.live(
      "D7: what is sent while a handshake is slow waits, in order, and nothing falls back",
      () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const got: Array<Buffer> = []
            let begun = false
            const server = yield* lab.rawServer((socket) => {
              setTimeout(() => {
                begun = true
                const { cert = "", key = "" } = lab.tlsOf("server")
                const secure = new tls.TLSSocket(socket, { isServer: true, cert, key })
                secure.on("data", (bytes: Buffer) => got.push(bytes))
                secure.on("error", () => {})
              }, 300)
            })
            const lane = yield* pool.connect({
              framer: lab.labFramer,
              on,
              tls: lab.tlsOf("client"),
              to: { host: "127.0.0.1", port: server.port }
            })
            assert.isTrue(begun)
            for (const n of upTo(10)) assert.strictEqual(lane.send(lab.numbered(n)), "accepted")
            yield* lab.until("ten frames", () =>
              Effect.sync(() => Buffer.concat(got).length === 90)
            )
            const all = Buffer.concat(got)
            assert.deepStrictEqual(
              upTo(10).map((n) => lab.numberOf(all.subarray(n * 9))),
              upTo(10)
            )
            assert.strictEqual((yield* pool.stats).fallbacks, 0)
          })
        )
    )

    it.live("D8: a flood of 10 MB stays within the budget, and the neighbour gets its turn", () =>
      lab.withPool({ workers: 1, receiveBytes: 100_000 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: lab.labFramer, on, at: lab.loopback })
          const flood = yield* lab.rawClient(listener.port)
          const flooded = yield* listener.accept
          const quiet = yield* lab.rawClient(listener.port)
          const neighbour = yield* listener.accept
          const block = Buffer.concat(upTo(100).map((n) => lab.numbered(n, 1_000)))
          for (let i = 0; i < 100; i++) flood.write(block)
          quiet.write(lab.numbered(7))
          assert.deepStrictEqual(numbersOf(yield* lab.takeCount(neighbour, 1)), [7])
          // Time for all of it to come in, if nothing held it.
          yield* Effect.sleep("300 millis")
          const frames = yield* lab.takeCount(flooded, 10_000)
          assert.deepStrictEqual(
            numbersOf(frames),
            upTo(10_000).map((n) => n % 100)
          )
          const { receiveHighWater } = yield* flooded.counts
          assert.isBelow(receiveHighWater, 100_000 + 2 * 262_144)
        })
      )
    )

    it.live("D8: a user who is behind again and again never strands the reading", () =>
      lab.withPool({ workers: 1, receiveBytes: 3_000 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: lab.labFramer, on, at: lab.loopback })
          const flood = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          const block = Buffer.concat(upTo(100).map((n) => lab.numbered(n, 1_000)))
          for (let i = 0; i < 50; i++) flood.write(block)
          const frames = yield* lab.takeCount(lane, 5_000)
          assert.deepStrictEqual(
            numbersOf(frames),
            upTo(5_000).map((n) => n % 100)
          )
        })
      )
    )

    it.live("D8: a wake-up for something else strands no reader", () =>
      lab.withPool({ workers: 1, receiveBytes: 3_000 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: lab.labFramer, on, at: lab.loopback })
          const flood = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          const quiet = yield* lab.rawClient(listener.port)
          const other = yield* listener.accept
          quiet.resume()
          const random = lab.generator(8)
          const flushed = Effect.callback<void>((resume) => {
            setImmediate(() => setImmediate(() => resume(Effect.void)))
          })
          const block = Buffer.concat(upTo(100).map((n) => lab.numbered(n, 1_000)))
          for (let i = 0; i < 400; i++) flood.write(block)
          for (let got = 0; got < 40_000;) {
            // The reader is held. The worker wakes for the other lane while its user catches up,
            // and nothing else wakes it afterwards.
            yield* Effect.sleep("1 millis")
            other.send(lab.numbered(got))
            yield* flushed
            const until = performance.now() + random(400) / 1_000
            while (performance.now() < until);
            got += (yield* lane.take).length
            if (got < 40_000) got += (yield* lane.take).length
          }
        })
      )
    )

    it.live("D9, D16: a full socket keeps lane and message; each byte goes out once", () =>
      lab.withPool({ workers: 1, writeJobBytes: 10_000, sendBytes: 20_000_000 }, (pool) =>
        Effect.gen(function* () {
          const got: Array<Buffer> = []
          let peer: net.Socket | undefined
          const server = yield* lab.rawServer((socket) => {
            peer = socket
            socket.pause()
            socket.on("data", (bytes: Buffer) => got.push(bytes))
            socket.pause()
          })
          const to = { host: "127.0.0.1", port: server.port }
          const lane = yield* pool.connect({ framer: lab.labFramer, on, to })
          for (const n of upTo(1_500)) lane.send(lab.numbered(n, 10_000))
          yield* lab.until("the socket is full", () =>
            Effect.gen(function* () {
              const { bytesSent } = yield* lane.counts
              yield* Effect.sleep("30 millis")
              return bytesSent > 0 && (yield* lane.counts).bytesSent === bytesSent
            })
          )
          peer?.resume()
          const total = 1_500 * 10_005
          yield* lab.until("all of it", () =>
            Effect.sync(() => got.reduce((sum, bytes) => sum + bytes.length, 0) >= total)
          )
          const all = Buffer.concat(got)
          assert.strictEqual(all.length, total)
          for (const n of upTo(1_500)) {
            if (lab.numberOf(all.subarray(n * 10_005)) !== n) assert.fail(`frame ${n}`)
          }
          assert.strictEqual((yield* lane.counts).bytesSent, total)
        })
      )
    )

    it.live("D9: bytes that a full socket holds stay as they were while more are sent", () =>
      lab.withPool({ workers: 1, sendBytes: 200_000 }, (pool) =>
        Effect.gen(function* () {
          const got: Array<Buffer> = []
          const server = yield* lab.rawServer((socket) => {
            socket.on("data", (bytes: Buffer) => {
              got.push(bytes)
              // A slow peer: most of the time its buffers are full.
              socket.pause()
              setTimeout(() => socket.resume(), 1)
            })
          })
          const to = { host: "127.0.0.1", port: server.port }
          const lane = yield* pool.connect({ framer: lab.labFramer, on, to })
          for (const n of upTo(1_000)) yield* lab.send(lane, lab.numbered(n, 20_000))
          const size = lab.numbered(0, 20_000).length
          yield* lab.until("all of it", () =>
            Effect.sync(() => got.reduce((sum, bytes) => sum + bytes.length, 0) >= 1_000 * size)
          )
          const all = Buffer.concat(got)
          for (const n of upTo(1_000)) {
            const frame = all.subarray(n * size, (n + 1) * size)
            if (Buffer.compare(frame, lab.numbered(n, 20_000)) !== 0) assert.fail(`frame ${n}`)
          }
        })
      )
    )

    it.live("D11: an endless backlog to a peer that hardly reads does not starve its frames", () =>
      lab.withPool({ workers: 1, sendBytes: 1_000_000 }, (pool) =>
        Effect.gen(function* () {
          let peer: net.Socket | undefined
          const server = yield* lab.rawServer((socket) => {
            peer = socket
            socket.pause()
          })
          const to = { host: "127.0.0.1", port: server.port }
          const lane = yield* pool.connect({ framer: lab.labFramer, on, to })
          yield* Effect.forkScoped(
            Effect.forever(
              Effect.suspend(() => {
                const full = lane.send(lab.numbered(0, 50_000)) === "full"
                return full ? lane.writable : Effect.void
              })
            )
          )
          yield* Effect.sleep("50 millis")
          for (const n of upTo(20)) {
            peer?.write(lab.numbered(n))
            assert.deepStrictEqual(numbersOf(yield* lab.takeCount(lane, 1)), [n])
            peer?.read(8)
          }
        })
      )
    )

    it.live("hostile peers and a broken framer end their own lane; nothing else notices", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: lab.labFramer, on, at: lab.loopback })
          const good = yield* lab.pair(pool, on)
          const attacks: ReadonlyArray<readonly [string, Uint8Array]> = [
            ["a length of 4 GB", Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0)],
            ["a length of 0", Uint8Array.of(0, 0, 0, 0, 0)],
            ["a framer that throws", lab.frame("throw")],
            ["a region that is not there", lab.frame("place", lab.words(99, 0))],
            ["noise", new Uint8Array(100_000).map((_, i) => i * 7 + 131)]
          ]
          for (const [name, bytes] of attacks) {
            const peer = yield* lab.rawClient(listener.port)
            const lane = yield* listener.accept
            peer.write(bytes)
            assert.strictEqual((yield* lane.closed).reason._tag, "FrameRefused", name)
            good.client.send(lab.numbered(1))
            assert.deepStrictEqual(numbersOf(yield* lab.takeCount(good.server, 1)), [1])
          }
          const slow = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          for (const byte of lab.numbered(5)) {
            slow.write(Uint8Array.of(byte))
            yield* Effect.sleep("5 millis")
            good.client.send(lab.numbered(2))
            assert.deepStrictEqual(numbersOf(yield* lab.takeCount(good.server, 1)), [2])
          }
          assert.deepStrictEqual(numbersOf(yield* lab.takeCount(lane, 1)), [5])
          slow.write(Uint8Array.of(0, 0))
          slow.end()
          const end = yield* lane.closed
          assert.deepStrictEqual(
            [end.reason._tag, "missing" in end.reason && end.reason.missing],
            ["PeerClosed", 2]
          )
          assert.strictEqual((yield* pool.stats).workersCrashed, 0)
        })
      )
    )
  })
}

describe("the pool", () => {
  it.live("D2: with queues of a few records, ten thousand jobs and a stop lose nothing", () =>
    lab.withPool({ workers: 1, outboxWords: 1_024, inboxWords: 256, writeJobBytes: 100 }, (pool) =>
      Effect.gen(function* () {
        const pairs = yield* Effect.forEach(upTo(4), () => lab.pair(pool, "worker"))
        yield* Effect.forEach(
          pairs,
          ({ client, server }) =>
            Effect.gen(function* () {
              const sending = Effect.forEach(upTo(2_500), (n) =>
                lab.send(client, lab.numbered(n, 80))
              )
              yield* Effect.forkScoped(sending)
              assert.deepStrictEqual(numbersOf(yield* lab.takeCount(server, 2_500)), upTo(2_500))
            }),
          { concurrency: "unbounded" }
        )
      })
    )
  )

  it.live("D2: a full inbox keeps no lane from its release", () =>
    lab.withPool({ workers: 1, inboxWords: 256 }, (pool) =>
      Effect.gen(function* () {
        const at = lab.loopback
        const listener = yield* pool.listen({ framer: lab.labFramer, on: "worker", at })
        const peers = yield* Effect.forEach(upTo(60), () => lab.rawClient(listener.port))
        for (const _ of peers) yield* listener.accept
        for (const peer of peers) peer.destroy()
        // The ends of all of them wait for this thread, whose releases exceed the inbox.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
        yield* lab.until("all releases", () => Effect.map(pool.stats, ({ lanes }) => lanes === 0))
      })
    )
  )

  it.live("D2: a worker with a full outbox goes on when the main thread drains", () =>
    lab.withPool({ workers: 1, outboxWords: 1_024 }, (pool) =>
      Effect.gen(function* () {
        const at = lab.loopback
        const listener = yield* pool.listen({ framer: lab.labFramer, on: "worker", at })
        const peer = yield* lab.rawClient(listener.port)
        const lane = yield* listener.accept
        // A consumed frame ends a run of neighbours: each plain frame needs a record of its own.
        const swallow = lab.frame("swallow")
        peer.write(Buffer.concat(upTo(5_000).flatMap((n) => [swallow, lab.numbered(n)])))
        assert.deepStrictEqual(numbersOf(yield* lab.takeCount(lane, 5_000)), upTo(5_000))
      })
    )
  )

  it.live(
    "D6: a ClientHello in two pieces while no worker has room becomes a lane all the same",
    () =>
      lab.withPool({ workers: 1, openJobsMax: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({
            framer: lab.labFramer,
            tls: { ...lab.tlsOf("server"), verify: "none" },
            at: lab.loopback
          })
          // The only open job is taken by a handshake that does not come to its end.
          const silent = yield* lab.rawServer(() => {})
          yield* Effect.forkScoped(
            pool.connect({
              framer: lab.labFramer,
              tls: lab.tlsOf("client"),
              to: { host: "127.0.0.1", port: silent.port }
            })
          )
          const raw = yield* lab.rawClient(listener.port)
          const secure = tls.connect({ socket: lab.inPieces(raw), rejectUnauthorized: false })
          secure.on("error", () => {})
          secure.on("secureConnect", () => secure.write(lab.numbered(3)))
          const lane = yield* listener.accept
          assert.deepStrictEqual(numbersOf(yield* lab.takeCount(lane, 1)), [3])
        })
      )
  )

  it.live("D23: a storm of TLS connects both ways leaves the main thread free", () =>
    lab.withPool({ workers: 1, openWithinMs: 600_000 }, (pool) =>
      Effect.gen(function* () {
        const listener = yield* pool.listen({
          framer: lab.labFramer,
          tls: lab.tlsOf("server"),
          at: lab.loopback
        })
        const cpu = process.threadCpuUsage()
        const start = process.cpuUsage()
        const lanes = yield* Effect.all(
          upTo(150).map(() =>
            pool.connect({
              framer: lab.labFramer,
              tls: lab.tlsOf("client"),
              to: { host: "127.0.0.1", port: listener.port }
            })
          ),
          { concurrency: "unbounded" }
        )
        for (const _ of lanes) yield* listener.accept
        const own = process.threadCpuUsage(cpu)
        const all = process.cpuUsage(start)
        const share = (own.user + own.system) / (all.user + all.system)
        assert.isBelow(share, 0.35)
        assert.strictEqual((yield* pool.stats).fallbacks, 0)
      })
    )
  )
})

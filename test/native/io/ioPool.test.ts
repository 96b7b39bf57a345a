/**
 * Goal: lanes carry whole frames over real sockets wherever they live, end with one typed
 * error, and give everything back.
 * Method: a pool with itself or with a raw socket as the peer, over loopback; after each test no
 * job is out, no lane is left and no file descriptor is open.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { Lane } from "../../../src/native/io/Lane.ts"
import { IoPool, type LaneOptions, type Listener } from "../../../src/native/io/IoPool.ts"
import * as lab from "./harness.ts"

type Pool = IoPool["Service"]

interface Place {
  readonly name: string
  readonly on: "worker" | "main"
  readonly secure: boolean
}

const places: readonly [Place, Place, Place, Place] = [
  { name: "in a worker", on: "worker", secure: false },
  { name: "in a worker over TLS", on: "worker", secure: true },
  { name: "on the main thread", on: "main", secure: false },
  { name: "on the main thread over TLS", on: "main", secure: true }
]

const optionsOf = ({ on, secure }: Place, side: "server" | "client" | "stranger"): LaneOptions => ({
  framer: lab.labFramer,
  on,
  ...(secure ? { tls: lab.tlsOf(side) } : {})
})

const listen = (pool: Pool, place: Place) =>
  pool.listen({ ...optionsOf(place, "server"), at: lab.loopback })

const connect = (pool: Pool, place: Place, listener: Listener) =>
  pool.connect({
    ...optionsOf(place, "client"),
    to: { host: "127.0.0.1", port: listener.port }
  })

const pairOf = Effect.fnUntraced(function* (pool: Pool, place: Place) {
  const listener = yield* listen(pool, place)
  const client = yield* connect(pool, place, listener)
  const server = yield* listener.accept
  return { listener, client, server }
})

/** Sends all, waiting when the lane is full. */
const sendAll = Effect.fnUntraced(function* (lane: Lane, frames: ReadonlyArray<Uint8Array>) {
  for (const bytes of frames) {
    while (true) {
      const status = lane.send(bytes)
      if (status === "accepted") break
      assert.strictEqual(status, "full")
      yield* lane.writable
    }
  }
})

const takeNumbers = Effect.fnUntraced(function* (lane: Lane, count: number) {
  const numbers: Array<number> = []
  while (numbers.length < count) {
    for (const bytes of yield* lane.take) numbers.push(lab.numberOf(bytes))
  }
  return numbers
})

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

describe("a lane", () => {
  for (const place of places) {
    describe(place.name, () => {
      it.live("carries frames of all sizes both ways, in order", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { client, server } = yield* pairOf(pool, place)
            const sizes = [4, 5, 100, 4_000, 70_000, 300_000, 900_000]
            const frames = upTo(140).map((n) => lab.numbered(n, sizes[n % sizes.length]))
            yield* Effect.forkScoped(sendAll(client, frames))
            yield* Effect.forkScoped(sendAll(server, frames))
            assert.deepStrictEqual(yield* takeNumbers(server, 140), upTo(140))
            assert.deepStrictEqual(yield* takeNumbers(client, 140), upTo(140))
          })
        )
      )

      it.live("keeps every byte of a flood, wherever reads cut its frames", () =>
        lab.withPool({ workers: 1, chunkBytes: 65_536 * 2, chunks: 16 }, (pool) =>
          Effect.gen(function* () {
            const { client, server } = yield* pairOf(pool, place)
            const random = lab.generator(23)
            const sizes = upTo(4_000).map((n) => random(n % 50 === 0 ? 150_000 : 3_000))
            const frameOf = (n: number) => lab.numbered(n, sizes[n]).fill(n, 9)
            yield* Effect.forkScoped(sendAll(client, upTo(4_000).map(frameOf)))
            let next = 0
            while (next < 4_000) {
              for (const bytes of yield* server.take) {
                if (Buffer.compare(bytes, frameOf(next)) !== 0) assert.fail(`frame ${next}`)
                next++
              }
            }
          })
        )
      )

      it.live("names its peer", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { client, server, listener } = yield* pairOf(pool, place)
            assert.strictEqual(client.peer.port, listener.port)
            assert.strictEqual(server.peer.address, "127.0.0.1")
            assert.strictEqual(
              server.peer.tls?.subject,
              place.secure ? "handfast test client" : undefined
            )
            assert.strictEqual(client.peer.tls?.authorized, place.secure ? true : undefined)
          })
        )
      )

      it.live("sends a short frame at once, also behind another one", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { client, server } = yield* pairOf(pool, place)
            const rounds: Array<number> = []
            for (let round = 0; round < 40; round++) {
              const start = performance.now()
              client.send(lab.numbered(0))
              yield* lab.takeCount(server, 1)
              server.send(lab.numbered(1))
              yield* Effect.sleep("2 millis")
              server.send(lab.numbered(2))
              yield* lab.takeCount(client, 2)
              rounds.push(performance.now() - start)
            }
            // A frame that waits for the peer to acknowledge the one before takes 40 ms, once the
            // kernel sees that the peer answers.
            assert.isBelow(Math.min(...rounds.slice(-10)), 30)
          })
        )
      )

      it.live("ends once when it is closed here, and the peer sees an orderly end", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { client, server } = yield* pairOf(pool, place)
            client.send(lab.numbered(7))
            yield* Effect.all([client.close, client.close], { concurrency: 2 })
            assert.strictEqual(client.send(lab.numbered(8)), "closed")
            assert.deepStrictEqual(yield* takeNumbers(server, 1), [7])
            const end = yield* Effect.flip(server.take)
            assert.deepStrictEqual(
              [end.reason._tag, "missing" in end.reason && end.reason.missing],
              ["PeerClosed", 0]
            )
            assert.strictEqual((yield* client.closed).reason._tag, "LaneClosed")
          })
        )
      )

      it.live("D15: frames before the peer's end are delivered before it", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { client, server } = yield* pairOf(pool, place)
            yield* sendAll(
              client,
              upTo(50).map((n) => lab.numbered(n, 2_000))
            )
            yield* client.close
            assert.deepStrictEqual(yield* takeNumbers(server, 50), upTo(50))
            assert.strictEqual((yield* Effect.flip(server.take)).reason._tag, "PeerClosed")
          })
        )
      )

      it.live("half-closes: one side ends, the other goes on", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const listener = yield* pool.listen({
              ...optionsOf(place, "server"),
              halfOpen: true,
              at: lab.loopback
            })
            const client = yield* pool.connect({
              ...optionsOf(place, "client"),
              halfOpen: true,
              to: { host: "127.0.0.1", port: listener.port }
            })
            const server = yield* listener.accept
            client.send(lab.numbered(1))
            yield* client.finish
            assert.strictEqual(client.send(lab.numbered(2)), "closed")
            assert.deepStrictEqual(yield* takeNumbers(server, 1), [1])
            assert.deepStrictEqual(yield* server.take, [])
            server.send(lab.numbered(3))
            assert.deepStrictEqual(yield* takeNumbers(client, 1), [3])
            yield* server.finish
            assert.strictEqual((yield* server.closed).reason._tag, "PeerClosed")
            assert.strictEqual((yield* client.closed).reason._tag, "PeerClosed")
          })
        )
      )

      it.live("a framer consumes frames and answers where they arrive", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const { client, server } = yield* pairOf(pool, place)
            const echo = (n: number) => lab.frame("echo", lab.words(n))
            yield* sendAll(client, upTo(500).map(echo))
            assert.deepStrictEqual(yield* takeNumbers(client, 500), upTo(500))
            client.send(lab.frame("swallow"))
            client.send(lab.numbered(9))
            assert.deepStrictEqual(yield* takeNumbers(server, 1), [9])
            assert.strictEqual((yield* server.counts).framesReceived, 1)
          })
        )
      )

      it.live("a framer places payload in a region; only completions come up", () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const region = yield* pool.register(new SharedArrayBuffer(100_000))
            const { client, server } = yield* pairOf(pool, place)
            const payload = new Uint8Array(50_000).map((_, i) => i)
            const body = new Uint8Array([...lab.words(region.id, 40_000), ...payload])
            client.send(lab.frame("place", body))
            const [completion] = yield* server.take
            assert.strictEqual(completion?.length, 13)
            assert.deepStrictEqual(region.bytes.slice(40_000, 90_000), payload)
            assert.strictEqual((yield* server.counts).bytesReceived, 13)
          })
        )
      )
    })
  }

  it.live("hands commands to a framer that takes them, one by one", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const listener = yield* pool.listen({ framer: lab.commandFramer, at: lab.loopback })
        const to = { host: "127.0.0.1", port: listener.port }
        const client = yield* pool.connect({ framer: lab.commandFramer, to })
        const server = yield* listener.accept
        for (const count of [3, 0, 200, 2]) client.send(Uint8Array.of(count))
        let got = 0
        while (got < 205) got += (yield* server.take).length
        assert.strictEqual(got, 205)
      })
    )
  )

  it.live("says full at its limit, loses nothing, and names a slow peer", () =>
    lab.withPool({ workers: 1, sendBytes: 100_000, stallAfterMs: 300 }, (pool) =>
      Effect.gen(function* () {
        const server = yield* lab.rawServer((socket) => socket.pause())
        const lane = yield* pool.connect({
          framer: lab.labFramer,
          on: "worker",
          to: { host: "127.0.0.1", port: server.port }
        })
        let accepted = 0
        while (accepted < 1e8) {
          const status = lane.send(lab.numbered(0, 10_000))
          if (status === "accepted") accepted += 10_009
          else if (status === "closed") break
          else if (Exit.isFailure(yield* Effect.exit(lane.writable))) break
        }
        const end = yield* lane.closed
        assert.strictEqual(end.reason._tag, "SlowPeer")
        if (end.reason._tag !== "SlowPeer") return
        assert.isAbove(end.reason.bytes, 0)
        assert.isAtLeast(end.reason.waitedMs, 300)
        assert.isAtMost((yield* lane.counts).sendHighWater, 100_000)
      })
    )
  )

  it.live("reads no further than its limit while its user takes nothing", () =>
    lab.withPool({ workers: 1, receiveBytes: 200_000, sendBytes: 100_000 }, (pool) =>
      Effect.gen(function* () {
        for (const on of ["worker", "main"] as const) {
          const place = { name: on, on, secure: false }
          const { client, server } = yield* pairOf(pool, place)
          const total = 3_000
          yield* Effect.forkScoped(
            sendAll(
              client,
              upTo(total).map((n) => lab.numbered(n, 10_000))
            )
          )
          const bytes = lab.numbered(0, 10_000).length
          // The last read begins below the limit, at best with one byte missing of the frame that
          // exceeds it, and takes 256 KiB at most.
          const first = Math.floor(200_000 / bytes) + 1
          const last = Math.floor((first * bytes - 1 + 262_144) / bytes)
          yield* lab.until("the limit", () =>
            Effect.map(server.counts, ({ framesReceived }) => framesReceived >= first)
          )
          // In each round the thread of both lanes has turns in which it could read on.
          const other = yield* pairOf(pool, place)
          for (let round = 0; round < 50; round++) {
            other.client.send(lab.frame("echo"))
            yield* lab.takeCount(other.client, 1)
          }
          const counts = yield* server.counts
          assert.isAtMost(counts.framesReceived, last)
          assert.strictEqual(counts.receiveHighWater, counts.framesReceived * bytes)
          assert.deepStrictEqual(yield* takeNumbers(server, total), upTo(total))
        }
      })
    )
  )

  it.live("in a slot that another one has used reads no further than its limit", () =>
    lab.withPool({ workers: 1, lanesPerWorker: 1, receiveBytes: 200_000 }, (pool) =>
      Effect.gen(function* () {
        const at = lab.loopback
        const listener = yield* pool.listen({ framer: lab.labFramer, on: "worker", at })
        const total = 1_000
        const bytes = lab.numbered(0, 10_000).length
        const flood = Buffer.concat(upTo(total).map((n) => lab.numbered(n, 10_000)))
        const first = Math.floor(200_000 / bytes) + 1
        const last = Math.floor((first * bytes - 1 + 262_144) / bytes)
        const round = Effect.gen(function* () {
          const peer = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          peer.write(flood)
          yield* lab.until("the limit", () =>
            Effect.map(lane.counts, ({ framesReceived }) => framesReceived >= first)
          )
          // Each region gives the worker a turn, in which it could read on.
          for (let turn = 0; turn < 50; turn++)
            yield* Effect.scoped(pool.register(new SharedArrayBuffer(8)))
          assert.isAtMost((yield* lane.counts).framesReceived, last)
          assert.deepStrictEqual(yield* takeNumbers(lane, total), upTo(total))
        })
        for (let lanes = 0; lanes < 3; lanes++) {
          yield* Effect.scoped(round)
          yield* lab.until("the slot is free", () =>
            Effect.map(pool.stats, ({ lanes }) => lanes === 0)
          )
        }
      })
    )
  )

  it.live("ends when its handler throws, and others do not notice", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const first = yield* pairOf(pool, places[0])
        const second = yield* pairOf(pool, places[0])
        first.server.onFrames(() => {
          throw new Error("no")
        })
        first.client.send(lab.numbered(1))
        const end = yield* first.server.closed
        assert.strictEqual(end.reason._tag, "HandlerFailed")
        second.client.send(lab.numbered(2))
        assert.deepStrictEqual(yield* takeNumbers(second.server, 1), [2])
      })
    )
  )
})

describe("opening", () => {
  it.live("fails with the address and the step", () =>
    lab.withPool({ workers: 1, openWithinMs: 500 }, (pool) =>
      Effect.gen(function* () {
        const silent = yield* lab.rawServer(() => {})
        for (const on of ["worker", "main"] as const) {
          const refused = yield* Effect.flip(
            pool.connect({ framer: lab.labFramer, on, to: { host: "127.0.0.1", port: 1 } })
          )
          assert.deepStrictEqual(
            [refused._tag, refused.address, refused.step, refused.code],
            ["SocketOpenError", "127.0.0.1:1", "connect", "ECONNREFUSED"]
          )
          const late = yield* Effect.flip(
            pool.connect({
              framer: lab.labFramer,
              on,
              tls: lab.tlsOf("client"),
              to: { host: "127.0.0.1", port: silent.port }
            })
          )
          assert.deepStrictEqual([late.step, late.code], ["tls", "ETIMEDOUT"])
          const taken = yield* Effect.flip(
            pool.listen({ framer: lab.labFramer, on, at: { host: "127.0.0.1", port: silent.port } })
          )
          assert.deepStrictEqual([taken.step, taken.code], ["listen", "EADDRINUSE"])
        }
        const framer = yield* Effect.flip(
          pool.connect({ framer: new URL("file:///nowhere.ts"), to: lab.loopback })
        )
        assert.strictEqual(framer.step, "framer")
      })
    )
  )

  for (const place of places.filter((place) => place.secure)) {
    it.live(`refuses a stranger's certificate ${place.name}`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* listen(pool, place)
          const stranger = yield* Effect.exit(
            pool.connect({
              ...optionsOf(place, "stranger"),
              to: { host: "127.0.0.1", port: listener.port }
            })
          )
          // TLS 1.3 lets the client finish before the server has judged its certificate.
          if (Exit.isSuccess(stranger)) {
            assert.include(["PeerReset", "PeerClosed"], (yield* stranger.value.closed).reason._tag)
          }
          const client = yield* connect(pool, place, listener)
          assert.strictEqual((yield* listener.accept).peer.port > 0, client.peer.port > 0)
        })
      )
    )
  }

  it.live("interrupted at any moment leaks nothing", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        for (const place of places) {
          const listener = yield* listen(pool, place)
          for (let i = 0; i < 20; i++) {
            const fiber = yield* Effect.forkChild(Effect.scoped(connect(pool, place, listener)))
            for (let turn = 0; turn < i % 7; turn++) yield* Effect.yieldNow
            if (i % 5 === 4) yield* Effect.sleep("1 millis")
            yield* Fiber.interrupt(fiber)
          }
          const waiting = yield* Effect.forkChild(Effect.scoped(listener.accept))
          yield* Effect.yieldNow
          yield* Fiber.interrupt(waiting)
        }
      })
    )
  )
})

describe("the pool", () => {
  it.live("D10: without workers everything runs on the main thread and nothing fell back", () =>
    lab.withPool({ workers: 0 }, (pool) =>
      Effect.gen(function* () {
        const { client, server } = yield* pairOf(pool, places[1])
        client.send(lab.numbered(1))
        assert.deepStrictEqual(yield* takeNumbers(server, 1), [1])
        assert.strictEqual((yield* pool.stats).fallbacks, 0)
        assert.strictEqual((yield* pool.stats).workers, 0)
      })
    )
  )

  it.live("D10: each attempt that finds no room is counted once, and works", () =>
    lab.withPool({ workers: 1, openJobsMax: 1 }, (pool) =>
      Effect.gen(function* () {
        const listener = yield* listen(pool, places[0])
        const lanes = yield* Effect.all(
          upTo(4).map(() => connect(pool, places[0], listener)),
          { concurrency: 4 }
        )
        assert.strictEqual((yield* pool.stats).fallbacks, 3)
        for (const lane of lanes) lane.send(lab.numbered(1))
        for (const _ of lanes) {
          assert.deepStrictEqual(yield* takeNumbers(yield* listener.accept, 1), [1])
        }
        assert.strictEqual((yield* pool.stats).fallbacks, 3)
      })
    )
  )

  it.live("replaces a crashed worker; its lanes end with one error, others go on", () =>
    lab.withPool({ workers: 2 }, (pool) =>
      Effect.gen(function* () {
        const listener = yield* listen(pool, places[2])
        const victims = yield* Effect.forEach(upTo(4), () => connect(pool, places[0], listener))
        const peers = yield* Effect.forEach(victims, () => listener.accept)
        peers[0]?.send(lab.frame("crash"))
        const ends = yield* Effect.forEach(victims.slice(0, 1), (lane) => lane.closed)
        assert.deepStrictEqual(
          ends.map((end) => end.reason._tag),
          ["WorkerCrashed"]
        )
        yield* lab.until("a new worker", () =>
          Effect.map(pool.stats, (s) => s.workers === 2 && s.workersCrashed === 1)
        )
        let alive = 0
        for (const [i, victim] of victims.entries()) {
          if (victim.send(lab.numbered(i)) !== "accepted") continue
          alive++
        }
        assert.strictEqual(alive, 2)
        const again = yield* connect(pool, places[0], listener)
        const peer = yield* listener.accept
        again.send(lab.numbered(5))
        assert.deepStrictEqual(yield* takeNumbers(peer, 1), [5])
      })
    )
  )

  it.live("a listener outlives the crash of its worker", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const { client, server, listener } = yield* pairOf(pool, places[0])
        client.send(lab.frame("crash"))
        assert.strictEqual((yield* server.closed).reason._tag, "WorkerCrashed")
        assert.strictEqual((yield* client.closed).reason._tag, "WorkerCrashed")
        yield* lab.until("the listener is back", () =>
          Effect.scoped(connect(pool, places[2], listener)).pipe(
            Effect.exit,
            Effect.map(Exit.isSuccess)
          )
        )
      })
    )
  )

  it.live("resizes while busy; lanes stay where they are and lose nothing", () =>
    lab.withPool({ workers: 2 }, (pool) =>
      Effect.gen(function* () {
        const pairs = yield* Effect.forEach(upTo(6), () => pairOf(pool, places[0]))
        const work = yield* Effect.forkChild(
          Effect.forEach(
            pairs,
            ({ client, server }) =>
              Effect.gen(function* () {
                yield* Effect.forkScoped(
                  sendAll(
                    client,
                    upTo(2_000).map((n) => lab.numbered(n, 500))
                  )
                )
                assert.deepStrictEqual(yield* takeNumbers(server, 2_000), upTo(2_000))
              }),
            { concurrency: "unbounded" }
          )
        )
        for (const workers of [1, 3, 0, 2, 1]) {
          yield* pool.resize(workers)
          yield* Effect.sleep("5 millis")
        }
        yield* Fiber.join(work)
        assert.strictEqual((yield* pool.stats).workers, 1)
        const fresh = yield* pairOf(pool, places[0])
        fresh.client.send(lab.numbered(1))
        assert.deepStrictEqual(yield* takeNumbers(fresh.server, 1), [1])
      })
    )
  )

  it.live("stops by asking: its lanes end with one error, its workers by themselves", () =>
    Effect.gen(function* () {
      const lanes = yield* Scope.make()
      const pools = yield* Scope.make()
      const context = yield* Layer.buildWithScope(IoPool.layer({ workers: 2 }), pools)
      const pool = Context.get(context, IoPool)
      const pairs = yield* Effect.forEach(places, (place) => pairOf(pool, place)).pipe(
        Scope.provide(lanes)
      )
      for (const { client } of pairs) client.send(lab.numbered(1))
      yield* Scope.close(pools, Exit.void)
      for (const { client, server } of pairs) {
        // Both ends are asked; the later one may see the other's end first.
        const ends = [(yield* client.closed).reason._tag, (yield* server.closed).reason._tag]
        assert.include(ends, "PoolStopped")
        for (const end of ends) assert.include(["PoolStopped", "PeerClosed"], end)
      }
      const stats = yield* pool.stats
      assert.deepStrictEqual([stats.jobsOut, stats.lanes, stats.workersCrashed], [0, 0, 0])
      yield* Scope.close(lanes, Exit.void)
    })
  )

  it.live("D22: liveness is stamped where bytes arrive, while the main thread is busy", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const port = yield* lab.ticker
        const to = { host: "127.0.0.1", port }
        const silence = Effect.fnUntraced(function* (on: "worker" | "main") {
          const lane = yield* pool.connect({ framer: lab.labFramer, on, to })
          lane.onFrames(() => {})
          const start = Date.now()
          while (Date.now() - start < 400);
          return Date.now() - (yield* lane.lastReceivedAt)
        })
        assert.isBelow(yield* silence("worker"), 200)
        // The planted defect: stamped on the busy thread, the peer seems to be silent.
        assert.isAtLeast(yield* silence("main"), 390)
      })
    )
  )
})

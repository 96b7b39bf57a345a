/**
 * Goal: what was not accepted takes no memory, what could not be opened says why, and each lane is
 * counted once (L16).
 * Method: listeners whose lanes are not taken, framers that throw at their start, and options that
 * cross no thread.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { AcceptQueue } from "../../../src/native/io/internal/opening.ts"
import type { LaneHandle } from "../../../src/native/io/internal/laneHandle.ts"
import * as lab from "./harness.ts"

const refusingFramer = new URL("./fixtures/refusingFramer.ts", import.meta.url)
const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

describe("a connection that waits to be accepted", () => {
  for (const on of ["worker", "main"] as const) {
    it.live(`L16: takes no memory for what its peer sends, and loses none of it (${on})`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: lab.labFramer, on, at: lab.loopback })
          const peers = yield* Effect.forEach(upTo(8), () => lab.rawClient(listener.port))
          for (const peer of peers) {
            for (const n of upTo(20)) peer.write(lab.numbered(n, 200_000))
          }
          yield* lab.until("all lanes", () => Effect.map(pool.stats, (stats) => stats.lanes === 8))
          yield* Effect.sleep("100 millis")
          assert.strictEqual((yield* pool.stats).bytesReceived, 0)
          for (const _ of peers) {
            const lane = yield* listener.accept
            const frames = yield* lab.takeCount(lane, 20)
            assert.deepStrictEqual(frames.map(lab.numberOf), upTo(20))
          }
          assert.strictEqual((yield* pool.stats).lanesOpened, 8)
        })
      )
    )

    it.live(`D27: is answered and read up to its bound if the listener wants that (${on})`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const options = { framer: lab.labFramer, on, at: lab.loopback }
          const listener = yield* pool.listen({ ...options, readAheadBytes: 10_000 })
          const peer = yield* lab.rawClient(listener.port)
          let answered = 0
          peer.on("data", (bytes: Buffer) => (answered += bytes.length))
          const echo = lab.frame("echo", new Uint8Array(1_000))
          peer.write(echo)
          yield* lab.until("the answer", () => Effect.sync(() => answered === echo.length))
          for (const n of upTo(20)) peer.write(lab.numbered(n, 200_000))
          const isRead = Effect.map(pool.stats, ({ bytesReceived }) => bytesReceived > 10_000)
          yield* lab.until("the bound", () => isRead)
          yield* Effect.sleep("100 millis")
          // One read may go over it: that is 256 KiB, and the rest of a frame.
          assert.isAtMost((yield* pool.stats).bytesReceived, 10_000 + 262_144 + 200_005)
          const lane = yield* listener.accept
          const frames = yield* lab.takeCount(lane, 20)
          assert.deepStrictEqual(frames.map(lab.numberOf), upTo(20))
        })
      )
    )

    it.live(`L16: whose framer throws at its start ends with what it threw (${on})`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: refusingFramer, on, at: lab.loopback })
          yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          const end = yield* lane.closed
          assert.strictEqual(end.reason._tag, "FrameRefused")
          assert.include(end.message, "no protocol for undefined")
          const to = { host: "127.0.0.1", port: listener.port }
          const failed = yield* Effect.flip(
            pool.connect({ framer: refusingFramer, options: 7, on, to })
          )
          assert.strictEqual(failed.step, "framer")
          assert.include(failed.detail, "no protocol for 7")
        })
      )
    )
  }

  it.effect("goes to the next accept when the first is interrupted at that moment", () =>
    Effect.gen(function* () {
      const queue = new AcceptQueue(2)
      const cores = [{ start: () => {} }, { start: () => {} }] as unknown as Array<LaneHandle>
      const accept = Effect.uninterruptibleMask((restore) => queue.next(restore))
      const waiting = [
        yield* Effect.forkChild(accept, { startImmediately: true }),
        yield* Effect.forkChild(accept, { startImmediately: true }),
        yield* Effect.forkChild(accept, { startImmediately: true })
      ] as const
      yield* Fiber.interrupt(waiting[0])
      for (const core of cores) {
        queue.offer(core)
        waiting[1].interruptUnsafe()
      }
      assert.strictEqual(yield* Fiber.join(waiting[1]), cores[0])
      assert.strictEqual(yield* Fiber.join(waiting[2]), cores[1])
    })
  )

  it.effect("is taken though it comes between the look at the queue and the wait for it", () =>
    Effect.gen(function* () {
      const queue = new AcceptQueue(2)
      const core = { start: () => {} } as unknown as LaneHandle
      const offer = Effect.sync(() => queue.offer(core))
      assert.strictEqual(yield* queue.next((wait) => Effect.andThen(offer, wait)), core)
    })
  )

  it("L16: beyond the queue's limit is closed, and no sooner", () => {
    const queue = new AcceptQueue(2)
    const log: Array<string> = []
    const core = (name: string) => ({ abort: () => log.push(name) }) as unknown as LaneHandle
    for (const name of ["first", "second", "third"]) queue.offer(core(name))
    assert.deepStrictEqual(log, ["third"])
  })
})

describe("options that cross no thread", () => {
  it.live("L16: fail the open and the listen by name, and leave no job out", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const wrong = { framer: lab.labFramer, options: () => {}, on: "worker" } as const
        const server = yield* lab.rawServer(() => {})
        const to = { host: "127.0.0.1", port: server.port }
        const opens = [
          Effect.asVoid(pool.connect({ ...wrong, to })),
          Effect.asVoid(pool.listen({ ...wrong, at: lab.loopback }))
        ]
        for (const open of opens) {
          const failed = yield* Effect.flip(open)
          assert.strictEqual(failed.step, "framer")
          assert.include(failed.detail, "could not be cloned")
          assert.strictEqual((yield* pool.stats).jobsOut, 0)
        }
      })
    )
  )
})

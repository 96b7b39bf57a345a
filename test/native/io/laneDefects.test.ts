/**
 * Goal: waiting on a lane ends when it should and leaves nothing behind, and a lane's end and
 * counts tell what happened (L15).
 * Method: a lane on a driver that records, and lanes on loopback with a raw peer.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Lane from "../../../src/native/io/Lane.ts"
import { idleLane } from "./idleLane.ts"
import * as lab from "./harness.ts"

/** A lane that nothing drives by itself. */
const idle = () => {
  const core = idleLane()
  const frames = (count: number): void => {
    for (let n = 0; n < count; n++) core.frames(lab.numbered(n), Int32Array.of(9), 0, 1, 0)
  }
  return { core, frames, lane: Lane.make(core) }
}

describe("waiting on a lane", () => {
  it.effect("L15: for room for a message that was full ends when there is that room", () =>
    Effect.gen(function* () {
      const { core, lane } = idle()
      assert.strictEqual(lane.send(new Uint8Array(450)), "accepted")
      core.flush()
      assert.strictEqual(lane.send(new Uint8Array(600)), "full")
      const waiting = yield* Effect.forkChild(lane.writable, { startImmediately: true })
      assert.isUndefined(waiting.pollUnsafe())
      core.written(450)
      yield* Fiber.join(waiting)
      assert.strictEqual(lane.send(new Uint8Array(600)), "accepted")
    })
  )

  it.effect("L15: for room for the longest of two messages that were full, not for the last", () =>
    Effect.gen(function* () {
      const { core, lane } = idle()
      lane.send(new Uint8Array(30))
      core.flush()
      lane.send(new Uint8Array(420))
      for (const bytes of [600, 560]) {
        assert.strictEqual(lane.send(new Uint8Array(bytes)), "full")
      }
      const waiting = yield* Effect.forkChild(lane.writable, { startImmediately: true })
      core.written(30)
      assert.isUndefined(waiting.pollUnsafe())
      core.written(420)
      yield* Fiber.join(waiting)
    })
  )

  it.effect("L15: for frames by two at once ends for both", () =>
    Effect.gen(function* () {
      const { core, frames, lane } = idle()
      const first = yield* Effect.forkChild(lane.take, { startImmediately: true })
      const second = yield* Effect.forkChild(lane.take, { startImmediately: true })
      frames(1)
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      frames(1)
      const taken = [yield* Fiber.join(first), yield* Fiber.join(second)]
      assert.deepStrictEqual(
        taken.map((all) => all.length),
        [1, 1]
      )
      assert.strictEqual(core.waiting, 0)
    })
  )

  it.effect("L15: for its end, for room or for frames, given up, leaves nothing behind", () =>
    Effect.gen(function* () {
      const { core, lane } = idle()
      lane.send(new Uint8Array(900))
      for (let n = 0; n < 100; n++) {
        const all = Effect.all([lane.closed, lane.writable, lane.take], { concurrency: 3 })
        const waiting = yield* Effect.forkChild(all, { startImmediately: true })
        assert.strictEqual(core.waiting, 3)
        yield* Fiber.interrupt(waiting)
      }
      assert.strictEqual(core.waiting, 0)
    })
  )

  it.effect("L15: for frames of a peer that has ended its side answers once, then waits", () =>
    Effect.gen(function* () {
      const { core, frames, lane } = idle()
      frames(1)
      core.onPeerEnded()
      assert.strictEqual((yield* lane.take).length, 1)
      assert.deepStrictEqual(yield* lane.take, [])
      const waiting = yield* Effect.forkChild(lane.take, { startImmediately: true })
      yield* Effect.yieldNow
      assert.isUndefined(waiting.pollUnsafe())
      core.ended({ kind: "peer-closed", missing: 0 })
      assert.strictEqual((yield* Effect.flip(Fiber.join(waiting))).reason._tag, "PeerClosed")
    })
  )

  it("L15: a handler that throws is not called again", () => {
    const { core, frames, lane } = idle()
    frames(10)
    let calls = 0
    lane.onFrames(() => {
      calls++
      throw new Error("no")
    })
    frames(10)
    assert.strictEqual(calls, 1)
    assert.isFalse(core.operations.isOpen)
  })
})

describe("a lane's end and counts", () => {
  for (const on of ["worker", "main"] as const) {
    it.live(`L15: a framer that answers after finish leaves the peer its orderly end (${on})`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({
            framer: lab.labFramer,
            on,
            halfOpen: true,
            at: lab.loopback
          })
          const peer = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          yield* lane.finish
          yield* Effect.callback<void>((resume) => {
            peer.once("end", () => resume(Effect.void)).resume()
          })
          peer.write(lab.frame("echo"))
          peer.end()
          assert.strictEqual((yield* lane.closed).reason._tag, "PeerClosed")
        })
      )
    )

    it.live(`L15: bytes of an aborted write are not counted as sent (${on})`, () =>
      lab.withPool({ workers: 1, sendBytes: 100_000_000, writeJobBytes: 50_000_000 }, (pool) =>
        Effect.gen(function* () {
          const server = yield* lab.rawServer((socket) => socket.pause())
          const to = { host: "127.0.0.1", port: server.port }
          const lane = yield* pool.connect({ framer: lab.labFramer, on, to })
          for (let n = 0; n < 20; n++) lane.send(lab.numbered(n, 1_000_000))
          yield* Effect.sleep("100 millis")
          yield* lane.abort
          yield* lane.closed
          yield* lab.until("the jobs", () => Effect.map(pool.stats, (stats) => stats.jobsOut === 0))
          const { bytesSent } = yield* lane.counts
          assert.isBelow(bytesSent, 20_000_000)
        })
      )
    )
  }
})

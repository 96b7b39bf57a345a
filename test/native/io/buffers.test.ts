/**
 * Goal: buffers that are used again carry no other lane's bytes, and a thread keeps few of them.
 * Method: lanes whose peers read nothing for a while, beside lanes that write; and the buffers
 * alone.
 */
import { Writable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Framer from "../../../src/native/io/Framer.ts"
import {
  acquireBuffer,
  largestBuffer,
  releaseBuffer
} from "../../../src/native/io/internal/buffers.ts"
import { writeCopy } from "../../../src/native/io/internal/buffers.ts"
import * as lab from "./harness.ts"

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

/** Empties the free list of the largest buffers. */
const drain = (): Array<Uint8Array> => upTo(2_000).map(() => acquireBuffer(largestBuffer))

describe("buffers of a thread", () => {
  for (const on of ["worker", "main"] as const) {
    it.live(`keep a job's bytes while it waits for its peer and others write (${on})`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: Framer.bytes, on, at: lab.loopback })
          const pairs = []
          for (const n of upTo(4)) {
            const peer = yield* lab.rawClient(listener.port)
            pairs.push({ n, peer: peer.pause(), lane: yield* listener.accept })
          }
          // More than the kernel takes, so that each lane has a job under way.
          const bytes = 8_000_000
          for (const { lane, n } of pairs) {
            yield* Effect.forkScoped(
              Effect.gen(function* () {
                for (let sent = 0; sent < bytes; sent += 50_000) {
                  yield* lab.send(lane, new Uint8Array(50_000).fill(n + 1))
                }
              })
            )
          }
          yield* Effect.sleep("300 millis")
          for (const { n, peer } of pairs) {
            let got = 0
            let wrong = 0
            peer.on("data", (chunk: Buffer) => {
              got += chunk.length
              if (!chunk.every((byte) => byte === n + 1)) wrong++
            })
            peer.resume()
            yield* lab.until("all bytes", () => Effect.sync(() => got >= bytes))
            assert.deepStrictEqual([got, wrong], [bytes, 0])
          }
        })
      )
    )
  }

  it("are given back when a write has succeeded, and never when it has failed", async () => {
    const free = drain()
    const callbacks: Array<(error?: Error) => void> = []
    const stream = new Writable({ write: (_chunk, _encoding, done) => void callbacks.push(done) })
    stream.on("error", () => {})
    for (const [error, isBack] of [
      [undefined, true],
      [new Error("broken"), false]
    ] as const) {
      const buffer = free.pop()!
      releaseBuffer(buffer)
      await new Promise<void>((written) => {
        writeCopy(stream, new Uint8Array(largestBuffer), 0, largestBuffer, () => written())
        assert.notStrictEqual(acquireBuffer(largestBuffer), buffer)
        callbacks.shift()!(error)
      })
      assert.strictEqual(acquireBuffer(largestBuffer) === buffer, isBack)
    }
  })

  it("are kept up to 16 MiB of each size", () => {
    const free = new Set(drain())
    for (const buffer of free) releaseBuffer(buffer)
    const kept = drain().filter((buffer) => free.has(buffer))
    assert.lengthOf(kept, 16_777_216 / largestBuffer)
    // Memory of another length comes from elsewhere.
    releaseBuffer(new Uint8Array(100))
    assert.strictEqual(acquireBuffer(100).length, 4_096)
  })
})

/**
 * Goal: a read that goes straight to registered memory happens at once or not at all, so that
 * nobody who takes the memory back finds octets written there later.
 * Method: a framer that borrows for each full read, and reads of 32 octets; a raw peer sends
 * pieces of all lengths with pauses, and what is lent while nothing comes is looked at.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { IoPool } from "../../src/native/IoPool.ts"
import { headBytes, readBytes, Word } from "./fixtures/borrowFramer.ts"
import * as lab from "./lab.ts"

const framer = new URL("./fixtures/borrowFramer.ts", import.meta.url)
const size = 1 << 20

const open = Effect.fnUntraced(function* (pool: IoPool["Service"], on: "worker" | "main") {
  const memory = new SharedArrayBuffer(headBytes + size + readBytes)
  const words = new Int32Array(memory, 0, headBytes / 4)
  const region = yield* pool.register(memory)
  const options = { region: region.id }
  const listener = yield* pool.listen({ framer, options, on, at: lab.loopback })
  const peer = yield* lab.rawClient(listener.port)
  const lane = yield* listener.accept
  const count = (word: keyof typeof Word): number => Atomics.load(words, Word[word])
  const placed = (octets: number) =>
    lab.until(`${octets} octets`, () => Effect.sync(() => count("placed") === octets))
  return { count, lane, memory, peer, placed }
})

describe("reads into registered memory", () => {
  it.live("are given up when nothing comes at once", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const { count, peer, placed } = yield* open(pool, "worker")
        // Before its first octet a lane is not asked where to read.
        peer.write(Uint8Array.of(0))
        yield* placed(1)
        for (let reads = 1; reads <= 5; reads++) {
          peer.write(new Uint8Array(readBytes).fill(reads))
          yield* placed(1 + reads * readBytes)
          yield* lab.until("the miss", () => Effect.sync(() => count("missed") === reads))
          assert.strictEqual(count("isLent"), 0)
        }
        assert.strictEqual(count("borrowed"), 0)
      })
    )
  )

  it.live("put octets of any cut where they belong, and lend nothing while nothing comes", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const { count, memory, peer, placed } = yield* open(pool, "worker")
        const draw = lab.generator(11)
        const octets = Uint8Array.from({ length: size }, () => draw(256))
        for (let at = 0; at < size;) {
          const end = Math.min(size, at + (draw(4) === 0 ? draw(100_000) : draw(200)) + 1)
          peer.write(octets.subarray(at, end))
          at = end
          if (draw(8) > 0) continue
          yield* placed(at)
          yield* lab.until("a rest", () => Effect.sync(() => count("isLent") === 0))
        }
        yield* placed(size)
        assert.isTrue(Buffer.from(memory, headBytes, size).equals(octets))
        assert.isAbove(count("borrowed"), 1_000)
      })
    )
  )

  it.live("end with the lane", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const { count, lane, peer } = yield* open(pool, "worker")
        peer.write(new Uint8Array(size / 2))
        yield* lab.until("some octets", () => Effect.sync(() => count("borrowed") > 0))
        yield* lane.abort
        yield* lane.closed
        assert.strictEqual(count("isLent"), 0)
      })
    )
  )

  it.live("are not made on the main thread, where anything may run in between", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const { count, peer, placed } = yield* open(pool, "main")
        peer.write(new Uint8Array(10_000))
        yield* placed(10_000)
        assert.deepStrictEqual([count("borrowed"), count("missed")], [0, 0])
      })
    )
  )
})

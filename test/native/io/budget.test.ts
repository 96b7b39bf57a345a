/**
 * Goal: lanes of one worker take turns: what one reads before the next is bounded by
 * `readTurnBytes`. Without it the event loop reads one socket up to 32 times in a row, 8 MiB, while
 * the others wait. Method: two peers flood a worker that is kept busy until bytes of both wait; the
 * order in which their frames arrive tells how many bytes each read in a row.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as lab from "./harness.ts"

const readTurnBytes = 262_144
/** Bytes of one read. */
const readBytes = 262_144
const frameBytes = lab.numbered(0, 4_000).length
const frames = 2_000

describe("lanes that are flooded side by side", () => {
  it.live("read no more than a budget, and the read that reaches it, before the other one", () =>
    lab.withPool({ workers: 1, readTurnBytes, receiveBytes: 100_000_000 }, (pool) =>
      Effect.gen(function* () {
        const at = lab.loopback
        const listener = yield* pool.listen({ framer: lab.labFramer, on: "worker", at })
        const flood = Buffer.concat(
          Array.from({ length: frames }, (_, n) => lab.numbered(n, 4_000))
        )
        /** Frames that came in a row from one lane, in order. */
        const runs: Array<{ readonly lane: number; frames: number }> = []
        const left = [frames, frames]
        for (const lane of [0, 1]) {
          const peer = yield* lab.rawClient(listener.port)
          const accepted = yield* listener.accept
          accepted.onFrames((batch) => {
            left[lane]! -= batch.count
            const last = runs.at(-1)
            if (last?.lane === lane) last.frames += batch.count
            else runs.push({ lane, frames: batch.count })
          })
          peer.write(lab.frame("busy", lab.words(50)))
          peer.write(flood)
        }
        yield* lab.until("all frames", () => Effect.sync(() => left.every((n) => n === 0)))
        const sorted = runs.map((run) => run.frames * frameBytes).toSorted((a, b) => a - b)
        assert.isAtMost(sorted[sorted.length >> 1]!, readTurnBytes + readBytes, sorted.join(" "))
      })
    )
  )
})

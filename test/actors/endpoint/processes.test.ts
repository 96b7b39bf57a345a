/**
 * Goal: two processes move memory both ways while one after the other is killed and comes back and
 * the network is cut (in wide runs a gigabyte each way, through ten deaths): what moved is what the
 * peer has, every accepted transfer ends once, and neither sends before its peer is ready.
 *
 * Method: the two processes of `handfast start`, with more faults. Every byte is looked at where
 * it arrives; in the end the journals of both are read.
 */
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Demo, type ScheduledFault } from "../../../src/cli/demo/orchestrator.ts"
import { wideOr } from "../../wide.ts"

const bytes = wideOr(1_000_000_000, 250_000_000)
const deaths = wideOr(10, 3)

/** Deaths, and a cut after every third. */
const faults = Array.from({ length: deaths }, (_, index): ReadonlyArray<ScheduledFault> => {
  const at = 1_000 + 3_000 * index
  const death = { at, what: index % 2 === 0 ? ("ben" as const) : ("ann" as const), millis: 200 }
  return index % 3 === 2 ? [death, { at: at + 2_000, what: "cut", millis: 500 }] : [death]
}).flat()

describe("two processes over software iWARP", () => {
  it.live(
    "R16 R28 H15 move memory both ways through deaths and cuts, each transfer once",
    () =>
      Effect.gen(function* () {
        process.argv[1] = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url))
        const show = { line: () => undefined, progress: () => undefined }
        const demo = yield* Demo.begin({
          bytes,
          gate: "on",
          seconds: 3 * deaths + 2,
          seed: 7,
          show,
          faults
        })
        const told = yield* demo.run
        const { ended, accepted } = told
        assert.deepInclude(told, { early: 0, failed: 0, twice: 0, wrong: 0, unseen: 0 })
        assert.strictEqual(ended, accepted)
        assert.isAtLeast(told.megabytes, (2 * bytes) / 1_000_000)
        assert.strictEqual(told.recoveries.length, 2 * faults.length)
        // T11: all that was accepted is counted, not what was left of it.
        assert.isAtLeast(accepted, told.pieces)
      }),
    300_000
  )

  it.live("end the demo at once if one of them cannot begin", () =>
    Effect.gen(function* () {
      process.argv[1] = fileURLToPath(new URL("./nothing.ts", import.meta.url))
      const show = { line: () => undefined, progress: () => undefined }
      const options = { gate: "on", seconds: 60, seed: 1, show, faults: [] } as const
      const demo = yield* Demo.begin(options)
      const failed = yield* Effect.flip(demo.run)
      assert.match(String((failed as Error).cause), /(ann|ben) could not begin/)
    })
  )
})

/**
 * The ranges of a pool's settings. Values outside would make a ring or a chunk too small for the
 * records that it carries, or a timer fire at once.
 */
import { type BrokenRule, brokenIn, type Range, timer, whole } from "../settingRanges.ts"
import type { Settings } from "./settings.ts"

/** The rings' positions are 32-bit counts of words; half a ring holds the longest record. */
const ringOf = (least: number): Range => ({
  rule: `a power of two from ${least} to ${2 ** 28}`,
  holds: (value) => value >= least && value <= 2 ** 28 && Number.isInteger(Math.log2(value))
})

/** Offsets in a worker's receive memory are 32-bit numbers. */
const receiveMemoryBytesMax = 2 ** 30

const bytesRule = whole(1, 2 ** 31 - 1)
const rules: { readonly [K in Exclude<keyof Settings, "workers">]-?: Range } = {
  sendBytes: bytesRule,
  receiveBytes: bytesRule,
  readTurnBytes: bytesRule,
  writeJobBytes: bytesRule,
  openWithinMs: timer(0),
  stallAfterMs: timer(0),
  closeWithinMs: timer(0),
  stopWithinMs: timer(0),
  // A worker is checked ten times as often, and needs a turn of its loop between two checks.
  stuckAfterMs: timer(100),
  chunkBytes: {
    rule: "a multiple of 64 bytes from 65536 to 16777216",
    holds: (value) => value % 64 === 0 && value >= 65_536 && value <= 16_777_216
  },
  // One may be held by a lane that reads into it; another one carries the reads of all others.
  chunks: whole(2, 16_384),
  inboxWords: ringOf(256),
  // Room for the longest text that describes a peer or an error.
  outboxWords: ringOf(1_024),
  lanesPerWorker: whole(1, 1_048_576),
  openJobsMax: whole(1, 1_048_576),
  acceptQueueMax: whole(0, 1_048_576)
}

/** Each worker is a thread with some 20 MB of shared memory. */
const workersMax = 1_024

/** The rule that a number of workers breaks, or that bounds of it break. */
export const brokenWorkers = (
  workers: NonNullable<Settings["workers"]>
): BrokenRule | undefined => {
  const count = whole(0, workersMax)
  if (typeof workers === "number") return brokenIn({ workers }, { workers: count })
  const { max, min } = workers
  if (!count.holds(min)) return { setting: "workers.min", value: min, rule: count.rule }
  const most = whole(min, workersMax)
  return most.holds(max) ? undefined : { setting: "workers.max", value: max, rule: most.rule }
}

/** The first setting that is out of its range. */
export const brokenRule = (settings: Settings): BrokenRule | undefined => {
  const broken = brokenIn(settings, rules)
  if (broken !== undefined) return broken
  const { chunkBytes = 262_144, chunks = 64, workers } = settings
  if (chunks * chunkBytes > receiveMemoryBytesMax) {
    const rule = `at most ${receiveMemoryBytesMax} bytes together with chunkBytes`
    return { setting: "chunks", value: chunks, rule }
  }
  return workers === undefined ? undefined : brokenWorkers(workers)
}

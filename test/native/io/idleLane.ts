/** A lane that nothing drives by itself: its test is the driver. */
import { LaneCore, type LaneDriver } from "../../../src/native/io/internal/laneHandle.ts"
import { noCounts } from "../../../src/native/io/internal/laneCounts.ts"

const limits = {
  sendBytes: 1_000,
  receiveBytes: 1_000,
  readBudget: 1_000,
  writeBudget: 10_000,
  openWithin: 1_000,
  stallWithin: 1_000,
  closeWithin: 1_000
}

/** Takes every job at once; `driver` says what is done otherwise. */
export const idleLane = (
  driver: Partial<LaneDriver> = {},
  { writeBudget = limits.writeBudget }: { readonly writeBudget?: number } = {}
): LaneCore =>
  new LaneCore(
    {
      totals: noCounts(),
      recordBytes: Number.POSITIVE_INFINITY,
      write: () => true,
      start: () => true,
      finish: () => true,
      close: () => true,
      flushSoon: () => {},
      consumed: () => {},
      release: () => {},
      heard: () => 0,
      ...driver
    },
    () => ({ address: "", port: 0 }),
    { ...limits, writeBudget },
    false
  )

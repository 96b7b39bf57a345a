/** A lane that nothing drives by itself: its test is the driver. */
import { LaneHandle, type LaneDriver } from "../../../src/native/io/internal/laneHandle.ts"
import { nodeTimers } from "../../../src/native/io/internal/nodePlatform.ts"
import { noCounts } from "../../../src/native/io/internal/laneCounts.ts"

const limits = {
  sendBytes: 1_000,
  receiveBytes: 1_000,
  readTurnBytes: 1_000,
  writeJobBytes: 10_000,
  openWithinMs: 1_000,
  stallAfterMs: 1_000,
  closeWithinMs: 1_000
}

/** Takes every job at once; `driver` says what is done otherwise. */
export const idleLane = (
  driver: Partial<LaneDriver> = {},
  { writeJobBytes = limits.writeJobBytes }: { readonly writeJobBytes?: number } = {}
): LaneHandle =>
  new LaneHandle(
    {
      timers: nodeTimers,
      totals: noCounts(),
      recordBytes: Number.POSITIVE_INFINITY,
      write: () => true,
      start: () => true,
      finish: () => true,
      close: () => true,
      flushSoon: () => {},
      consumed: () => {},
      release: () => {},
      lastReceivedAt: () => 0,
      ...driver
    },
    () => ({ address: "", port: 0 }),
    { ...limits, writeJobBytes },
    false
  )

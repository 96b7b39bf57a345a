/**
 * Whoever waits for a job that opens something.
 */
import type { OpenFailure, OpenJob } from "./jobs.ts"
import type { LaneCore } from "./laneCore.ts"

/** Whoever waits for an open job. */
export interface Opener {
  readonly job: OpenJob
  readonly commands: boolean
  readonly opened: (core: LaneCore) => void
  readonly listening: (address: string, port: number) => void
  readonly accepted: (core: LaneCore) => void
  readonly failed: (failure: OpenFailure) => void
}

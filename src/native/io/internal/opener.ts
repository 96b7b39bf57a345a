/**
 * The main thread's end of a job that opens something.
 */
import type { OpenFailure, OpenJob } from "./messages.ts"
import type { LaneCore } from "./laneHandle.ts"

/** A job and its answers, none of which comes within the call that dispatches it. */
export interface Opener {
  readonly job: OpenJob
  readonly commands: boolean
  readonly opened: (core: LaneCore) => void
  readonly listening: (address: string, port: number) => void
  readonly accepted: (core: LaneCore) => void
  /** The last answer of a listener, and of a job that opens no connection. */
  readonly failed: (failure: OpenFailure) => void
}

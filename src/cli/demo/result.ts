/** The result of a demo. */

/** How long one side took to copy again after a fault had ended. */
export interface Recovery {
  readonly who: string
  /** `"after ben was killed"`, for example. */
  readonly after: string
  readonly millis: number
}

/** Counts of the whole run. */
export interface DemoResult {
  readonly accepted: number
  readonly ended: number
  readonly failed: number
  readonly twice: number
  readonly wrong: number
  /** Events of transfers that were deleted before they were counted. */
  readonly unseen: number
  /** Connections on which one side could send before the other was ready, and those lost of it. */
  readonly early: number
  readonly lost: number
  /** Pieces of transfers that were sent in vain, as far as those who sent them live to tell. */
  readonly resent: number
  readonly generations: number
  readonly staleDropped: number
  readonly megabytes: number
  /** Copies that the two have told of: those of a killed one may be missing. */
  readonly pieces: number
  /** From the moment when both ran until both had copied something. */
  readonly startMillis: number
  readonly recoveries: ReadonlyArray<Recovery>
}

/** The result of a demo. */

/** Time until one side copied again after a fault had ended. */
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
  /**
   * Connections on which one side could send before the other was ready, and how many of them
   * broke.
   */
  readonly early: number
  readonly lost: number
  /** Pieces that were sent again, as counted by the processes that live at the end. */
  readonly resent: number
  readonly generations: number
  readonly staleDropped: number
  readonly megabytes: number
  /** Copies that the two have reported: those of a killed one may be missing. */
  readonly pieces: number
  /** From the moment when both ran until both had copied something. */
  readonly startMillis: number
  readonly recoveries: ReadonlyArray<Recovery>
}

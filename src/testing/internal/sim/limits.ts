/** Limits of one run, already as numbers. */
export interface Limits {
  readonly maxSteps: number
  readonly maxMillis: number
  /** The longest lateness of a timer. */
  readonly timerSlackMillis: number
  readonly maxRealMillis: number
}

/** Limits of one run, already as numbers. */
export interface Limits {
  readonly maxSteps: number
  readonly maxMillis: number
  /** By how much a timer may be late. */
  readonly timerSlackMillis: number
  readonly maxRealMillis: number
}

/**
 * Counts restarts: pure bookkeeping on a monotonic clock.
 *
 * Two things are counted. The budget bounds the restarts within a sliding window: a fault that
 * outlives them will not be cured by another. An outage is a journal that keeps failing: it crashes
 * every actor that writes, again and again, so its crashes are one cause whose length is bounded
 * instead of its number.
 */

export interface RestartBudget {
  readonly max: number
  readonly withinMillis: number
  /** Times of the restarts within the window, oldest first. */
  readonly spent: ReadonlyArray<number>
}

/** Spends one restart, if one is left. */
export const spend = (
  budget: RestartBudget,
  nowMillis: number
): { readonly budget: RestartBudget; readonly allowed: boolean } => {
  const recent = budget.spent.filter((at) => at > nowMillis - budget.withinMillis)
  const allowed = recent.length < budget.max
  return { budget: { ...budget, spent: allowed ? [...recent, nowMillis] : recent }, allowed }
}

export interface Outage {
  readonly since: number
  /** The newest failure. */
  readonly last: number
  readonly failures: number
}

/**
 * Counts a failure of the journal. An outage is over once the actor that failed has stored events
 * again, and after a pause that is as long as the longest outage. A shorter pause shows nothing: a
 * store may take long to fail.
 */
export const countFailure = (
  outage: Outage | undefined,
  nowMillis: number,
  pauseMillis: number,
  hasStored: boolean
): Outage =>
  outage === undefined || hasStored || outage.last <= nowMillis - pauseMillis
    ? { since: nowMillis, last: nowMillis, failures: 1 }
    : { ...outage, last: nowMillis, failures: outage.failures + 1 }

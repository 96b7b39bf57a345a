/** How often may something be restarted: pure bookkeeping over a sliding window. */

export interface RestartBudget {
  readonly max: number
  readonly withinMillis: number
  /** When the restarts within the window were, oldest first. */
  readonly spent: ReadonlyArray<number>
}

export interface Spending {
  readonly budget: RestartBudget
  readonly allowed: boolean
  /** No restart was left in the window, so delays begin anew. */
  readonly calm: boolean
}

/** Spends one restart at a moment, if one is left. */
export const spend = (budget: RestartBudget, nowMillis: number): Spending => {
  const recent = budget.spent.filter((at) => at > nowMillis - budget.withinMillis)
  const allowed = recent.length < budget.max
  const spent = allowed ? [...recent, nowMillis] : recent
  return { budget: { ...budget, spent }, allowed, calm: recent.length === 0 }
}

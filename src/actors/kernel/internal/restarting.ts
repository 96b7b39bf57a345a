/**
 * Decides the next action of a supervisor: a pure function of its state and an input.
 *
 * ```
 *            crash: restart
 *               ┌───┐
 *  halted ──▶ running ──▶ gave-up     every phase but the last ──▶ halted
 *                                     every phase ──▶ ended
 * ```
 * Only a running supervisor acts on crashes. One that gave up waits for its parent, which halts
 * and starts it; without a parent it ends.
 */
import { countFailure, type Outage, type RestartBudget, spend } from "./restartBudget.ts"

/** Which children are restarted with one that crashed: none, all, or those started after it. */
export type Strategy = "one-for-one" | "one-for-all" | "rest-for-one"

/** State of a child in its supervisor. */
export interface ChildRecord {
  /** A restart is ordered and has not reached the child's start yet. */
  readonly restarting: boolean
  /** Crashes of generations up to this one are handled. */
  readonly condemned: number
  /**
   * When the backoff of the newest crash that counted is over, in milliseconds; `undefined` before
   * the first.
   */
  readonly restartAt: number | undefined
}

export const newRecord: ChildRecord = { restarting: false, condemned: 0, restartAt: undefined }

export interface OutageLimits {
  /** How long one outage of the journal may last. */
  readonly outageMillis: number
}

export interface SupervisorState {
  readonly phase: "halted" | "running" | "gave-up" | "ended"
  readonly budget: RestartBudget
  readonly outage: Outage | undefined
}

export type Input =
  | {
      readonly _tag: "Crashed"
      readonly record: ChildRecord
      readonly generation: number
      /** Whether the child failed, or the journal under it. */
      readonly source: "child" | "journal"
      /** Whether the child has stored events since the journal last failed for it. */
      readonly hasStored: boolean
      readonly at: number
    }
  /** The backoff schedule allows no further restart. */
  | { readonly _tag: "BackoffEnded" }
  | { readonly _tag: "Halt" }
  | { readonly _tag: "Start" }
  | { readonly _tag: "End" }

export type Order =
  | { readonly _tag: "Nothing" }
  /** Halts the affected children, waits for the backoff and starts them again. */
  | { readonly _tag: "Restart"; readonly freshBackoff: boolean }
  | { readonly _tag: "GiveUp"; readonly restarts: number; readonly withinMillis: number }
  | { readonly _tag: "HaltAll" }
  | { readonly _tag: "StartAll" }
  | { readonly _tag: "EndAll" }

export interface Step {
  readonly state: SupervisorState
  readonly order: Order
}

const nothing = (state: SupervisorState): Step => ({ state, order: { _tag: "Nothing" } })

/** Decides the order that follows an input. */
export const step = (limits: OutageLimits, state: SupervisorState, input: Input): Step => {
  if (state.phase === "ended") return nothing(state)
  switch (input._tag) {
    case "Crashed":
      return state.phase === "running" ? crashed(limits, state, input) : nothing(state)
    case "BackoffEnded":
      return state.phase === "running" ? withoutBackoff(state) : nothing(state)
    case "Halt":
      return { state: { ...state, phase: "halted" }, order: { _tag: "HaltAll" } }
    case "Start":
      return state.phase === "halted"
        ? { state: refreshed(state), order: { _tag: "StartAll" } }
        : nothing(state)
    case "End":
      return { state: { ...state, phase: "ended" }, order: { _tag: "EndAll" } }
  }
}

/** A supervisor that is started again begins with a fresh budget. */
const refreshed = (state: SupervisorState): SupervisorState => ({
  phase: "running",
  budget: { ...state.budget, spent: [] },
  outage: undefined
})

const giveUp = (state: SupervisorState, restarts: number, withinMillis: number): Step => ({
  state: { ...state, phase: "gave-up" },
  order: { _tag: "GiveUp", restarts, withinMillis }
})

/** The crash behind the backoff is counted already, and gets no restart. */
const withoutBackoff = (state: SupervisorState): Step => {
  const crashes = state.budget.spent.length + (state.outage?.failures ?? 0)
  return giveUp(state, Math.max(0, crashes - 1), state.budget.withinMillis)
}

const crashed = (
  { outageMillis }: OutageLimits,
  state: SupervisorState,
  { at, generation, hasStored, record, source }: Extract<Input, { readonly _tag: "Crashed" }>
): Step => {
  if (record.restarting || generation <= record.condemned) return nothing(state)
  const { withinMillis } = state.budget
  // Counted from the restart: a backoff longer than the window is not a quiet time.
  const quiet = record.restartAt === undefined || record.restartAt <= at - withinMillis
  const restart: Order = { _tag: "Restart", freshBackoff: quiet }
  if (source === "journal") {
    const outage = countFailure(state.outage, at, outageMillis, hasStored)
    const next = { ...state, outage }
    const lasted = at - outage.since
    return lasted > outageMillis
      ? giveUp(next, outage.failures - 1, lasted)
      : { state: next, order: restart }
  }
  const { allowed, budget } = spend(state.budget, at)
  const next = { ...state, budget }
  return allowed ? { state: next, order: restart } : giveUp(next, budget.spent.length, withinMillis)
}

/** The children that are restarted with one that crashed, in the order of their start. */
export const affectedBy = <Child>(
  strategy: Strategy,
  children: Iterable<Child>,
  crashed: Child
): ReadonlyArray<Child> => {
  if (strategy === "one-for-one") return [crashed]
  const all = [...children]
  return strategy === "one-for-all" ? all : all.slice(all.indexOf(crashed))
}

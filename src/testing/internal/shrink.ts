/**
 * Makes a failing plan smaller while the same error remains: first by leaving faults out, in halves
 * and then one by one, then by making each of them simpler. The seed stays.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { FabricFault } from "../../native/sim/FabricFault.ts"
import type { Fault, FaultPlan, Moment } from "../FaultPlan.ts"
import { type Ran, type RunOptions, runOnce } from "./runOnce.ts"

/** Steps of all attempts together: a few seconds, since a run that hangs uses all it may. */
const maxSteps = 5_000_000

/** Names a failure well enough not to slip from one bug to another while shrinking. */
const signature = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  if (exit._tag === "Success") return undefined
  const error = Cause.squash(exit.cause)
  if (typeof error === "object" && error !== null) {
    if ("_tag" in error) return String(error._tag)
    if (error instanceof Error) return error.name
  }
  return typeof error
}

const halve = (value: number): ReadonlyArray<number> =>
  value >= 1 ? [...new Set([0, Math.floor(value / 2), Math.ceil(value) - 1])] : []

const earlier = (at: Moment): ReadonlyArray<Moment> =>
  "step" in at
    ? halve(at.step).map((step) => ({ step }))
    : halve(at.millis).map((millis) => ({ millis }))

/** The same with shorter times. */
const simplerFabric = (fault: FabricFault): ReadonlyArray<FabricFault> => {
  const forms: Array<FabricFault> = []
  if ("forMillis" in fault) {
    for (const forMillis of halve(fault.forMillis)) forms.push({ ...fault, forMillis })
  }
  if ("millis" in fault) for (const millis of halve(fault.millis)) forms.push({ ...fault, millis })
  return forms
}

/** One copy of a fault for each value of one of its fields. */
const vary = <F extends Fault, K extends keyof F>(
  fault: F,
  key: K,
  values: ReadonlyArray<F[K]>
): Array<F> => {
  const forms: Array<F> = []
  for (const value of values) forms.push({ ...fault, [key]: value })
  return forms
}

/** Simpler forms of one fault, simplest first. */
const simpler = (fault: Fault): ReadonlyArray<Fault> => {
  switch (fault._tag) {
    case "Crash":
      return [
        ...vary(fault, "at", earlier(fault.at)),
        ...vary(fault, "restartAfter", halve(fault.restartAfter ?? 0))
      ]
    case "Pause":
      return [
        ...vary(fault, "at", earlier(fault.at)),
        ...vary(fault, "forMillis", halve(fault.forMillis))
      ]
    case "Skew":
      return [
        ...vary(fault, "rate", fault.rate === 1 ? [] : [1]),
        ...vary(fault, "jumpMillis", fault.jumpMillis === 0 ? [] : [0]),
        ...vary(fault, "at", earlier(fault.at))
      ]
    case "Journal":
      return [
        ...vary(
          fault,
          "nth",
          halve(fault.nth - 1).map((before) => before + 1)
        ),
        ...vary(fault, "millis", halve(fault.millis))
      ]
    case "Fabric":
      return [
        ...vary(fault, "at", earlier(fault.at)),
        ...vary(fault, "fault", simplerFabric(fault.fault))
      ]
    case "Site":
      return []
  }
}

const without = (plan: FaultPlan, from: number, count: number): FaultPlan => [
  ...plan.slice(0, from),
  ...plan.slice(from + count)
]

/** Candidates in the order in which they are tried. */
function* candidates(plan: FaultPlan): Generator<FaultPlan> {
  for (let count = plan.length; count >= 1; count = Math.floor(count / 2)) {
    for (let from = 0; from + count <= plan.length; from += count) yield without(plan, from, count)
  }
  for (const [index, fault] of plan.entries()) {
    for (const form of simpler(fault)) yield plan.with(index, form)
  }
}

/** Shrinks the plan of a failing run, with a bounded number of runs. */
export const shrinkPlan = Effect.fnUntraced(function* <A, E>(
  program: Effect.Effect<A, E, Scope.Scope>,
  failed: Ran<A, E>,
  options: RunOptions,
  maxAttempts: number
) {
  const wanted = signature(failed.exit)
  let plan: FaultPlan = failed.plan
  let attempts = 0
  let steps = 0
  search: for (;;) {
    for (const candidate of candidates(plan)) {
      if (attempts >= maxAttempts || steps >= maxSteps) break search
      const ran = yield* runOnce(program, { ...options, plan: candidate })
      attempts++
      steps += ran.steps
      if (signature(ran.exit) === wanted) {
        plan = candidate
        continue search
      }
    }
    break
  }
  return { plan, attempts }
})

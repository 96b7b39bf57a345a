/**
 * Runs a program under many seeds. A failing seed is run again with a recorder; the repetition
 * must be equal, and it is the one that is shown.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { FaultPlan } from "../FaultPlan.ts"
import { NotDeterministic } from "../SimError.ts"
import type { Line } from "./recorder.ts"
import { type Ambient, endingOf, messageOf, type Ran, type RunOptions, runOnce } from "./runOnce.ts"
import { shrinkPlan } from "./shrink.ts"
import { addStrikes, type Strikes } from "./strikes.ts"
import type { Limits, Mark } from "./world.ts"

/** How many runs, and how closely to look. All times are already numbers. */
export interface ExploreOptions {
  readonly seeds: number
  readonly from: number
  readonly limits: Limits
  readonly ambient: Ambient
  readonly plan: FaultPlan | undefined
  readonly checkShare: number
  readonly stopAfter: number
  readonly shrinkAttempts: number
  readonly traceLines: number
  readonly budgetMillis: number
  readonly marks: ReadonlyArray<string>
}

/** A failing seed, as it is shown. */
export interface Failure {
  readonly seed: number
  readonly message: string
  readonly cause: Cause.Cause<unknown>
  /** What was drawn, and what was left of it after shrinking. */
  readonly drawn: FaultPlan
  readonly plan: FaultPlan
  readonly shrinkAttempts: number
  readonly steps: number
  readonly millis: number
  readonly omitted: number
  readonly trace: ReadonlyArray<Line>
}

/** The result of a set of runs. */
export interface Report {
  readonly runs: number
  readonly failures: number
  readonly firstFailingSeed: number | undefined
  /** False when a seed that was run twice gave two different executions. */
  readonly deterministic: boolean
  /** How many seeds were run twice. */
  readonly checked: number
  readonly marks: Readonly<Record<string, Mark>>
  /** Marks that were reached or asked for, but never true. */
  readonly missed: ReadonlyArray<string>
  /** How often faults were planned and had an effect, by sort. */
  readonly faults: Readonly<Record<string, Strikes>>
  /** Sorts of faults that were planned and never had an effect. */
  readonly neverStruck: ReadonlyArray<string>
  readonly steps: number
  /** Virtual time of all runs together. */
  readonly millis: number
  readonly failure: Failure | undefined
}

type Program<A, E> = Effect.Effect<A, E, Scope.Scope>

const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined

/** Runs a seed again, compares each step, and returns the repetition with its trace. */
const examine = Effect.fnUntraced(function* <A, E>(
  program: Program<A, E>,
  ran: Ran<A, E>,
  options: RunOptions
) {
  const { record: _, ...plain } = options
  const logged = ran.log === undefined ? yield* runOnce(program, { ...plain, log: true }) : ran
  const again = yield* runOnce(program, { ...options, expected: logged.log })
  if (errorOf(again.exit) instanceof NotDeterministic) return again
  const endings = [...new Set([ran.exit, logged.exit, again.exit].map(endingOf))]
  if (endings.length === 1 && again.fingerprint === logged.fingerprint) return again
  const last = again.steps === logged.steps ? "values differ" : "one execution was longer"
  const detail = endings.length === 1 ? last : endings.join(", then ")
  return { ...again, exit: Exit.fail(new NotDeterministic({ step: again.steps, detail })) }
})

/** Shrinks the plan of a failing run and puts together what is shown of it. */
const investigate = Effect.fnUntraced(function* <A, E>(
  program: Program<A, E>,
  failed: Ran<A, E>,
  options: ExploreOptions
) {
  const { ambient, limits } = options
  const run = { seed: failed.seed, limits, ambient }
  const steady = failed.plan.length > 0 && !(errorOf(failed.exit) instanceof NotDeterministic)
  const shrunk = steady
    ? yield* shrinkPlan(program, failed, run, options.shrinkAttempts)
    : { plan: failed.plan, attempts: 0 }
  const record = options.traceLines
  const shown =
    shrunk.plan === failed.plan
      ? failed
      : yield* runOnce(program, { ...run, plan: shrunk.plan, record })
  const cause = shown.exit._tag === "Failure" ? shown.exit.cause : Cause.empty
  const { omitted, lines } = shown.recorder?.lines() ?? { omitted: 0, lines: [] }
  const failure: Failure = {
    seed: failed.seed,
    message: messageOf(cause),
    cause,
    drawn: failed.plan,
    plan: shrunk.plan,
    shrinkAttempts: shrunk.attempts,
    steps: shown.steps,
    millis: shown.millis,
    omitted,
    trace: lines
  }
  return failure
})

const addMarks = (all: Map<string, Mark>, run: ReadonlyMap<string, Mark>): void => {
  for (const [name, { reached, hits }] of run) {
    const mark = all.get(name) ?? { reached: 0, hits: 0 }
    all.set(name, { reached: mark.reached + reached, hits: mark.hits + hits })
  }
}

/** Runs seeds one after the other until there are enough of them, or of failures. */
export const exploreSeeds = Effect.fnUntraced(function* <A, E>(
  program: Program<A, E>,
  options: ExploreOptions
) {
  const { ambient, from, limits, plan, seeds } = options
  const checkEvery = Math.max(1, Math.round(1 / options.checkShare))
  const marks = new Map<string, Mark>(options.marks.map((name) => [name, { reached: 0, hits: 0 }]))
  const faults = new Map<string, Strikes>()
  const start = performance.now()
  let [runs, checked, failures, steps, millis] = [0, 0, 0, 0, 0]
  let failure: Failure | undefined
  let deterministic = true
  for (; runs < seeds && failures < options.stopAfter; runs++) {
    if (performance.now() - start > options.budgetMillis) break
    const seed = from + runs
    const check = options.checkShare > 0 && runs % checkEvery === 0
    const ran = yield* runOnce(program, { seed, limits, ambient, plan, log: check, stacks: false })
    steps += ran.steps
    millis += ran.millis
    addMarks(marks, ran.marks)
    addStrikes(faults, ran.plan, ran.struck)
    if (ran.exit._tag === "Success" && !check) continue
    checked++
    const record = options.traceLines
    const shown = yield* examine(program, ran, { seed, limits, ambient, plan, record })
    if (shown.exit._tag === "Success") continue
    failures++
    if (errorOf(shown.exit) instanceof NotDeterministic) deterministic = false
    if (failure === undefined) failure = yield* investigate(program, shown, options)
  }
  const missed = [...marks].filter(([, mark]) => mark.hits === 0).map(([name]) => name)
  const neverStruck = [...faults].filter(([, { struck }]) => struck === 0).map(([sort]) => sort)
  const report: Report = {
    runs,
    failures,
    firstFailingSeed: failure?.seed,
    deterministic,
    checked,
    marks: Object.fromEntries(marks),
    missed,
    faults: Object.fromEntries(faults),
    neverStruck,
    steps,
    millis,
    failure
  }
  return report
})

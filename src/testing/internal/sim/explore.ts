/**
 * Runs a program under many seeds. A failing seed is run again with a recorder; the repetition must
 * be equal, and it is the one that is shown.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { FaultPlan } from "../../FaultPlan.ts"
import type { Preemption, Schedule } from "../../Preemption.ts"
import { LimitReached, NotDeterministic } from "../../SimError.ts"
import { isError } from "./errorText.ts"
import type { Line } from "./recorder.ts"
import { type Ambient, endingOf, messageOf, type Ran, type RunOptions, runOnce } from "./runOnce.ts"
import type { GivenInputs } from "./inputs.ts"
import { placeOfError, shortPlace } from "./places.ts"
import type { Struck } from "./script.ts"
import { shrink, type ShrinkLimit, type ShrinkLimits } from "./shrink.ts"
import { addStrikes, type Strikes } from "./strikes.ts"
import type { Limits } from "./limits.ts"
import type { Mark } from "./simulator.ts"

/** The number of runs, and their observation. All times are already numbers. */
export interface ExploreOptions {
  readonly seeds: number
  readonly from: number
  readonly limits: Limits
  readonly ambient: Ambient
  readonly plan: FaultPlan | undefined
  readonly schedule: Schedule | undefined
  readonly inputs: GivenInputs | undefined
  readonly checkShare: number
  readonly stopAfter: number
  readonly shrinkLimits: Omit<ShrinkLimits, "isLate">
  readonly shrinkSeeds: number
  readonly traceLines: number | undefined
  readonly budgetMillis: number
  readonly timeoutMillis: number
  readonly marks: ReadonlyArray<string>
}

/** A preemption that a failing run needs, and its place. */
export interface ShownPreemption {
  readonly preemption: Preemption
  readonly fiber: string
  /** The fiber's place, `bank.ts:16`, and the source text of that line. */
  readonly place: string
  readonly source: string
}

/** A failing seed with its report. */
export interface Failure {
  readonly seed: number
  readonly message: string
  readonly cause: Cause.Cause<unknown>
  /** The drawn plan, and the shrunk one. */
  readonly drawn: FaultPlan
  readonly plan: FaultPlan
  readonly shrinkAttempts: number
  /** The setting that ended the shrinking, if it was not complete. */
  readonly shrinkSpent: ShrinkLimit | undefined
  /** Preemptions of the seed's order, and of the shrunk one. */
  readonly drawnPreemptions: number
  /** `undefined` if the order has no such form: then only the seed repeats it. */
  readonly schedule: Schedule | undefined
  readonly preemptions: ReadonlyArray<ShownPreemption>
  /** Drawn inputs after shrinking; those that differ from the drawn ones, as JSON. */
  readonly inputs: ReadonlyArray<unknown>
  readonly givenInputs: GivenInputs
  /** The place of the error, `bank.ts:24`; empty if it is not known. */
  readonly place: string
  readonly source: string
  /** Fingerprint of the shown run: differs once the program has changed. */
  readonly fingerprint: number
  readonly steps: number
  readonly millis: number
  /** Lines before `trace` that were dropped. */
  readonly omitted: number
  /** Lines of the trace to print; undefined: as many as fit on a screen. */
  readonly traceLines: number | undefined
  readonly trace: ReadonlyArray<Line>
}

/** The result of a set of runs. */
export interface Report {
  readonly runs: number
  readonly failures: number
  readonly firstFailingSeed: number | undefined
  /** Whether `timeout` has ended the set before all seeds were run. */
  readonly timedOut: boolean
  /** False when a seed that was run twice gave two different executions. */
  readonly deterministic: boolean
  /** Number of seeds that were run twice. */
  readonly checked: number
  readonly marks: Readonly<Record<string, Mark>>
  /** Marks that were reached or required, but never true. */
  readonly missed: ReadonlyArray<string>
  /** Counts of planned and effective faults, by kind. */
  readonly faults: Readonly<Record<string, Strikes>>
  /** Kinds of faults that were planned and never had an effect. */
  readonly neverStruck: ReadonlyArray<string>
  /** Fingerprint of the last compared run: differs once the program has changed. */
  readonly fingerprint: number | undefined
  /** Given preemptions that found their place in the last compared run. */
  readonly placed: number | undefined
  readonly steps: number
  /** Virtual time of all runs together. */
  readonly millis: number
  readonly failure: Failure | undefined
}

type Program<A, E> = Effect.Effect<A, E, Scope.Scope>

const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined

const isUnsteady = ({ exit }: Ran<unknown, unknown>): boolean => {
  const error = errorOf(exit)
  return isError(error) && error instanceof NotDeterministic
}

/** Whether real time ended the run, so that it ends differently each time. */
const isOutOfTime = ({ exit }: Ran<unknown, unknown>): boolean => {
  const error = errorOf(exit)
  return isError(error) && error instanceof LimitReached && error.limit === "maxRealTime"
}

/** Runs a seed again and compares each step. */
const examine = Effect.fnUntraced(function* <A, E>(
  program: Program<A, E>,
  ran: Ran<A, E>,
  options: RunOptions
) {
  if (isOutOfTime(ran)) return ran
  const logged = ran.log === undefined ? yield* runOnce(program, { ...options, log: true }) : ran
  const compared: RunOptions = { ...options, expected: logged.log }
  const again = yield* runOnce(program, compared)
  if (isUnsteady(again)) {
    const recorded = yield* runOnce(program, { ...compared, record: true })
    return isUnsteady(recorded) ? recorded : again
  }
  const endings = [...new Set([ran.exit, logged.exit, again.exit].map(endingOf))]
  if (endings.length === 1 && again.fingerprint === logged.fingerprint) return again
  const last = again.steps === logged.steps ? "values differ" : "one execution was longer"
  const detail = endings.length === 1 ? last : endings.join(", then ")
  return { ...again, exit: Exit.fail(new NotDeterministic({ step: again.steps, detail })) }
})

const show = ({ fiber, place, preemption }: Struck): ShownPreemption => ({
  preemption,
  fiber: fiber?.label ?? "",
  place: place === undefined ? "" : shortPlace(place),
  source: place?.text ?? ""
})

/** Shrinks a failing run and builds its report. */
const investigate = Effect.fnUntraced(function* <A, E>(
  program: Program<A, E>,
  failed: Ran<A, E>,
  options: ExploreOptions,
  isLate: () => boolean
) {
  const { ambient, inputs, limits, schedule } = options
  const run: RunOptions = { seed: failed.seed, limits, ambient, schedule, inputs }
  const shrunk =
    isUnsteady(failed) || isOutOfTime(failed)
      ? { plan: failed.plan, schedule, inputs, attempts: 0, spent: undefined, drawnPreemptions: 0 }
      : yield* shrink(program, failed, run, { ...options.shrinkLimits, isLate })
  const shown = isUnsteady(failed)
    ? failed
    : yield* runOnce(program, { ...run, ...shrunk, record: true, log: true })
  const cause = shown.exit._tag === "Failure" ? shown.exit.cause : Cause.empty
  const { dropped, lines } = shown.recorder?.lines() ?? { dropped: 0, lines: [] }
  const error = errorOf(shown.exit)
  const place = shown.script?.fibers.origins.get(error) ?? placeOfError(error)
  const failure: Failure = {
    seed: failed.seed,
    message: messageOf(cause),
    cause,
    drawn: failed.plan,
    plan: shrunk.plan,
    shrinkAttempts: shrunk.attempts,
    shrinkSpent: shrunk.spent,
    drawnPreemptions: shrunk.drawnPreemptions,
    schedule: shrunk.schedule,
    preemptions: shrunk.schedule === undefined ? [] : (shown.script?.struck ?? []).map(show),
    inputs: shown.drawn.map(({ value }) => value),
    givenInputs: shrunk.inputs ?? new Map(),
    place: place === undefined ? "" : shortPlace(place),
    source: place?.text ?? "",
    fingerprint: shown.fingerprint,
    steps: shown.steps,
    millis: shown.millis,
    omitted: dropped,
    traceLines: options.traceLines,
    trace: lines
  }
  return failure
})

/** Faults and preemptions of a shrunk run that is large: a report lists no more. */
const largeRun = 8

/** Seeds after a failing one that are tried for a smaller run. */
const seedsLookedAt = 50

const sizeOf = ({ plan, preemptions }: Failure): number => plan.length + preemptions.length

/**
 * If shrinking ended at a limit and the run is still large, shrinks some of the next failing seeds
 * of the set, one of which may get smaller. Returns the smallest.
 */
const smallest = Effect.fnUntraced(function* <A, E>(
  program: Program<A, E>,
  first: Failure,
  options: ExploreOptions,
  isLate: () => boolean,
  isOver: () => boolean
) {
  const { ambient, from, inputs, limits, plan, schedule, seeds } = options
  if (first.shrinkSpent === undefined || first.shrinkAttempts === 0) return first
  const last = Math.min(first.seed + seedsLookedAt, from + seeds - 1)
  let best = first
  let tried = 0
  for (let seed = first.seed + 1; seed <= last && !isOver(); seed++) {
    if (tried >= options.shrinkSeeds || sizeOf(best) <= largeRun) break
    const run: RunOptions = { seed, limits, ambient, plan, schedule, inputs }
    const ran = yield* runOnce(program, { ...run, stacks: false })
    if (ran.exit._tag === "Success") continue
    const shown = yield* examine(program, ran, run)
    if (shown.exit._tag === "Success" || isUnsteady(shown)) continue
    tried++
    const other = yield* investigate(program, shown, options, isLate)
    if (sizeOf(other) < sizeOf(best)) best = other
  }
  return best
})

/** Adds the marks of one run to those of others. */
export const addMarks = (all: Map<string, Mark>, run: ReadonlyMap<string, Mark>): void => {
  for (const [name, { reached, hits }] of run) {
    const mark = all.get(name) ?? { reached: 0, hits: 0 }
    all.set(name, { reached: mark.reached + reached, hits: mark.hits + hits })
  }
}

/** The distance of two seeds that are run twice and compared. */
export const checkInterval = (share: number): number =>
  share > 0 ? Math.max(1, Math.round(1 / share)) : 1

/** Runs seeds one after the other until there are enough of them, or of failures. */
export const exploreSeeds = Effect.fnUntraced(function* <A, E>(
  program: Program<A, E>,
  options: ExploreOptions
) {
  const { ambient, from, inputs, limits, plan, schedule, seeds } = options
  const checkEvery = checkInterval(options.checkShare)
  const marks = new Map<string, Mark>(options.marks.map((name) => [name, { reached: 0, hits: 0 }]))
  const faults = new Map<string, Strikes>()
  const start = performance.now()
  const isLate = () => performance.now() - start > options.timeoutMillis
  const isOver = () => isLate() || performance.now() - start > options.budgetMillis
  let [runs, checked, failures, steps, millis] = [0, 0, 0, 0, 0]
  let failure: Failure | undefined
  let last: Ran<A, E> | undefined
  let deterministic = true
  for (; runs < seeds && failures < options.stopAfter; runs++) {
    // Even with a short budget: a set without a run shows nothing.
    if (runs > 0 && isOver()) break
    const seed = from + runs
    const check = options.checkShare > 0 && runs % checkEvery === 0
    const run: RunOptions = { seed, limits, ambient, plan, schedule, inputs, stacks: false }
    const ran = yield* runOnce(program, { ...run, log: check })
    steps += ran.steps
    millis += ran.millis
    addMarks(marks, ran.marks)
    addStrikes(faults, ran.plan, ran.struck)
    if (ran.exit._tag === "Success" && !check) continue
    checked++
    const shown = (last = yield* examine(program, ran, run))
    if (shown.exit._tag === "Success") continue
    failures++
    if (isUnsteady(shown)) deterministic = false
    if (failure === undefined) failure = yield* investigate(program, shown, options, isLate)
  }
  const timedOut = runs < seeds && failures < options.stopAfter && isLate()
  const firstFailingSeed = failure?.seed
  if (failure !== undefined) failure = yield* smallest(program, failure, options, isLate, isOver)
  const missed = [...marks].filter(([, mark]) => mark.hits === 0).map(([name]) => name)
  const neverStruck = [...faults].filter(([, { struck }]) => struck === 0).map(([sort]) => sort)
  const report: Report = {
    runs,
    failures,
    firstFailingSeed,
    timedOut,
    deterministic,
    checked,
    marks: Object.fromEntries(marks),
    missed,
    faults: Object.fromEntries(faults),
    neverStruck,
    fingerprint: last?.fingerprint,
    placed: last?.script?.struck.length,
    steps,
    millis,
    failure
  }
  return report
})

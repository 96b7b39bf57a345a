/**
 * `it.sim` for vitest: a test that runs its program under many seeds.
 *
 * ```ts
 * import { it } from "handfast/testing/vitest"
 *
 * it.sim("no update is lost", { seeds: 500 }, program)
 * ```
 *
 * `SIM_SEED=0x9f3a` runs that seed only, `SIM_RUNS=10000` as many as asked for, and
 * `SIM_TIME_LIMIT=60` starts no new run after 60 seconds. `SIM_SAVE=1` writes the failing run
 * beside the test, for `replay`, and `SIM_TRACE=full` prints all of its trace. `SIM_WORKERS=4`
 * shares the seeds of a test with 100 seeds or more among that many processes; the result is the
 * same for every number. The seeds start at a fixed number, so CI can be repeated.
 */

import { dirname, join } from "node:path"
import { it as base, type TestContext } from "@effect/vitest"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  type Environment,
  type FromEnvironment,
  readEnvironment
} from "./internal/sim/environment.ts"
import { checkInterval } from "./internal/sim/explore.ts"
import { shares } from "./internal/sim/shares.ts"
import { fullName, namePattern, type Test } from "./internal/sim/testNames.ts"
import { answer, mergeFound, runShares, type Task, taskOf } from "./internal/sim/vitestShares.ts"
import * as Printout from "./Printout.ts"
import * as SavedRun from "./SavedRun.ts"
import * as Sim from "./Sim.ts"
import { FaultsMissed, MarksMissed, NotDeterministic, type WrongValue } from "./SimError.ts"

/** The settings of a run set, and of the test around it. */
export interface TestSettings extends Sim.Settings {
  /**
   * Real time for the test; fails it if not all seeds were run by then. A failing seed is reported
   * all the same, shrunk as far as there was time. Default: no limit but those of the simulation,
   * whatever vitest's own is. `maxSteps` and `maxTime` end each run, `seeds` and `budget` the set,
   * `shrinkAttempts` and `shrinkSteps` the shrinking; a program that waits for ever is a deadlock.
   * A loop of promises or microtasks ends the process after `maxRealTime`, with the seed on
   * standard error; no limit, vitest's neither, ends a loop of statements.
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * A saved run to repeat, instead of drawing seeds. A string is a path from the working folder of
   * vitest; `new URL("./x.sim.json", import.meta.url)` is one beside the test.
   */
  readonly replay?: string | URL | undefined
}

/** Declares a simulation test. */
export interface SimTest {
  <A, E>(
    name: string,
    settings: TestSettings,
    program: Effect.Effect<A, E, Scope.Scope> | (() => Effect.Effect<A, E, Scope.Scope>)
  ): void
}

const withEnvironment = (settings: TestSettings, env: FromEnvironment): TestSettings => {
  const { repeated, runs, timeLimitSeconds } = env
  if (repeated !== undefined) return { ...settings, from: repeated.seed, seeds: 1, checkShare: 1 }
  return {
    ...settings,
    seeds: runs ?? settings.seeds,
    budget: timeLimitSeconds === undefined ? settings.budget : Duration.seconds(timeLimitSeconds)
  }
}

/** Finds the run to make, and whether the program has changed since it was saved or printed. */
const resolve = Effect.fnUntraced(function* (settings: TestSettings, env: FromEnvironment) {
  if (settings.replay !== undefined) {
    const saved = yield* SavedRun.load(settings.replay)
    const changed = (report: Sim.Report) => SavedRun.changed(saved, report)
    return { settings: { ...settings, ...SavedRun.settingsOf(saved) }, changed }
  }
  const changed = (report: Sim.Report): string | undefined => {
    const before = env.repeated?.fingerprint
    const now = report.failure?.fingerprint ?? report.fingerprint
    return before === undefined || before === now
      ? undefined
      : "the program has changed since this line was printed"
  }
  return { settings: withEnvironment(settings, env), changed }
})

const quoted = (text: string): string => `"${text.replaceAll(/["$`\\]/g, "\\$&")}"`

const repeatLine = ({ fingerprint, seed }: Sim.Failure, test: Test): string => {
  const run = `${Printout.seedText(seed)}@${fingerprint.toString(16)}`
  return `SIM_SEED=${run} npx vitest run ${test.file} -t ${quoted(namePattern(test))}`
}

/** The file of a test's failing run, beside the test. */
const savedFile = (test: Test, seed: number): string => {
  const slug = fullName(test)
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number}]+/gu, "-")
  return join(dirname(test.file), `${slug}.${Printout.seedText(seed)}.sim.json`)
}

const saveFailure = Effect.fnUntraced(function* (test: Test, failure: Sim.Failure) {
  const file = savedFile(test, failure.seed)
  yield* SavedRun.save(file, SavedRun.fromFailure(test.name, failure))
  return `saved as ${file}`
})

/** Explores the seeds in this process, with the settings that are not vitest's. */
const explore = <A, E>(program: Effect.Effect<A, E, Scope.Scope>, settings: TestSettings) => {
  const { replay: _, ...rest } = settings
  return Sim.explore(program, rest)
}

/** What is left of the time of a test. A run that is known to fail may take all of it. */
const timeLeft = ({ maxRealTime, timeout }: TestSettings, start: number): Sim.Settings => {
  if (timeout === undefined) return {}
  const millis = Duration.toMillis(Duration.fromInputUnsafe(timeout))
  const left = Math.max(0, millis - (performance.now() - start))
  return { timeout: left, maxRealTime: maxRealTime ?? timeout }
}

/** Explores the seeds in this process, or in several; a failing seed is run here once more. */
const exploreShared = Effect.fnUntraced(function* <A, E>(
  test: Test,
  settings: TestSettings,
  program: Effect.Effect<A, E, Scope.Scope>,
  { repeated, workers = 1 }: FromEnvironment
) {
  const { checkShare, from = 1, seeds = 100, stopAfter = 1 } = settings
  const start = performance.now()
  const isSingle = repeated !== undefined || settings.replay !== undefined
  const interval = checkInterval(checkShare ?? Sim.defaultCheckShare)
  const parts = isSingle ? [] : shares({ from, seeds }, workers, interval)
  if (parts.length <= 1) return yield* explore(program, settings)
  const found = yield* runShares(test, parts, stopAfter)
  const merged = mergeFound(found)
  const first = merged.firstFailingSeed
  if (first === undefined) return merged
  // Here, so that it is shrunk and shown once.
  const rest = { from: first, seeds: from + seeds - first, stopAfter: 1, checkShare: 1 }
  const again = yield* explore(program, { ...settings, ...rest, ...timeLeft(settings, start) })
  if (again.failure === undefined || again.firstFailingSeed !== first) {
    const detail = `seed ${Printout.seedText(first)} failed in a process of its own, but not here`
    return yield* Effect.fail(fail(new NotDeterministic({ step: 0, detail }).message))
  }
  const { deterministic, failure } = again
  const runs = stopAfter === 1 && !merged.timedOut ? first - from + 1 : merged.runs
  return { ...merged, runs, deterministic: merged.deterministic && deterministic, failure }
})

/** Runs the seeds that another process has requested, and notes their result in the test. */
const runTask = Effect.fnUntraced(function* <A, E>(
  task: Task,
  meta: object,
  settings: TestSettings,
  program: Effect.Effect<A, E, Scope.Scope>
) {
  const { from, seeds } = task
  const given = withEnvironment(settings, readEnvironment(process.env))
  const share = { ...given, from, seeds, shrinkAttempts: 0 }
  answer(meta, yield* explore(program, share))
})

/** A fault that is planned fewer times than this may have come too late each time. */
const oftenEnough = 10

/**
 * Runs the program as `it.sim` does and fails with the whole printout. Other test runners can use
 * it.
 */
export const check = Effect.fnUntraced(function* <A, E>(
  test: Test,
  settings: TestSettings,
  program: Effect.Effect<A, E, Scope.Scope>,
  env: Environment = process.env
) {
  const given = yield* Effect.try({
    try: () => readEnvironment(env),
    catch: (error) => error as WrongValue
  })
  const { changed, settings: resolved } = yield* resolve(settings, given)
  const report = yield* exploreShared(test, resolved, program, given)
  const note = changed(report)
  if (report.failure !== undefined) {
    const saved = given.isSaved ? [yield* saveFailure(test, report.failure)] : []
    const printed = Printout.failure(report.failure, report, repeatLine(report.failure, test), {
      full: given.isFull
    })
    const text = [printed, ...(note === undefined ? [] : [`note: ${note}`]), ...saved].join("\n")
    return yield* Effect.fail(fail(text))
  }
  if (report.timedOut) {
    const { seeds = 100, timeout } = resolved
    const time = Duration.format(Duration.fromInputUnsafe(timeout!))
    return yield* Effect.fail(
      fail(`timed out after ${time}: ${report.runs} of ${seeds} seeds were run`)
    )
  }
  if (note !== undefined) yield* Console.warn(`${test.name}: passes, but ${note}`)
  // A single seed need not reach every rare case.
  if (report.missed.length > 0 && report.runs > 1) {
    const missed = new MarksMissed({ marks: report.missed, runs: report.runs })
    return yield* Effect.fail(fail(missed.message))
  }
  const faults = report.neverStruck.filter((sort) => report.faults[sort]!.planned >= oftenEnough)
  if (faults.length > 0) {
    return yield* Effect.fail(fail(new FaultsMissed({ faults, runs: report.runs }).message))
  }
  return report
})

/** Makes an error whose stack is its message: the place of the harness does not help. */
const fail = (message: string): Error => {
  const error = new Error(message)
  error.stack = `SimulationFailed: ${message}`
  return error
}

const groupsOf = (suite: TestContext["task"]["suite"]): ReadonlyArray<string> =>
  suite === undefined ? [] : [...groupsOf(suite.suite), suite.name]

const sim: SimTest = (name, settings, program) => {
  const task = taskOf(process.env)
  // Vitest would end the test without a report.
  return base(name, { timeout: 0 }, (context) => {
    const { signal, task: declared }: TestContext = context
    const effect = Effect.isEffect(program) ? program : Effect.suspend(program)
    const test: Test = { name, file: declared.file.name, groups: groupsOf(declared.suite) }
    if (task === undefined) {
      return Effect.runPromise(Effect.asVoid(check(test, settings, effect)), { signal })
    }
    if (task.test !== fullName(test)) return undefined
    return Effect.runPromise(runTask(task, declared.meta, settings, effect), { signal })
  })
}

/** `it` of `@effect/vitest`, with `it.sim`. */
export const it: typeof base & { readonly sim: SimTest } = new Proxy(
  base as typeof base & { readonly sim: SimTest },
  {
    get: (target, property, receiver) =>
      property === "sim" ? sim : Reflect.get(target, property, receiver)
  }
)

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
 * beside the test, for `replay`. The seeds start at a fixed number, so CI can be repeated.
 *
 * @since 0.1.0
 */
import { dirname, join } from "node:path"
import { it as base, type TestContext } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Printout from "./Printout.ts"
import * as SavedRun from "./SavedRun.ts"
import * as Sim from "./Sim.ts"
import { FaultsMissed, MarksMissed } from "./SimError.ts"

/**
 * The settings of a run set, and vitest's own time limit in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestSettings extends Sim.Settings {
  readonly timeout?: number | undefined
  /** A saved run to repeat, instead of drawing seeds. */
  readonly replay?: string | URL | undefined
}

/**
 * Declares a simulation test.
 *
 * @category models
 * @since 0.1.0
 */
export interface SimTest {
  <A, E>(
    name: string,
    settings: TestSettings,
    program: Effect.Effect<A, E, Scope.Scope> | (() => Effect.Effect<A, E, Scope.Scope>)
  ): void
}

type Environment = Readonly<Record<string, string | undefined>>

const given = (text: string | undefined): text is string => text !== undefined && text !== ""

const fromEnvironment = (settings: TestSettings, env: Environment): TestSettings => {
  const { SIM_SEED: seed, SIM_RUNS: runs, SIM_TIME_LIMIT: seconds } = env
  if (given(seed)) return { ...settings, from: Number(seed), seeds: 1, checkShare: 1 }
  return {
    ...settings,
    seeds: given(runs) ? Number(runs) : settings.seeds,
    budget: given(seconds) ? Duration.seconds(Number(seconds)) : settings.budget
  }
}

const replayed = Effect.fnUntraced(function* (settings: TestSettings) {
  if (settings.replay === undefined) return settings
  const { plan, seed } = yield* SavedRun.load(settings.replay)
  return { ...settings, from: seed, seeds: 1, plan }
})

const quoted = (text: string): string => `"${text.replaceAll(/["$`\\]/g, "\\$&")}"`

const repeatLine = (seed: number, file: string, name: string): string => {
  const pattern = name.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
  return `SIM_SEED=${Printout.seedText(seed)} npx vitest run ${file} -t ${quoted(pattern)}`
}

/** Where a failing run of a test is saved: beside the file of the test. */
const savedFile = (test: Test, seed: number): string => {
  const slug = test.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")
  return join(dirname(test.file), `${slug}.${Printout.seedText(seed)}.sim.json`)
}

const saveFailure = Effect.fnUntraced(function* (test: Test, { message, plan, seed }: Sim.Failure) {
  const file = savedFile(test, seed)
  const run = new SavedRun.SavedRun({ test: test.name, seed, plan, failure: message })
  yield* SavedRun.save(file, run)
  return `saved as ${file}`
})

interface Test {
  readonly name: string
  readonly file: string
}

/** A fault that is planned fewer times than this may have come too late each time. */
const oftenEnough = 10

/**
 * Runs the program as `it.sim` does and fails with the whole printout. Other test runners can
 * build on it.
 *
 * @category running
 * @since 0.1.0
 */
export const check = Effect.fnUntraced(function* <A, E>(
  test: Test,
  settings: TestSettings,
  program: Effect.Effect<A, E, Scope.Scope>,
  env: Environment = process.env
) {
  const resolved = yield* replayed(fromEnvironment(settings, env))
  const { replay: _, timeout: __, ...rest } = resolved
  const report = yield* Sim.explore(program, rest)
  if (report.failure !== undefined) {
    const line = repeatLine(report.failure.seed, test.file, test.name)
    const saved = given(env["SIM_SAVE"]) ? [yield* saveFailure(test, report.failure)] : []
    const text = [Printout.failure(report.failure, report, line), ...saved].join("\n")
    return yield* Effect.fail(fail(text))
  }
  // A single seed cannot be expected to reach every rare case.
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

/** An error whose stack is its message: the place of the harness helps nobody. */
const fail = (message: string): Error => {
  const error = new Error(message)
  error.stack = `SimulationFailed: ${message}`
  return error
}

const sim: SimTest = (name, settings, program) =>
  base(name, settings.timeout === undefined ? {} : { timeout: settings.timeout }, (context) => {
    const { signal, task }: TestContext = context
    const effect = Effect.isEffect(program) ? program : Effect.suspend(program)
    const checked = check({ name, file: task.file.name }, settings, effect)
    return Effect.runPromise(Effect.asVoid(checked), { signal })
  })

/**
 * `it` of `@effect/vitest`, with `it.sim`.
 *
 * @category testing
 * @since 0.1.0
 */
export const it: typeof base & { readonly sim: SimTest } = new Proxy(
  base as typeof base & { readonly sim: SimTest },
  {
    get: (target, property, receiver) =>
      property === "sim" ? sim : Reflect.get(target, property, receiver)
  }
)

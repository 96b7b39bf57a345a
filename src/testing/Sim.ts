/**
 * Seeded simulation of any Effect program.
 *
 * One seed decides the order of tasks, the time and the random numbers, so a run can be repeated
 * exactly. The program itself stays as it is: it sleeps, forks, locks and draws random numbers with
 * Effect's functions. Sleeping costs nothing, since time jumps to the next timer when nothing is
 * runnable. Timers fire late by up to `timerSlack`, as real ones do.
 *
 * Clocks begin at 0, in 1970: if the program takes 0 for a time long ago, sleep a day first.
 *
 * Calls that the seed cannot decide are refused and named: real I/O, workers, `Date.now`,
 * `Math.random`, see `ambient`. Promises, ticks and the thread pool (digests, ciphers, compression)
 * take no virtual time. State that outlives a run breaks the repetition, which the self-check
 * reports.
 */

import * as Arbitrary from "effect/Arbitrary"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { FaultPlan } from "./FaultPlan.ts"
import { withProcess } from "./internal/sim/simulatedServices.ts"
import { type ExploreOptions, exploreSeeds, type Report } from "./internal/sim/explore.ts"
import { decodeInput, type DrawnInput, type GivenInputs } from "./internal/sim/inputs.ts"
import { type Known, refuseUnknownOptions } from "./internal/sim/known.ts"
import { type Ambient, runOnce } from "./internal/sim/runOnce.ts"
import type { Schedule } from "./Preemption.ts"
import { setBarrier } from "./internal/sim/siteChaos.ts"
import { NotReached, type Verdict, WrongValue } from "./SimError.ts"

export { make as process, type Process } from "./Process.ts"
export type { Failure, Report, ShownPreemption } from "./internal/sim/explore.ts"
export type { Line } from "./internal/sim/recorder.ts"

/** Limits and shares of a set of runs; each has a default. */
export interface Settings {
  /** The number of seeds. Default 100. */
  readonly seeds?: number | undefined
  /** The first seed; the others follow it. Fixed at 1, so that every machine runs the same. */
  readonly from?: number | undefined
  /**
   * Limit of steps, for a run that does not end. Default 1,000,000, some seconds of real time. 16
   * operations of fibers count as a step at least.
   */
  readonly maxSteps?: number | undefined
  /** Virtual time after which a run has failed as stuck. Default 24 hours. */
  readonly maxTime?: Duration.Input | undefined
  /**
   * Real time that ends a run, as the last resort. Default 1 minute, for busy machines, or
   * `timeout` if that is less.
   */
  readonly maxRealTime?: Duration.Input | undefined
  /**
   * By how much a timer may fire late, as real ones do. Each run draws which of its timers are
   * late, and by how much. Default 10 milliseconds, a stall of a busy event loop; 0 makes timers
   * exact.
   */
  readonly timerSlack?: Duration.Input | undefined
  /**
   * What happens when the program goes past Effect's services to the real clocks (`Date.now`,
   * `performance.now`), random numbers (`Math.random`, `crypto`), timers (`setTimeout`) or I/O
   * (`node:net`, `node:fs`, `fetch`): `"refuse"` ends the run and names the call with its stack;
   * `"simulate"` answers from the seed and the virtual time, and refuses only I/O; `"allow"` lets
   * the real ones answer, so that runs may not repeat. Default `"refuse"`. One call cannot be
   * caught: a `DatabaseSync` that was imported by name before the first run opens its file, and
   * the first use of that database is refused.
   */
  readonly ambient?: Ambient | undefined
  /** Real time after which no further seed is started; the first always is. Default: none. */
  readonly budget?: Duration.Input | undefined
  /**
   * Real time for the whole set. When it is over, the run under way is finished, no other seed is
   * started, and a failing one is reported as far as it was shrunk by then. Default: none.
   */
  readonly timeout?: Duration.Input | undefined
  /** Share of passing seeds that are run twice and compared. Default 0.05; 0 switches it off. */
  readonly checkShare?: number | undefined
  /** The number of failing seeds that ends the set. Default 1. */
  readonly stopAfter?: number | undefined
  /** The most runs for shrinking a failing run. Default 500. */
  readonly shrinkAttempts?: number | undefined
  /**
   * The most steps of all these runs together. Default 200,000: a second, and ten if steps are
   * heavy. 16 operations count as a step at least. Counted, so that shrinking has the same result
   * on every machine.
   */
  readonly shrinkSteps?: number | undefined
  /**
   * The most further failing seeds of the set to shrink if the first one stays large at these
   * limits; the smallest run is shown. Default 2: each may cost as much as the first one.
   */
  readonly shrinkSeeds?: number | undefined
  /** Lines of the failing run's trace to print. Default: what fits on one screen. */
  readonly traceLines?: number | undefined
  /** Faults to use instead of drawn ones. */
  readonly plan?: FaultPlan | undefined
  /** The order of tasks to use instead of a drawn one. */
  readonly schedule?: Schedule | undefined
  /** Values for `draw`, as JSON, by the order in which they are drawn. */
  readonly inputs?: GivenInputs | undefined
  /** Names of `Chaos.sometimes` that must be true at least once, even if never reached. */
  readonly marks?: ReadonlyArray<string> | undefined
}

const millis = (input: Duration.Input | undefined, otherwise: Duration.Input): number =>
  Duration.toMillis(Duration.fromInputUnsafe(input ?? otherwise))

/** The share of passing seeds that are run twice unless a setting says otherwise. */
export const defaultCheckShare = 0.05

const known: Known<Settings> = {
  seeds: true,
  from: true,
  maxSteps: true,
  maxTime: true,
  maxRealTime: true,
  timerSlack: true,
  ambient: true,
  budget: true,
  timeout: true,
  checkShare: true,
  stopAfter: true,
  shrinkAttempts: true,
  shrinkSteps: true,
  shrinkSeeds: true,
  schedule: true,
  inputs: true,
  traceLines: true,
  plan: true,
  marks: true
}

/** The smallest value of each setting that is a whole number. */
const least = {
  seeds: 1,
  from: 0,
  maxSteps: 1,
  stopAfter: 1,
  shrinkAttempts: 0,
  shrinkSteps: 0,
  shrinkSeeds: 0,
  traceLines: 1
} as const

/** Refuses numbers with which a set would run nothing, or compare nothing. */
const refuseWrongNumbers = (settings: Settings): void => {
  for (const [name, minimum] of Object.entries(least)) {
    const value = settings[name as keyof typeof least] ?? minimum
    // A limit may be lifted; the seeds are counted.
    const isLifted = value === Infinity && name !== "seeds" && name !== "from"
    if (isLifted || (Number.isSafeInteger(value) && value >= minimum)) continue
    throw new WrongValue({ name, value: String(value), allowed: `a whole number from ${minimum}` })
  }
  const { ambient = "refuse", checkShare = 0 } = settings
  if (!(checkShare >= 0 && checkShare <= 1)) {
    throw new WrongValue({ name: "checkShare", value: String(checkShare), allowed: "0 to 1" })
  }
  if (!ambients.includes(ambient)) {
    throw new WrongValue({ name: "ambient", value: ambient, allowed: ambients.join(", ") })
  }
}

const ambients: ReadonlyArray<Ambient> = ["refuse", "simulate", "allow"]

/** The bounds of the times: a set may have no time left, a run of it takes some. */
const times = {
  maxTime: "above 0",
  maxRealTime: "above 0",
  timerSlack: "from 0",
  budget: "from 0",
  timeout: "from 0"
} as const

/** Refuses times with which no run could succeed, and those before the start. */
const refuseWrongTimes = (settings: Settings): void => {
  for (const [name, bound] of Object.entries(times)) {
    const given = settings[name as keyof typeof times]
    if (given === undefined) continue
    // Effect takes NaN for no time.
    const value = Number.isNaN(given) ? Number.NaN : millis(given, 0)
    if (value > 0 || (value === 0 && bound === "from 0")) continue
    throw new WrongValue({ name, value: String(given), allowed: `a time ${bound}` })
  }
}

const resolve = (settings: Settings): ExploreOptions => {
  refuseUnknownOptions("setting", settings, known)
  refuseWrongNumbers(settings)
  refuseWrongTimes(settings)
  return withDefaults(settings)
}

const withDefaults = (settings: Settings): ExploreOptions => ({
  seeds: settings.seeds ?? 100,
  from: settings.from ?? 1,
  limits: {
    maxSteps: settings.maxSteps ?? 1_000_000,
    maxMillis: millis(settings.maxTime, "24 hours"),
    maxRealMillis: millis(
      settings.maxRealTime,
      Math.min(60_000, millis(settings.timeout, Infinity))
    ),
    timerSlackMillis: millis(settings.timerSlack, "10 millis")
  },
  ambient: settings.ambient ?? "refuse",
  plan: settings.plan,
  checkShare: settings.checkShare ?? defaultCheckShare,
  stopAfter: settings.stopAfter ?? 1,
  schedule: settings.schedule,
  inputs: settings.inputs,
  shrinkLimits: {
    attempts: settings.shrinkAttempts ?? 500,
    steps: settings.shrinkSteps ?? 200_000
  },
  shrinkSeeds: settings.shrinkSeeds ?? 2,
  traceLines: settings.traceLines,
  budgetMillis: millis(settings.budget, Infinity),
  timeoutMillis: millis(settings.timeout, Infinity),
  marks: settings.marks ?? []
})

/** One execution of a program under one seed. */
export interface Run<A, E> {
  readonly seed: number
  readonly exit: Exit.Exit<A, E | Verdict>
  readonly steps: number
  /** Virtual time at the end, in milliseconds. */
  readonly millis: number
  /** Equal for equal executions, and almost surely different for different ones. */
  readonly fingerprint: number
  /** The faults that were drawn or given. */
  readonly plan: FaultPlan
}

/** Runs a program once, under one seed. */
export const run = <A, E>(
  program: Effect.Effect<A, E, Scope.Scope>,
  settings: Omit<Settings, "seeds" | "from"> & { readonly seed: number }
): Effect.Effect<Run<A, E>> =>
  Effect.suspend(() => {
    const { seed, ...rest } = settings
    const { ambient, inputs, limits, plan, schedule } = resolve(rest)
    return runOnce(program, { seed, limits, ambient, plan, schedule, inputs })
  })

/**
 * Runs a program under many seeds and reports the results, with the trace and the shrunk faults of
 * the first failing seed.
 */
export const explore = <A, E>(
  program: Effect.Effect<A, E, Scope.Scope>,
  settings: Settings = {}
): Effect.Effect<Report> => Effect.suspend(() => exploreSeeds(program, resolve(settings)))

/**
 * From here on, `holds` must be true after every step of the run; a thrown error counts as false.
 * It runs outside of any fiber, so it reads state with `Ref.getUnsafe` and the like.
 */
export const invariant = (name: string, holds: () => boolean): Effect.Effect<void> =>
  withProcess(({ simulator }) => Effect.sync(() => void simulator.invariants.push({ name, holds })))

/**
 * Demands progress: the condition must answer and become true within the given virtual time. Stop
 * the faults first, with `Faults.heal`: under faults nothing can be demanded.
 */
export const eventually = <E = never, R = never>(
  condition: Effect.Effect<boolean, E, R> | (() => boolean),
  within: Duration.Input,
  what = "the condition"
): Effect.Effect<void, E | NotReached, R> =>
  withProcess(({ simulator }) => {
    const check = Effect.isEffect(condition) ? condition : Effect.sync(condition)
    const withinMillis = millis(within, 0)
    const pause = Duration.millis(Math.max(1, withinMillis / 1000))
    const end = simulator.now + withinMillis
    const missed = () => new NotReached({ what, withinMillis })
    const loop: Effect.Effect<void, E | NotReached, R> = Effect.flatMap(check, (reached) => {
      if (reached) return Effect.void
      if (simulator.now >= end) return Effect.fail(missed())
      return Effect.andThen(Effect.sleep(pause), loop)
    })
    const duration = withinMillis + Duration.toMillis(pause) + 2 * simulator.limits.timerSlackMillis
    return Effect.timeoutOrElse(loop, { duration, orElse: () => Effect.fail(missed()) })
  })

/** A fiber that is held at a chaos site. */
export interface Barrier {
  /** Waits until a fiber has arrived. */
  readonly reached: Effect.Effect<void>
  readonly release: Effect.Effect<void>
}

/**
 * Holds the next fiber that passes `Chaos.site(name)` until it is released, for an interleaving
 * that a test writes by hand. If none passes in any run, that is a missed mark.
 */
export const barrier = (site: string): Effect.Effect<Barrier> =>
  withProcess(({ simulator }) =>
    Effect.sync(() => {
      const { gate, reached } = setBarrier(simulator, site)
      return {
        reached: Deferred.await(reached),
        release: Effect.asVoid(Deferred.succeed(gate, undefined))
      }
    })
  )

/**
 * Draws a value of a schema from the run's random numbers, for example a list of commands for a
 * model.
 */
export const draw = <S extends Schema.Constraint>(
  schema: S,
  options: { readonly size?: number } = {}
): Effect.Effect<S["Type"]> =>
  withProcess(({ simulator }) =>
    Random.nextInt.pipe(
      Effect.flatMap((seed) => {
        const { drawn: all, given } = simulator.inputs
        const input: DrawnInput = { schema, seed, size: options.size, value: undefined }
        const nth = all.push(input) - 1
        const json = given?.get(nth)
        const value: Effect.Effect<unknown, unknown> =
          json === undefined
            ? Arbitrary.sampleEffect(Arbitrary.schema(schema), { ...options, seed, count: 1 }).pipe(
                Effect.map(([sample]) => sample)
              )
            : decodeInput(schema, json)
        return Effect.map(value, (drawn) => (input.value = drawn as S["Type"]))
      }),
      Effect.orDie
    )
  )

/**
 * Writes a line into the trace, and into the comparison of a repeated run: a value that differs
 * between two executions of one seed is found at the step that noted it.
 */
export const note = (text: string): Effect.Effect<void> =>
  withProcess(({ simulator }) =>
    Effect.sync(() => {
      simulator.observe(text)
      simulator.recorder?.event(text)
    })
  )

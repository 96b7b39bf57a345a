/**
 * Makes a failing run smaller while it fails in the same way: fewer and simpler faults, fewer and
 * shorter preemptions, smaller drawn inputs. The seed stays.
 */
import assert from "node:assert/strict"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { FaultPlan } from "../../FaultPlan.ts"
import type { Point, Schedule } from "../../Preemption.ts"
import { type DrawnInput, encodeInput, type GivenInputs } from "./inputs.ts"
import { reduceList, simplifyList } from "./reduction.ts"
import { type Ran, type RunOptions, runOnce } from "./runOnce.ts"
import { signatureOf } from "./signature.ts"
import { simplerFault, simplerPreemption } from "./simpler.ts"

/** Limits of the search, which is counted: the result is the same on every machine with time. */
export interface ShrinkLimits {
  readonly attempts: number
  readonly steps: number
  /** Whether the time of the whole set is over. */
  readonly isLate: () => boolean
}

/** A setting that ends the search. */
export type ShrinkLimit = "shrinkAttempts" | "shrinkSteps" | "timeout"

/** Inputs of a run besides its seed. */
export interface Given {
  readonly plan: FaultPlan
  /** `undefined` if the order of tasks is still drawn from the seed. */
  readonly schedule: Schedule | undefined
  readonly inputs: GivenInputs
}

/** The smallest run that was found, and the original one. */
export interface Shrunk extends Given {
  readonly attempts: number
  /** The limit that ended the search, if it was not complete. */
  readonly spent: ShrinkLimit | undefined
  readonly drawnPreemptions: number
}

/** Ends the search at a limit. */
class Spent {
  readonly limit: ShrinkLimit
  constructor(limit: ShrinkLimit) {
    this.limit = limit
  }
}

type Test = (candidate: Given) => Effect.Effect<boolean, Spent>

const shrinkPlan = Effect.fnUntraced(function* (given: Given, test: Test) {
  const fails = (plan: FaultPlan) => test({ ...given, plan })
  yield* simplifyList(yield* reduceList(given.plan, fails), simplerFault, fails)
})

/** The most steps at which one fault is tried in place of several. */
const triedSteps = 100

/** Tries one fault in place of several, at each of the first steps of the smallest run so far. */
const singleFault = Effect.fnUntraced(function* (given: Given, steps: number, test: Test) {
  if (given.plan.length < 2) return
  for (const fault of given.plan) {
    if (!("at" in fault)) continue
    for (let step = 1; step <= Math.min(steps, triedSteps); step++) {
      if (yield* test({ ...given, plan: [{ ...fault, at: { step } }] })) return
    }
  }
})

/** Tries one preemption in place of several, before each `yield*` of the smallest run so far. */
const singlePreemption = Effect.fnUntraced(function* (
  given: Given,
  points: ReadonlyArray<Point>,
  test: Test
) {
  if (given.schedule === undefined || given.schedule.length < 2) return
  for (const at of points) {
    if (yield* test({ ...given, schedule: [{ _tag: "Yield", at }] })) return
  }
})

const shrinkSchedule = Effect.fnUntraced(function* (given: Given, test: Test) {
  if (given.schedule === undefined) return
  const fails = (schedule: Schedule) => test({ ...given, schedule })
  yield* simplifyList(yield* reduceList(given.schedule, fails), simplerPreemption, fails)
})

/** Lets Effect's shrinker try each input: an input passes if the run does not fail with it. */
const shrinkInputs = Effect.fnUntraced(function* (
  given: Given,
  drawn: ReadonlyArray<DrawnInput>,
  test: Test
) {
  let inputs = given.inputs
  for (const [nth, { schema, seed, size }] of drawn.entries()) {
    if (inputs.has(nth)) continue
    const withValue = (value: unknown) =>
      Effect.map(encodeInput(schema, value), (json) => new Map(inputs).set(nth, json))
    let spent: Spent | undefined
    // A value without a form as JSON could not be saved, so it passes; so do untried values.
    const passes = (value: unknown) =>
      withValue(value).pipe(
        Effect.flatMap((changed) => test({ ...given, inputs: changed })),
        Effect.match({
          onFailure: (error) => {
            if (error instanceof Spent) spent = error
            return true
          },
          onSuccess: (fails) => !fails
        })
      )
    const options = { seed, runs: 1, ...(size !== undefined && { size }) }
    const result = yield* Arbitrary.checkEffect(Arbitrary.schema(schema), passes, options)
    if (spent !== undefined) return yield* Effect.fail(spent)
    if (result._tag === "Falsified") inputs = yield* Effect.orDie(withValue(result.shrunkInput))
  }
})

/** What a tracked run has written down. */
const scriptOf = ({ script }: Ran<unknown, unknown>) => {
  assert.ok(script !== undefined)
  return script
}

/** Shrinks a failing run within the limits. */
export const shrink = Effect.fnUntraced(function* <A, E>(
  program: Effect.Effect<A, E, Scope.Scope>,
  failed: Ran<A, E>,
  options: RunOptions,
  limits: ShrinkLimits
) {
  const first = yield* runOnce(program, { ...options, plan: failed.plan, track: true })
  const wanted = signatureOf(first)
  let attempts = 0
  let steps = 0
  let smallest: Ran<unknown, unknown> = first
  const inputs: GivenInputs = options.inputs ?? new Map()
  let given: Given = { plan: failed.plan, schedule: options.schedule, inputs }
  const test: Test = Effect.fnUntraced(function* (candidate) {
    if (attempts >= limits.attempts) return yield* Effect.fail(new Spent("shrinkAttempts"))
    if (steps >= limits.steps) return yield* Effect.fail(new Spent("shrinkSteps"))
    if (limits.isLate()) return yield* Effect.fail(new Spent("timeout"))
    attempts++
    const ran = yield* runOnce(program, { ...options, ...candidate, track: true })
    steps += ran.effort
    if (signatureOf(ran) !== wanted) return false
    smallest = ran
    given = candidate
    return true
  })
  const written = { ...given, schedule: scriptOf(first).schedule() }
  const drawnPreemptions = written.schedule.length
  const search = Effect.gen(function* () {
    // Choices that the schedule does not hold, such as the order of a flush, are left to the seed.
    yield* test(written)
    for (;;) {
      const before = given
      yield* shrinkPlan(given, test)
      yield* singleFault(given, smallest.steps, test)
      yield* shrinkSchedule(given, test)
      yield* singlePreemption(given, scriptOf(smallest).fibers.points, test)
      yield* shrinkInputs(given, first.drawn, test)
      const isSame =
        JSON.stringify([before.plan, before.schedule]) ===
        JSON.stringify([given.plan, given.schedule])
      if (isSame && before.inputs === given.inputs) return undefined
    }
  })
  const spent = yield* Effect.catch(search, ({ limit }) => Effect.succeed(limit))
  const shrunk: Shrunk = { ...given, attempts, spent, drawnPreemptions }
  return shrunk
})

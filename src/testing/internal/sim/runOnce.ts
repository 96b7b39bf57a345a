/** Runs a program once in a new simulator. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Fault, FaultPlan } from "../../FaultPlan.ts"
import { Deadlock, LimitReached, type Verdict } from "../../SimError.ts"
import type { Schedule } from "../../Preemption.ts"
import { ambient } from "./simulatedServices.ts"
import { isError, kindOf, messageText } from "./errorText.ts"
import { drive } from "./drive.ts"
import { numberFibers } from "./fiberNumbers.ts"
import { Fibers } from "./fibers.ts"
import { SimProcess } from "./simProcess.ts"
import type { DrawnInput, GivenInputs } from "./inputs.ts"
import type { Limits } from "./limits.ts"
import { listen } from "./places.ts"
import { Recorder } from "./recorder.ts"
import { Script } from "./script.ts"
import { siteChaos } from "./siteChaos.ts"
import { trapperOf } from "./standIns.ts"
import { withTraps } from "./traps.ts"
import { type Mark, Simulator } from "./simulator.ts"
import type { Task } from "./task.ts"

/** Whether direct use of real clocks, random numbers, timers and I/O is refused. */
export type Ambient = "refuse" | "simulate" | "allow"

/** The program's input, and its observation. */
export interface RunOptions {
  readonly seed: number
  readonly limits: Limits
  /** How calls that go past Effect's services are handled. */
  readonly ambient: Ambient
  /** Replaces the faults that the run would draw. */
  readonly plan?: FaultPlan | undefined
  /**
   * Whether errors are made with their stacks. Default true. A program under faults makes many
   * errors, and their stacks are a twelfth of its time; a run without a report needs none.
   */
  readonly stacks?: boolean
  /** Replaces the order of tasks and the late timers that the seed would draw. */
  readonly schedule?: Schedule | undefined
  /** Drawn inputs to replace, by the order in which they are drawn. */
  readonly inputs?: GivenInputs | undefined
  /** Whether to observe fibers and places, and to record the schedule. */
  readonly track?: boolean
  /** Whether to write a trace. */
  readonly record?: boolean
  /** Whether to keep a log for the comparison with a repetition. */
  readonly log?: boolean
  /** The log of an earlier execution to compare with. */
  readonly expected?: ReadonlyArray<number> | undefined
}

/** The result of a run. */
export interface Ran<A, E> {
  readonly seed: number
  readonly exit: Exit.Exit<A, E | Verdict>
  readonly steps: number
  /** Steps, and operations that count as steps. */
  readonly effort: number
  readonly millis: number
  /** Equal for equal executions. */
  readonly fingerprint: number
  readonly plan: ReadonlyArray<Fault>
  /** Faults of the plan that had an effect. */
  readonly struck: ReadonlySet<Fault>
  readonly marks: ReadonlyMap<string, Mark>
  readonly log: ReadonlyArray<number> | undefined
  /** Inputs that were drawn with `Sim.draw`. */
  readonly drawn: ReadonlyArray<DrawnInput>
  readonly script: Script<object> | undefined
  readonly recorder: Recorder | undefined
}

/** Observes a run as the options demand. */
const observe = (
  simulator: Simulator<SimProcess>,
  { record, schedule, track }: RunOptions
): void => {
  if (schedule === undefined && track !== true && record !== true) return
  const fibers = new Fibers()
  const script = new Script<Task<SimProcess>>(fibers, schedule)
  simulator.script = script
  if (record !== true) return
  const recorder = new Recorder(fibers, schedule !== undefined)
  simulator.recorder = recorder
  // A schedule drawn from the seed deviates all the time.
  if (schedule !== undefined) script.onStrike = (struck) => recorder.preempted(struck)
}

/** Follows the `yield*`s of a simulator's fibers until the returned function is called. */
const follow = (simulator: Simulator<SimProcess>): (() => void) => {
  const { fibers } = simulator.script ?? {}
  if (fibers === undefined) return () => undefined
  return listen({
    accepts: ({ cache: { scheduler } }) =>
      scheduler instanceof SimProcess && scheduler.simulator === simulator,
    begins: (fiber, operation, place) => {
      const seen = fibers.comes(fiber, place, true)
      if (seen !== undefined) simulator.recorder?.begins(seen, operation, place)
    },
    ends: (fiber, operation, place, value) => {
      const seen = fibers.comes(fiber, place, false)
      if (seen !== undefined) simulator.recorder?.ends(seen, operation, value)
    }
  })
}

const makeSimulator = (options: RunOptions): Simulator<SimProcess> => {
  const begin = (simulator: Simulator<SimProcess>) => new SimProcess(simulator, "main")
  const simulator = new Simulator(options.seed, options.limits, options.plan, begin)
  observe(simulator, options)
  if (options.log === true || options.expected !== undefined) simulator.repetition.log = []
  simulator.repetition.expected = options.expected
  simulator.inputs.given = options.inputs
  return simulator
}

/** Starts a program in its simulator, and drives the simulator until one of them has ended. */
const start = <A, E>(
  simulator: Simulator<SimProcess>,
  program: Effect.Effect<A, E, Scope.Scope>,
  { seed, stacks = true }: RunOptions,
  onEnd: (ran: Ran<A, E>) => void
): void => {
  let ended: Exit.Exit<A, E> | undefined
  const begin = () => {
    const main = Effect.runForkWith(ambient(simulator, siteChaos(simulator)))(
      Effect.scoped(program)
    )
    main.addObserver((exit) => {
      if (simulator.closed) return
      ended = exit
      simulator.close()
    })
  }
  drive(simulator, stacks, begin, () => {
    const { verdict } = simulator
    const exit = ended ?? (verdict === undefined ? undefined : Exit.fail(verdict))
    if (exit === undefined) return
    onEnd({
      seed,
      exit,
      steps: simulator.steps,
      effort: simulator.effort,
      millis: simulator.now,
      fingerprint: simulator.fingerprint,
      plan: simulator.plan,
      struck: simulator.struck,
      marks: simulator.marks,
      log: simulator.repetition.log,
      drawn: simulator.inputs.drawn,
      script: simulator.script,
      recorder: simulator.recorder
    })
  })
}

/** Runs a program under one seed. Its scope is closed inside the simulation. */
export const runOnce = <A, E>(
  program: Effect.Effect<A, E, Scope.Scope>,
  options: RunOptions
): Effect.Effect<Ran<A, E>> =>
  Effect.callback((resume) => {
    numberFibers()
    const simulator = makeSimulator(options)
    const unfollow = follow(simulator)
    const begin = () =>
      start(simulator, program, options, (ran) => {
        unfollow()
        resume(Effect.succeed(ran))
      })
    if (options.ambient === "allow") begin()
    else withTraps(trapperOf(simulator, options.ambient === "simulate"), begin)
    return Effect.sync(() => {
      unfollow()
      simulator.close()
    })
  })

/** The message of the error that a cause is about. */
export const messageOf = (cause: Cause.Cause<unknown>): string => messageText(Cause.squash(cause))

/** Fibers are numbered over all runs of a process, so their numbers never repeat. */
const repeatable = (key: string, value: unknown): unknown => (key === "fiberId" ? undefined : value)

/** How a run ended, as text: two executions of one seed must agree on it. */
export const endingOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (exit._tag === "Failure") {
    const error = Cause.squash(exit.cause)
    // The messages list the waiting fibers, which only a recorder knows.
    const bare = isError(error) && (error instanceof Deadlock || error instanceof LimitReached)
    if (bare) return `${error._tag} at step ${error.step}`
    // An object may hold numbers of fibers, or addresses.
    const isText = isError(error) || typeof error !== "object"
    return `failure "${isText ? messageText(error) : kindOf(error)}"`
  }
  try {
    return `success ${JSON.stringify(exit.value, repeatable) ?? typeof exit.value}`
  } catch {
    return "success"
  }
}

/**
 * Verdicts of the simulation about a run.
 *
 * A program's failure stays as it is; only an observer outside of the program can give these.
 */
import * as Schema from "effect/Schema"
import { errorText } from "./internal/sim/errorText.ts"

/** A fiber that had not ended when the run was stopped, and its last place. */
export const WaitingFiber = Schema.Struct({
  fiber: Schema.String,
  process: Schema.String,
  lastStep: Schema.Int,
  place: Schema.String
})

const waitingList = (fibers: ReadonlyArray<typeof WaitingFiber.Type>): string =>
  fibers
    .map(
      ({ fiber, process, lastStep, place }) =>
        `\n  ${fiber} in ${process}, last ran at step ${lastStep}${place === "" ? "" : ` ${place}`}`
    )
    .join("")

/** Nothing is runnable, no timer is set, and the program is not done. */
export class Deadlock extends Schema.TaggedError<Deadlock>()("Deadlock", {
  step: Schema.Int,
  millis: Schema.Finite,
  paused: Schema.Array(Schema.String),
  waiting: Schema.Array(WaitingFiber)
}) {
  override get message() {
    const paused = this.paused.length === 0 ? "" : `; paused: ${this.paused.join(", ")}`
    return (
      `deadlock at step ${this.step} (${this.millis} ms): nothing is runnable and no timer is set` +
      `${paused}. A fiber waits for something that no fiber will do, or for something outside of ` +
      `the simulation.${waitingList(this.waiting)}`
    )
  }
}

/** The run used up a limit; `limit` names the setting. */
export class LimitReached extends Schema.TaggedError<LimitReached>()("LimitReached", {
  limit: Schema.Literals(["maxSteps", "maxTime", "maxRealTime"]),
  step: Schema.Int,
  millis: Schema.Finite,
  waiting: Schema.Array(WaitingFiber)
}) {
  override get message() {
    return (
      `the program was not done at ${this.limit} (step ${this.step}, ${this.millis} ms)` +
      waitingList(this.waiting)
    )
  }
}

/** An invariant did not hold after a step. */
export class InvariantBroken extends Schema.TaggedError<InvariantBroken>()("InvariantBroken", {
  name: Schema.String,
  step: Schema.Int,
  millis: Schema.Finite,
  detail: Schema.String
}) {
  override get message() {
    const detail = this.detail === "" ? "" : `: ${this.detail}`
    return `invariant "${this.name}" broken after step ${this.step} (${this.millis} ms)${detail}`
  }
}

/** A condition was not reached within the virtual time it was given. */
export class NotReached extends Schema.TaggedError<NotReached>()("NotReached", {
  what: Schema.String,
  withinMillis: Schema.Finite
}) {
  override get message() {
    return `${this.what}: not reached within ${this.withinMillis} ms of virtual time`
  }
}

/** A simulated process ended with an unexpected failure. */
export class ProcessFailed extends Schema.TaggedError<ProcessFailed>()("ProcessFailed", {
  process: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `process ${this.process} failed: ${errorText(this.cause)}`
  }
}

/** A task that was scheduled outside of any fiber threw. */
export class TaskThrew extends Schema.TaggedError<TaskThrew>()("TaskThrew", {
  process: Schema.String,
  step: Schema.Int,
  cause: Schema.Defect()
}) {
  override get message() {
    return `a task of process ${this.process} threw at step ${this.step}: ${errorText(this.cause)}`
  }
}

const insteadOf = (call: string): string => {
  if (/^(Date|performance|process)/.test(call)) return "Effect's Clock"
  if (/^(Math|crypto)/.test(call)) return "Effect's Random or WebCrypto"
  if (/^(set|timers|AbortSignal)/.test(call))
    return "Effect.sleep, and no Effect.run* inside of the program"
  return "a service that the test provides"
}

/**
 * The program went past the simulation: it used a real clock, real random numbers, a real timer or
 * real I/O. `stack` shows the call.
 */
export class NotSimulated extends Schema.TaggedError<NotSimulated>()("NotSimulated", {
  call: Schema.String,
  process: Schema.String,
  step: Schema.Int,
  stack: Schema.String
}) {
  override get message() {
    const lines = this.stack.split("\n").map((line) => `\n  ${line}`)
    return (
      `${this.call} was called in process ${this.process} at step ${this.step}, and the seed ` +
      `does not decide it${lines.join("")}\nUse ${insteadOf(this.call)}, or set \`ambient\` to ` +
      '"simulate" (clocks, random numbers and timers) or "allow".'
    )
  }
}

/**
 * The same seed gave two different executions, so something outside of the simulation decides. With
 * the traps of `ambient` in force that is most likely state that outlives a run.
 */
export class NotDeterministic extends Schema.TaggedError<NotDeterministic>()("NotDeterministic", {
  step: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return (
      `the same seed ran differently: the first differing step is ${this.step} (${this.detail}). ` +
      "Likely causes: a variable, cache or counter of a module that one run leaves changed; a " +
      "service, Ref or queue that is made outside of the program, once for all runs; a worker or " +
      'a native addon; with `ambient: "allow"` also real clocks, random numbers or I/O.'
    )
  }
}

/** Marks of `Chaos.sometimes` that no run of the set has hit. */
export class MarksMissed extends Schema.TaggedError<MarksMissed>()("MarksMissed", {
  marks: Schema.Array(Schema.String),
  runs: Schema.Int
}) {
  override get message() {
    const names = this.marks.map((mark) => `"${mark}"`).join(", ")
    return `never true in ${this.runs} runs: ${names}`
  }
}

/** The likeliest reason why faults of one kind have no effect. */
const hintOf = (sort: string): string => {
  if (sort.startsWith("journal ")) {
    return "is the journal a FaultyJournal, and does the program reach this operation?"
  }
  if (sort.startsWith("fabric ")) return "does the program use the simulated fabric by then?"
  return "does the process still run by then?"
}

/**
 * Faults that were planned but had no effect in any run of the set: their process had ended, their
 * disk was not used, or their moment came too late.
 */
export class FaultsMissed extends Schema.TaggedError<FaultsMissed>()("FaultsMissed", {
  faults: Schema.Array(Schema.String),
  runs: Schema.Int
}) {
  override get message() {
    const hints = this.faults.map((sort) => `\n  ${sort}: ${hintOf(sort)}`)
    return `never struck in ${this.runs} runs: ${this.faults.join(", ")}${hints.join("")}`
  }
}

/** A test gives an unknown name: a process, a kind of fault, an option. */
export class UnknownName extends Schema.TaggedError<UnknownName>()("UnknownName", {
  what: Schema.String,
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message() {
    const known = this.known.length === 0 ? "There are none so far" : this.known.join(", ")
    return `there is no ${this.what} "${this.name}". Known: ${known}.`
  }
}

/**
 * A setting or an environment variable has an invalid value, with which a set of runs could pass
 * without a run.
 */
export class WrongValue extends Schema.TaggedError<WrongValue>()("WrongValue", {
  name: Schema.String,
  value: Schema.String,
  allowed: Schema.String
}) {
  override get message() {
    return `${this.name}=${this.value} is not usable. Allowed: ${this.allowed}.`
  }
}

/** Every verdict that ends a run from outside. */
export type Verdict =
  | Deadlock
  | LimitReached
  | InvariantBroken
  | ProcessFailed
  | TaskThrew
  | NotSimulated
  | NotDeterministic

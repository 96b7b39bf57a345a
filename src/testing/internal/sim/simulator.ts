/**
 * The simulator of one run: it decides the order of tasks, the time and the random numbers.
 *
 * Tasks of all processes wait in one array; each step takes one of them, chosen by the seed. When
 * nothing is runnable, time jumps to the next timer or fault. Nothing here reads a real clock.
 */
import type * as Deferred from "effect/Deferred"
import type { WatchedFabric } from "../../../native/sim/Watch.ts"
import type { Fault, FaultPlan, TimedFault } from "../../FaultPlan.ts"
import {
  InvariantBroken,
  LimitReached,
  NotDeterministic,
  TaskThrew,
  type Verdict
} from "../../SimError.ts"
import { FaultSchedule } from "./faultSchedule.ts"
import { messageText } from "./errorText.ts"
import { Arrivals } from "./arrivals.ts"
import { Inputs } from "./inputs.ts"
import { Lateness } from "./lateness.ts"
import type { Limits } from "./limits.ts"
import { Prng } from "./prng.ts"
import type { Recorder } from "./recorder.ts"
import { Repetition } from "./repetition.ts"
import type { Script } from "./script.ts"
import type { Controls, Owner, Task } from "./task.ts"
import { type Timer, Timers } from "./timers.ts"

/** A barrier of a test, which holds a fiber. */
export interface Barrier {
  readonly reached: Deferred.Deferred<void>
  readonly gate: Deferred.Deferred<void>
}

/** How often a mark was reached, and how often its condition was true. */
export interface Mark {
  reached: number
  hits: number
}

/** A condition that must hold after each step. */
export interface Invariant {
  readonly name: string
  readonly holds: () => boolean
}

/** Operations that count as a step, since a fiber that never waits runs 2,048 in one. */
const operationsAStep = 16

/** Effort between two turns of the event loop; counted, so that promises move alike each time. */
const effortATurn = 2_000

/** Probability of a yield per operation: one of these is drawn for each run. */
const yieldProbabilities = [0, 0.01, 0.05, 0.1, 0.2, 0.5] as const

/** Operations that Effect needs to resume a fiber; a yield in them is no progress. */
const resumption = 3

/** Mean number of steps between two changes of priority in a run by priorities. */
const priorityRuns = [4, 16, 64] as const

/** One run in progress. */
export class Simulator<P extends Owner = Owner> {
  readonly seed: number
  readonly limits: Limits
  readonly random: Prng
  readonly faults = new FaultSchedule()
  readonly timers = new Timers<P>()
  readonly processes = new Map<string, Controls>()
  /** The simulated fabrics that the program made. */
  readonly fabrics: Array<WatchedFabric> = []
  readonly invariants: Array<Invariant> = []
  readonly marks = new Map<string, Mark>()
  /** False once the faults have been stopped. */
  faulty = true
  readonly main: P
  recorder: Recorder | undefined = undefined
  /** The schedule as data: recorded, or given. */
  script: Script<Task<P>> | undefined = undefined
  readonly repetition = new Repetition()
  /** The faults of this run: given, or collected while they are drawn. */
  readonly plan: Array<Fault>
  readonly planGiven: boolean
  /** The faults of the plan that had an effect. */
  readonly struck = new Set<Fault>()
  readonly inputs = new Inputs()
  readonly arrivals = new Arrivals()
  now = 0
  fibers = 0
  steps = 0
  operations = 0
  running: P | undefined = undefined
  untilYield = 0
  verdict: Verdict | undefined = undefined
  closed = false
  readonly barriers = new Map<string, Barrier>()
  readonly #counts = new Map<string, number>()
  readonly #schedule: Prng
  readonly #lateness: Lateness
  readonly #yieldProbability: number
  readonly #byPriority: boolean
  readonly #priorityRun: number
  readonly #priorities: Array<number> = []
  #untilDemotion = 0
  #turnAt = effortATurn
  #tasks: Array<Task<P>> = []
  #lanes = 0

  constructor(
    seed: number,
    limits: Limits,
    plan: FaultPlan | undefined,
    begin: (simulator: Simulator<P>) => P
  ) {
    this.seed = seed
    this.limits = limits
    this.plan = plan === undefined ? [] : [...plan]
    this.planGiven = plan !== undefined
    this.random = new Prng(seed, "random")
    this.#schedule = new Prng(seed, "schedule")
    this.#lateness = new Lateness(seed, limits.timerSlackMillis)
    this.#yieldProbability = this.#schedule.pick(yieldProbabilities)
    this.#byPriority = this.#schedule.below(4) === 0
    this.#priorityRun = this.#schedule.pick(priorityRuns)
    this.drawYield()
    this.main = begin(this)
    for (const fault of this.plan) this.scheduleFault(fault)
  }

  /** Adds a fault with a moment to the schedule. */
  scheduleFault(fault: Fault): void {
    if ("at" in fault) this.faults.add(fault)
  }

  /** Draws the number of operations after which the running fiber must yield. */
  drawYield(): void {
    const p = this.#yieldProbability
    const more = p === 0 ? Infinity : Math.log(1 - this.#schedule.double()) / Math.log(1 - p)
    this.untilYield = resumption + Math.floor(more)
  }

  newLane(): number {
    if (this.#byPriority) this.#priorities.push(this.#schedule.double())
    return this.#lanes++
  }

  enqueue(task: Task<P>): void {
    if (this.closed) return
    this.#tasks.push(task)
    this.script?.queued(task)
  }

  sleep(owner: P, millis: number, fire: () => void): Timer<P> {
    const drawn = this.#lateness.draw()
    const late = this.script === undefined ? drawn : this.script.late(drawn)
    this.recorder?.sleeps(owner.name, millis, late)
    const timer = this.timers.add(this.now + millis + late, owner, fire)
    this.script?.sets(timer)
    return timer
  }

  /**
   * Runs `act` later, at that exact time and outside of any fiber, as models of hardware need it.
   */
  after(millis: number, act: () => void): void {
    if (millis > 0) this.timers.add(this.now + millis, this.main, act)
    else this.main.enqueue(act, this.newLane())
  }

  takeTasksOf(owner: P): Array<Task<P>> {
    const taken = this.#tasks.filter((task) => task.owner === owner)
    this.#tasks = this.#tasks.filter((task) => task.owner !== owner)
    return taken
  }

  /** Stops a process, killed or paused by its own step, before its next operation. */
  stopRunning(owner: P): void {
    if (this.running === owner) this.running = undefined
  }

  /** Drops all tasks and timers of a killed process. */
  forget(owner: P): void {
    this.#tasks = this.#tasks.filter((task) => task.owner !== owner)
    this.timers.cancelOwner(owner)
  }

  /** Counts operations of one kind; returns their number, `more` included. */
  count(sort: string, more = 0): number {
    const count = (this.#counts.get(sort) ?? 0) + more
    this.#counts.set(sort, count)
    return count
  }

  /** Adds results of a simulated store or network to the determinism check. */
  observe(text: string): void {
    this.repetition.observe(text)
  }

  /**
   * Runs all tasks of one dispatcher, in seeded order, because a caller needs them synchronously.
   */
  flush(lane: number): void {
    for (;;) {
      const indexes: Array<number> = []
      this.#tasks.forEach((task, index) => task.lane === lane && indexes.push(index))
      if (indexes.length === 0 || this.closed || this.#isSpent()) return
      this.#step(this.#schedule.pick(indexes))
    }
  }

  /** Steps, and operations that count as steps. */
  get effort(): number {
    return this.steps + Math.floor(this.operations / operationsAStep)
  }

  /** Runs until the simulator is closed, nothing is runnable or the event loop is due. */
  advance(): "closed" | "idle" | "due" {
    while (!this.closed) {
      while (this.steps >= this.faults.nextStep) this.inject(this.faults.takeStep())
      if (this.#tasks.length === 0) return "idle"
      if (this.effort >= this.#turnAt) {
        this.#turnAt = this.effort + effortATurn
        return "due"
      }
      if (this.#isSpent()) break
      const { script, steps } = this
      const drawn = this.#drawn
      this.#step(script === undefined ? drawn() : script.choose(this.#tasks, steps, drawn))
    }
    return "closed"
  }

  /** Ends a run that has reached its limit of steps. */
  #isSpent(): boolean {
    const { maxSteps } = this.limits
    if (this.steps < maxSteps && this.operations < maxSteps * operationsAStep) return false
    this.fail(this.limitReached("maxSteps"))
    return true
  }

  /** Lets time jump to the next timer or fault. Returns false if there is none. */
  jump(): boolean {
    const timer = this.timers.peek()
    const at = Math.min(timer?.at ?? Infinity, this.faults.nextMillis)
    if (at === Infinity) return false
    if (at > this.limits.maxMillis) {
      this.fail(this.limitReached("maxTime"))
      return true
    }
    if (at > this.now) this.now = at
    while (this.faults.nextMillis <= this.now) this.inject(this.faults.takeMillis())
    for (;;) {
      const due = this.timers.peek()
      if (due === undefined || due.at > this.now) return true
      this.timers.pop()
      this.script?.fires(due)
      due.owner.enqueue(due.fire, this.newLane())
    }
  }

  /** Ends the run with a verdict of the simulation. */
  fail(verdict: Verdict): void {
    if (this.verdict === undefined && !this.closed) {
      this.verdict = verdict
      this.close()
    }
  }

  close(): void {
    this.closed = true
    this.#tasks = []
  }

  inject(fault: TimedFault | undefined): void {
    if (fault === undefined) return
    if (fault._tag !== "Fabric") {
      if (this.processes.get(fault.process)?.inject(fault) === true) this.struck.add(fault)
      return
    }
    for (const fabric of this.fabrics) if (fabric.strike(fault.fault)) this.struck.add(fault)
  }

  limitReached(limit: LimitReached["limit"]): LimitReached {
    const waiting = this.recorder?.waiting() ?? []
    return new LimitReached({ limit, step: this.steps, millis: this.now, waiting })
  }

  readonly #drawn = (): number => {
    const [tasks, schedule] = [this.#tasks, this.#schedule]
    if (!this.#byPriority) return tasks.length === 1 ? 0 : schedule.below(tasks.length)
    let best = 0
    let ties = 1
    for (let i = 1; i < tasks.length; i++) {
      const difference = this.#priorities[tasks[i]!.lane]! - this.#priorities[tasks[best]!.lane]!
      if (difference > 0) ties = 1
      // Tasks of one dispatcher have one priority; each of them is as likely as the others.
      if (difference > 0 || (difference === 0 && schedule.below(++ties) === 0)) best = i
    }
    if (--this.#untilDemotion <= 0) {
      this.#untilDemotion = 1 + schedule.below(2 * this.#priorityRun)
      this.#priorities[tasks[best]!.lane] = -this.steps
    }
    return best
  }

  #step(index: number): void {
    const tasks = this.#tasks
    const task = tasks[index]!
    const runnable = tasks.length
    const last = tasks.pop()!
    if (index < tasks.length) tasks[index] = last
    const outer = this.running
    this.running = task.owner
    this.script?.begins(task, this.steps)
    this.steps++
    this.recorder?.step(task.owner.name, this.steps, this.now)
    try {
      task.run()
    } catch (cause) {
      this.fail(new TaskThrew({ process: task.owner.name, step: this.steps, cause }))
    }
    this.running = outer
    const detail = this.repetition.step(index, runnable, this.operations, this.now)
    if (detail !== undefined) this.fail(new NotDeterministic({ step: this.steps, detail }))
    for (const invariant of this.invariants) this.#check(invariant)
  }

  #check(invariant: Invariant): void {
    let detail = ""
    try {
      if (invariant.holds()) return
    } catch (error) {
      detail = messageText(error)
    }
    const { steps: step, now: millis } = this
    this.fail(new InvariantBroken({ name: invariant.name, step, millis, detail }))
  }

  /** A number that two equal executions share. */
  get fingerprint(): number {
    return this.repetition.digest >>> 0
  }
}

/**
 * One life of a simulated process: the scheduler and the clock that its fibers see.
 *
 * All processes share the one seeded queue of their simulator. Killing one drops its tasks and
 * timers and runs none of it again, so no finalizer runs either, as after `kill -9`.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import type { Simulator } from "./simulator.ts"
import type { Task } from "./task.ts"

class Dispatcher implements Scheduler.SchedulerDispatcher {
  readonly #simProcess: SimProcess
  #lane: number | undefined = undefined

  constructor(simProcess: SimProcess) {
    this.#simProcess = simProcess
  }

  // Priorities order the tasks of one dispatcher only, and no Effect module relies on them, so a
  // simulation is free to choose among all tasks.
  scheduleTask(run: () => void): void {
    const { arrivals } = this.#simProcess.simulator
    if (arrivals.isHeld) arrivals.add(() => this.#enqueue(run))
    else this.#enqueue(run)
  }

  #enqueue(run: () => void): void {
    this.#lane ??= this.#simProcess.simulator.newLane()
    this.#simProcess.enqueue(run, this.#lane)
  }

  flush(): void {
    this.#simProcess.simulator.arrivals.admit()
    if (this.#lane !== undefined) this.#simProcess.simulator.flush(this.#lane)
  }
}

/** The process that began the present promise or callback. Effect's fibers keep it, too. */
const simProcesses = new AsyncLocalStorage<SimProcess>()

/** The present process, in a step or in a promise or callback outside of the steps. */
export const processOf = (simulator: Simulator<SimProcess>): SimProcess => {
  const simProcess = simulator.running ?? simProcesses.getStore()
  return simProcess?.simulator === simulator ? simProcess : simulator.main
}

/**
 * Whether a fiber ends with its next operation, since it was interrupted and has nothing to clean
 * up. If such a fiber has not begun yet and yields, its beginning replaces its end, and the
 * interrupt is lost: Effect's scheduler never yields before a first operation.
 */
const endsAtOnce = (fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  if (fiber.currentOpCount > 1) return false
  // Neither field is in the type of a fiber.
  const { _interruptedCause: interrupted, _stack: stack } = fiber as unknown as {
    readonly _interruptedCause: unknown
    readonly _stack: ReadonlyArray<unknown>
  }
  return interrupted !== undefined && stack.length === 0
}

/** One life of a process. */
export class SimProcess implements Scheduler.Scheduler {
  readonly executionMode = "async"
  readonly simulator: Simulator<SimProcess>
  readonly name: string
  readonly clock: SimClock
  #alive = true
  #held: Array<Task<SimProcess>> | undefined = undefined

  constructor(simulator: Simulator<SimProcess>, name: string) {
    this.simulator = simulator
    this.name = name
    this.clock = new SimClock(this)
  }

  /**
   * Called before each operation of a fiber. A fiber that was resumed from elsewhere (by another
   * process's step, by a promise, or after its process was killed) yields before its first
   * operation, so each step runs code of exactly one process, and a dead one runs none.
   */
  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    const simulator = this.simulator
    simulator.operations++
    if (endsAtOnce(fiber)) return false
    if (simulator.running !== this) {
      simulator.arrivals.fiber = fiber.id
      return true
    }
    if (simulator.repetition.log !== undefined) simulator.repetition.follow(fiber)
    const isDrawn = --simulator.untilYield <= 0
    if (isDrawn) simulator.drawYield()
    if (simulator.script === undefined ? isDrawn : this.#observe(fiber, isDrawn)) return true
    return fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
  }

  /**
   * Observes a fiber before its next operation. Returns whether it yields; `drawn` is the seed's
   * choice.
   */
  #observe(fiber: Fiber.Fiber<unknown, unknown>, drawn: boolean): boolean {
    const { recorder, script, steps } = this.simulator
    if (script === undefined) return drawn
    const seen = script.fibers.saw(fiber, this, steps)
    script.runs()
    recorder?.runs(seen)
    return script.yields(drawn)
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return new Dispatcher(this)
  }

  enqueue(run: () => void, lane: number): void {
    if (!this.#alive) return
    const task: Task<SimProcess> = { run, lane, owner: this }
    if (this.#held === undefined) this.simulator.enqueue(task)
    else this.#held.push(task)
  }

  /** Runs code of this process, with all its promises and callbacks. */
  begin<A>(start: () => A): A {
    return simProcesses.run(this, start)
  }

  get isAlive(): boolean {
    return this.#alive
  }

  get isPaused(): boolean {
    return this.#held !== undefined
  }

  kill(): void {
    this.#alive = false
    this.#held = undefined
    this.simulator.forget(this)
    this.simulator.stopRunning(this)
  }

  pause(): void {
    if (!this.#alive || this.#held !== undefined) return
    this.#held = this.simulator.takeTasksOf(this)
    this.simulator.stopRunning(this)
  }

  resume(): void {
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) for (const task of held) this.simulator.enqueue(task)
  }
}

const nanos = (millis: number): bigint => BigInt(Math.round(millis * 1_000_000))

/** Virtual time of one process: moved by a jump, and faster or slower by a rate. */
export class SimClock implements Clock.Clock {
  readonly #simProcess: SimProcess
  #jumped = 0
  #rate = 1
  #since = 0
  #base = 0
  readonly currentTimeMillis: Effect.Effect<number>
  readonly currentTimeNanos: Effect.Effect<bigint>
  readonly monotonicTimeNanos: Effect.Effect<bigint>

  constructor(simProcess: SimProcess) {
    this.#simProcess = simProcess
    this.#base = this.#since = simProcess.simulator.now
    this.currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
    this.currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
    this.monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())
  }

  #elapsed(): number {
    return this.#base + (this.#simProcess.simulator.now - this.#since) * this.#rate
  }

  currentTimeMillisUnsafe(): number {
    return Math.floor(this.#elapsed() + this.#jumped)
  }

  currentTimeNanosUnsafe(): bigint {
    return nanos(this.#elapsed() + this.#jumped)
  }

  monotonicTimeNanosUnsafe(): bigint {
    return nanos(this.#elapsed())
  }

  /** Moves the wall clock by `jumpMillis`; from now on, all clocks run at `rate`. */
  skew(jumpMillis: number, rate: number): void {
    this.#base = this.#elapsed()
    this.#since = this.#simProcess.simulator.now
    this.#jumped += jumpMillis
    this.#rate = rate
  }

  /** Ends every skew: the wall clock is right again, and the monotonic one never goes back. */
  heal(): void {
    this.skew(0, 1)
    this.#jumped = this.#simProcess.simulator.now - this.#base
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const timer = this.#simProcess.simulator.sleep(this.#simProcess, millis / this.#rate, () =>
        resume(Effect.void)
      )
      return Effect.sync(() => {
        timer.cancelled = true
      })
    })
  }
}

/**
 * A home is one life of a simulated process: the scheduler and the clock that its fibers see.
 *
 * All homes feed the one seeded queue of their world. Killing a home drops its tasks and timers and
 * lets nothing of it run again, so no finalizer runs either, as after `kill -9`.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import type { Task, World } from "./simulator.ts"

class Dispatcher implements Scheduler.SchedulerDispatcher {
  private readonly home: Home
  private lane: number | undefined = undefined

  constructor(home: Home) {
    this.home = home
  }

  // Priorities order the tasks of one dispatcher only, and no Effect module relies on them, so a
  // simulation is free to choose among all tasks.
  scheduleTask(run: () => void): void {
    const { arrivals } = this.home.world
    if (arrivals.isHeld) arrivals.add(() => this.enqueue(run))
    else this.enqueue(run)
  }

  private enqueue(run: () => void): void {
    this.lane ??= this.home.world.newLane()
    this.home.enqueue(run, this.lane)
  }

  flush(): void {
    this.home.world.arrivals.admit()
    if (this.lane !== undefined) this.home.world.flush(this.lane)
  }
}

/** The home that began the promise or callback that runs now. Effect's fibers keep it, too. */
const homes = new AsyncLocalStorage<Home>()

/** The home of what runs now, in a step or in a promise or callback outside of the steps. */
export const homeOf = (world: World): Home => {
  const home = world.running ?? homes.getStore()
  return home?.world === world ? home : world.main
}

/**
 * Whether a fiber ends with its next operation, since it was interrupted and has nothing to clean
 * up. If such a fiber has not begun yet and yields, its beginning takes the place of its end, and
 * the interrupt is lost: Effect's own scheduler never yields before a first operation.
 */
const endsAtOnce = (fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  if (fiber.currentOpCount > 1) return false
  // Neither is in the type of a fiber.
  const { _interruptedCause: interrupted, _stack: stack } = fiber as unknown as {
    readonly _interruptedCause: unknown
    readonly _stack: ReadonlyArray<unknown>
  }
  return interrupted !== undefined && stack.length === 0
}

/** One life of a process. */
export class Home implements Scheduler.Scheduler {
  readonly executionMode = "async"
  readonly world: World
  readonly name: string
  readonly clock: HomeClock
  private alive = true
  private held: Array<Task> | undefined = undefined

  constructor(world: World, name: string) {
    this.world = world
    this.name = name
    this.clock = new HomeClock(this)
  }

  /**
   * Called before each operation of a fiber. A fiber that was resumed from elsewhere (by another
   * process's step, by a promise, or after its process was killed) yields before its first
   * operation, so each step runs code of exactly one process, and a dead one runs none.
   */
  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    const world = this.world
    world.operations++
    if (endsAtOnce(fiber)) return false
    if (world.running !== this) {
      world.arrivals.fiber = fiber.id
      return true
    }
    if (world.repetition.log !== undefined) world.repetition.follow(fiber)
    const isDrawn = --world.untilYield <= 0
    if (isDrawn) world.drawYield()
    if (world.script === undefined ? isDrawn : this.observe(fiber, isDrawn)) return true
    return fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
  }

  /** Looks at a fiber before its next operation: whether it yields, if the seed says `drawn`. */
  private observe(fiber: Fiber.Fiber<unknown, unknown>, drawn: boolean): boolean {
    const { recorder, script, steps } = this.world
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
    if (!this.alive) return
    const task: Task = { run, lane, home: this }
    if (this.held === undefined) this.world.enqueue(task)
    else this.held.push(task)
  }

  /** Begins something that belongs to this home, with all promises and callbacks that it makes. */
  begin<A>(start: () => A): A {
    return homes.run(this, start)
  }

  get isAlive(): boolean {
    return this.alive
  }

  get isPaused(): boolean {
    return this.held !== undefined
  }

  kill(): void {
    this.alive = false
    this.held = undefined
    this.world.forget(this)
    this.world.stopRunning(this)
  }

  pause(): void {
    if (!this.alive || this.held !== undefined) return
    this.held = this.world.takeTasksOf(this)
    this.world.stopRunning(this)
  }

  resume(): void {
    const held = this.held
    this.held = undefined
    if (held !== undefined) for (const task of held) this.world.enqueue(task)
  }
}

const nanos = (millis: number): bigint => BigInt(Math.round(millis * 1_000_000))

/** Virtual time as one process sees it: moved by a jump, and faster or slower by a rate. */
export class HomeClock implements Clock.Clock {
  private readonly home: Home
  private jumped = 0
  private rate = 1
  private since = 0
  private base = 0
  readonly currentTimeMillis: Effect.Effect<number>
  readonly currentTimeNanos: Effect.Effect<bigint>
  readonly monotonicTimeNanos: Effect.Effect<bigint>

  constructor(home: Home) {
    this.home = home
    this.base = this.since = home.world.now
    this.currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
    this.currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
    this.monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())
  }

  private elapsed(): number {
    return this.base + (this.home.world.now - this.since) * this.rate
  }

  currentTimeMillisUnsafe(): number {
    return Math.floor(this.elapsed() + this.jumped)
  }

  currentTimeNanosUnsafe(): bigint {
    return nanos(this.elapsed() + this.jumped)
  }

  monotonicTimeNanosUnsafe(): bigint {
    return nanos(this.elapsed())
  }

  /** Moves the wall clock by `jumpMillis`; from now on, all clocks run at `rate`. */
  skew(jumpMillis: number, rate: number): void {
    this.base = this.elapsed()
    this.since = this.home.world.now
    this.jumped += jumpMillis
    this.rate = rate
  }

  /** Ends every skew: the wall clock is right again, and the monotonic one never goes back. */
  heal(): void {
    this.skew(0, 1)
    this.jumped = this.home.world.now - this.base
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const timer = this.home.world.sleep(this.home, millis / this.rate, () => resume(Effect.void))
      return Effect.sync(() => {
        timer.cancelled = true
      })
    })
  }
}

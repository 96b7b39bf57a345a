/**
 * The pool of one host of a simulated network: all lanes live in the process that made the pool,
 * on its clock and its scheduler, so they stop with it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Scheduler from "effect/Scheduler"
import type { LanePool } from "./lanePool.ts"
import { noCounts, type PoolCounts, type PoolStats } from "./laneCounts.ts"
import { loadFramerNow } from "./loadFramer.ts"
import { MainThreadDriver } from "./mainThreadDriver.ts"
import type { Opener } from "./openJobs.ts"
import type { Platform, SimulatedHost, Timers } from "./platform.ts"

/** Timers are fibers of the caller's Scope: they end with its process. */
const makeTimers = (enqueue: (act: () => void) => void) =>
  Effect.gen(function* () {
    const run = yield* FiberSet.makeRuntime()
    const clock = yield* Clock.Clock
    const nanos = () => clock.monotonicTimeNanosUnsafe()
    const start = (effect: Effect.Effect<unknown>) => {
      const fiber = run(effect)
      return () => fiber.interruptUnsafe()
    }
    const later = (millis: number, act: () => void) =>
      Effect.andThen(Effect.sleep(millis), Effect.sync(act))
    return {
      now: () => Number(nanos()) / 1e6,
      sharedNanos: nanos,
      after: (millis, act) => start(later(millis, act)),
      every: (millis, act) => start(Effect.forever(later(millis, act))),
      nextTurn: enqueue,
      atEnd: enqueue
    } satisfies Timers
  })

/** Its sockets are those of one simulated host. */
class SimulatedPool implements LanePool {
  readonly #counts: PoolCounts = {
    fallbacks: 0,
    stale: 0,
    workersStarted: 0,
    workersCrashed: 0,
    lanesOpened: 0
  }
  readonly #totals = noCounts()
  readonly #regions = new Map<number, Uint8Array>()
  readonly #driver: MainThreadDriver

  constructor(platform: Platform, clock: () => number) {
    const regionOf = (id: number) => this.#regions.get(id)
    const opened = () => void this.#counts.lanesOpened++
    this.#driver = new MainThreadDriver(clock, this.#totals, regionOf, opened, platform)
  }

  get stats(): PoolStats {
    const { jobsOut, lanes } = this.#driver
    return { ...this.#counts, ...this.#totals, workers: 0, lanes, jobsOut }
  }

  readonly loadFramer = (url: string) => Effect.try(() => loadFramerNow(url))

  open(opener: Opener) {
    const job = this.#driver.open(opener)
    return { cancel: () => this.#driver.cancel(job) }
  }

  listen(opener: Opener) {
    return { ...this.open(opener), renewCertificates: () => {} }
  }

  async register(id: number, memory: SharedArrayBuffer): Promise<void> {
    this.#regions.set(id, new Uint8Array(memory))
  }

  async unregister(id: number): Promise<void> {
    this.#regions.delete(id)
  }

  /** There are no workers. */
  resize(): void {}

  /** Ends listeners and attempts at once, lanes in order, and waits for them. */
  readonly stop: Effect.Effect<void> = Effect.suspend(() => {
    this.#driver.stop()
    const isIdle = Effect.sync(() => this.#driver.isIdle)
    return Effect.repeat(Effect.delay(isIdle, 1), { until: (isIdle) => isIdle })
  })
}

/** Makes a pool that stops with its Scope. */
export const makeSimulatedPool = (host: SimulatedHost) =>
  Effect.gen(function* () {
    const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
    const enqueue = (act: () => void) => dispatcher.scheduleTask(act, 0)
    const timers = yield* makeTimers(enqueue)
    const clock = yield* Clock.Clock
    const platform: Platform = {
      timers,
      sockets: host.sockets(enqueue),
      prepare: (job, prepared, failed) =>
        enqueue(() => {
          try {
            prepared({ framer: loadFramerNow(job.framer), rereads: false })
          } catch (error) {
            failed(error)
          }
        })
    }
    return yield* Effect.acquireRelease(
      Effect.sync(() => new SimulatedPool(platform, () => clock.currentTimeMillisUnsafe())),
      (pool) => pool.stop
    )
  })

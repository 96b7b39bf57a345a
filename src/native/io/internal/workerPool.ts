/**
 * All workers of a pool, the driver of the main thread's lanes, and the one loop that consumes the
 * workers' records.
 *
 * The loop sleeps on a single doorbell that all workers ring. Draining never waits for a worker,
 * and no worker waits for a drain: the side that finds a ring full sets its waiting flag, and the
 * other side rings once it has made room. A worker that crashes, or makes no progress, is replaced;
 * its lanes end, its listeners move to the new one.
 */
import * as Effect from "effect/Effect"
import { Doorbell, doorbellBytes } from "./doorbell.ts"
import { calm, type LoadSettings, sampleLoad } from "./loadPolicy.ts"
import { countGarbage } from "./buffers.ts"
import { noCounts, type PoolCounts, type PoolStats } from "./laneCounts.ts"
import type { Cancellable, LanePool, Listening } from "./lanePool.ts"
import { Listeners } from "./listeners.ts"
import { loadFramer } from "./loadFramer.ts"
import { MainThreadDriver } from "./mainThreadDriver.ts"
import type { WorkerSizes } from "./workerMemory.ts"
import { nodePlatform } from "./nodePlatform.ts"
import { progressCheckMs } from "./progress.ts"
import type { Opener } from "./openJobs.ts"
import { WorkerDriver } from "./workerDriver.ts"

/** Settings of the workers. */
export interface WorkerPoolSettings {
  readonly load: LoadSettings
  /** Milliseconds between samples of load. */
  readonly sampleEveryMs: number
  /** Milliseconds that a worker has to end after it was asked. */
  readonly stopWithinMs: number
  /** Milliseconds without progress after which a worker is given up. */
  readonly stuckAfterMs: number
  readonly sizes: WorkerSizes
  readonly clock: () => number
  /** Called after each sample, and once when the pool has stopped. */
  readonly sampled: (pool: WorkerPool) => void
}

/** The workers of one pool. */
export class WorkerPool implements LanePool {
  readonly counts: PoolCounts = {
    fallbacks: 0,
    stale: 0,
    workersStarted: 0,
    workersCrashed: 0,
    lanesOpened: 0
  }
  /** The counts of all lanes together. */
  readonly totals = noCounts()
  readonly main: MainThreadDriver
  readonly #settings: WorkerPoolSettings
  #load: LoadSettings
  readonly #drivers = new Set<WorkerDriver>()
  readonly #listeners: Listeners
  readonly #regions = new Map<number, SharedArrayBuffer>()
  readonly #regionViews = new Map<number, Uint8Array>()
  readonly #bellMemory = new SharedArrayBuffer(doorbellBytes)
  readonly #bell = new Doorbell(new Int32Array(this.#bellMemory))
  readonly #origin: number
  readonly #sampler: NodeJS.Timeout
  readonly #watchdog: NodeJS.Timeout
  #state = calm
  #looping = false
  #stopping = false
  #stopped: (() => void) | undefined

  readonly #opened = (): void => void this.counts.lanesOpened++

  constructor(settings: WorkerPoolSettings) {
    this.#settings = settings
    this.#load = settings.load
    this.#origin = settings.clock()
    const regionOf = (id: number) => this.#regionViews.get(id)
    const { clock } = settings
    this.main = new MainThreadDriver(clock, this.totals, regionOf, this.#opened, nodePlatform)
    this.#listeners = new Listeners(this.main, () => this.#activeDrivers())
    for (let i = 0; i < settings.load.min; i++) this.#start()
    this.#sampler = setInterval(() => this.#sample(), settings.sampleEveryMs)
    this.#sampler.unref()
    this.#watchdog = setInterval(
      () => this.#checkProgress(),
      progressCheckMs(settings.stuckAfterMs)
    )
    this.#watchdog.unref()
  }

  get drivers(): ReadonlyArray<WorkerDriver> {
    return [...this.#drivers]
  }

  get stats(): PoolStats {
    const { active: workers, jobsOut, lanes } = this
    return { ...this.counts, ...this.totals, workers, lanes, jobsOut }
  }

  readonly loadFramer = (url: string) => Effect.tryPromise(() => loadFramer(url))

  get active(): number {
    return this.#activeDrivers().length
  }

  /** Lanes that are open, and jobs that are out. */
  get lanes(): number {
    return this.drivers.reduce((sum, driver) => sum + driver.lanes, this.main.lanes)
  }

  get jobsOut(): number {
    return this.drivers.reduce((sum, driver) => sum + driver.jobsOut, this.main.jobsOut)
  }

  /** Opens a connection, in a worker if that is wanted and one has room. */
  open(opener: Opener, inWorker: boolean): Cancellable {
    if (inWorker && !this.#stopping) {
      const drivers = this.#activeDrivers()
      const least = Math.min(...drivers.map((driver) => driver.lanes))
      const driver = drivers.find((driver) => driver.lanes === least)
      const job = driver?.open(opener)
      if (driver !== undefined && job !== undefined) return { cancel: () => driver.cancel(job) }
      // Without any worker nothing was tried, so this is no fallback.
      if (drivers.length > 0) this.counts.fallbacks++
    }
    const job = this.main.open(opener)
    return { cancel: () => this.main.cancel(job) }
  }

  /** Listens, in all workers or on the main thread. Cancelling closes the listener: `failed`. */
  listen(opener: Opener, inWorkers: boolean): Listening {
    const { fellBack, ...listening } = this.#listeners.listen(opener, inWorkers && !this.#stopping)
    if (fellBack) this.counts.fallbacks++
    return listening
  }

  /** Resolves when all workers have the memory. */
  async register(id: number, memory: SharedArrayBuffer): Promise<void> {
    this.#regions.set(id, memory)
    this.#regionViews.set(id, new Uint8Array(memory))
    await this.#setRegion(id, memory)
  }

  /** Resolves when no worker finds or uses the memory any more. */
  async unregister(id: number): Promise<void> {
    countGarbage(this.#regions.get(id)?.byteLength ?? 0)
    this.#regions.delete(id)
    this.#regionViews.delete(id)
    await this.#setRegion(id, undefined)
  }

  #setRegion(id: number, memory: SharedArrayBuffer | undefined): Promise<unknown> {
    const told = (driver: WorkerDriver) =>
      new Promise<void>((resolve) => driver.region(id, memory, resolve))
    return Promise.all(this.drivers.map(told))
  }

  /** Changes the number of workers. Lanes stay where they are until they end. */
  resize(min: number, max: number): void {
    this.#load = { ...this.#load, min, max }
    this.#state = calm
    while (this.active > max) this.#park()
    while (this.active < min) this.#start()
    this.#listeners.distribute()
  }

  /** Asks all workers to end; resolves when every one has. Completions are still consumed. */
  stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#sampler)
    this.#listeners.close()
    this.main.stop()
    for (const driver of this.#drivers) this.#askToStop(driver)
    return new Promise((resolve) => {
      this.#stopped = resolve
      this.#checkStopped()
    })
  }

  /** The pool is stopped once the workers are gone and the main thread's sockets are closed. */
  #checkStopped(): void {
    if (this.#stopped === undefined || this.#drivers.size > 0) return
    if (this.main.isIdle) {
      clearInterval(this.#watchdog)
      this.#settings.sampled(this)
      this.#stopped()
    } else setTimeout(() => this.#checkStopped(), 1)
  }

  #activeDrivers(): ReadonlyArray<WorkerDriver> {
    return [...this.#drivers].filter((driver) => !driver.isParked)
  }

  #start(): void {
    const { sizes } = this.#settings
    const driver = new WorkerDriver(sizes, this.#origin, this.#bellMemory, {
      gone: (driver, crash) => this.#onDriverGone(driver, crash),
      opened: this.#opened,
      onStaleRecord: () => this.counts.stale++,
      regions: () => [...this.#regions],
      totals: this.totals
    })
    this.counts.workersStarted++
    this.#drivers.add(driver)
    if (!this.#looping) {
      this.#looping = true
      this.#loop()
    }
  }

  /** The active worker with the fewest lanes gets no new ones, and ends when it has none. */
  #park(): void {
    const drivers = this.#activeDrivers()
    const least = Math.min(...drivers.map((driver) => driver.lanes))
    const driver = drivers.find((driver) => driver.lanes === least)
    if (driver === undefined) return
    driver.isParked = true
    this.#listeners.leaveParked(driver)
    this.#endParked()
  }

  /** Asks parked workers without lanes to end. */
  #endParked(): void {
    for (const driver of this.#drivers) {
      if (driver.isParked && driver.isIdle && !driver.isStopping) this.#askToStop(driver)
    }
  }

  #askToStop(driver: WorkerDriver): void {
    if (driver.isStopping) return
    driver.stop(this.#settings.stopWithinMs)
  }

  #onDriverGone(driver: WorkerDriver, crash: string | undefined): void {
    this.#drivers.delete(driver)
    // The wait of the loop holds the pool, and no other worker may be left to end it. Not `ring`:
    // this worker may have been terminated between taking the sleeper and waking it.
    this.#bell.wake()
    if (crash !== undefined) this.counts.workersCrashed++
    if (!this.#stopping && this.active < this.#load.min) this.#start()
    this.#listeners.distribute()
    this.#checkStopped()
  }

  /** Gives up workers that are stuck. The next sample of load starts others. */
  #checkProgress(): void {
    const { stuckAfterMs } = this.#settings
    for (const driver of this.#drivers) {
      if (driver.isStuck()) driver.giveUp(`made no progress for ${stuckAfterMs} ms`)
    }
  }

  #sample(): void {
    this.#settings.sampled(this)
    this.#endParked()
    const drivers = this.#activeDrivers()
    if (drivers.length === 0 && this.#load.min === 0) return
    const busy = drivers.reduce((sum, driver) => sum + driver.utilization(), 0)
    const average = busy / Math.max(1, drivers.length)
    const [state, change] = sampleLoad(this.#load, this.#state, drivers.length, average)
    this.#state = state
    if (change > 0) {
      this.#start()
      this.#listeners.distribute()
    } else if (change < 0) this.#park()
  }

  #loop = (): void => {
    for (const driver of this.#drivers) this.#drain(driver)
    if (this.#drivers.size === 0) {
      this.#looping = false
      return
    }
    const ring = this.#bell.sleepUnless(() => {
      let more = false
      for (const driver of this.#drivers) more = driver.hasPending() || more
      return more
    })
    if (ring === undefined) setImmediate(this.#loop)
    else void ring.then(this.#loop)
  }

  /** Drains a worker's ring. Records that it cannot have written end that worker. */
  #drain(driver: WorkerDriver): void {
    try {
      driver.drain()
    } catch (error) {
      driver.terminate(String(error))
    }
  }
}

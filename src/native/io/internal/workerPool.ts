/**
 * All workers of a pool, the main-thread path beside them, and the one loop that consumes what
 * the workers publish.
 *
 * The loop sleeps on a single doorbell that all workers ring. Draining never waits for a
 * worker, and no worker waits for a drain: a full ring is a wish for a doorbell, kept on the
 * side that wants room. A worker that crashes, or makes no progress, is replaced; its lanes end,
 * its listeners move to the new one.
 */
import { Doorbell, doorbellBytes } from "./doorbell.ts"
import { calm, type LoadSettings, sampleLoad } from "./loadPolicy.ts"
import { countGarbage } from "./garbage.ts"
import { noCounts } from "./laneCounts.ts"
import { Listeners } from "./listeners.ts"
import { MainPath } from "./mainThreadDriver.ts"
import type { LinkSizes } from "./linkMemory.ts"
import { lookEvery } from "./progress.ts"
import type { Opener } from "./opener.ts"
import { WorkerLink } from "./workerDriver.ts"

/** Cumulative counts of a pool. */
export interface CrewCounts {
  /** Open jobs done on the main thread because no worker had room. */
  fallbacks: number
  /** Records of older lanes that were dropped. */
  stale: number
  workersStarted: number
  workersCrashed: number
  /** Connections that were opened, adopted or accepted. */
  lanesOpened: number
}

/** How a crew works. */
export interface CrewSettings {
  readonly load: LoadSettings
  /** Milliseconds between samples of load. */
  readonly sampleEvery: number
  /** Milliseconds that a worker has to end after it was asked. */
  readonly stopWithin: number
  /** Milliseconds without progress after which a worker is given up. */
  readonly stuckAfterMs: number
  readonly sizes: LinkSizes
  readonly clock: () => number
  /** Called after each sample, and once when the crew has stopped. */
  readonly sampled: (crew: Crew) => void
}

/** Something to cancel or to close, wherever it went. */
export interface Ticket {
  readonly cancel: () => void
}

/** The workers of one pool. */
export class Crew {
  readonly counts: CrewCounts = {
    fallbacks: 0,
    stale: 0,
    workersStarted: 0,
    workersCrashed: 0,
    lanesOpened: 0
  }
  /** What all lanes have counted. */
  readonly totals = noCounts()
  readonly main: MainPath
  readonly #settings: CrewSettings
  #load: LoadSettings
  readonly #links = new Set<WorkerLink>()
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

  constructor(settings: CrewSettings) {
    this.#settings = settings
    this.#load = settings.load
    this.#origin = settings.clock()
    const regionOf = (id: number) => this.#regionViews.get(id)
    this.main = new MainPath(settings.clock, this.totals, regionOf, this.#opened)
    this.#listeners = new Listeners(this.main, () => this.#activeLinks())
    for (let i = 0; i < settings.load.min; i++) this.#start()
    this.#sampler = setInterval(() => this.#sample(), settings.sampleEvery)
    this.#sampler.unref()
    this.#watchdog = setInterval(() => this.#look(), lookEvery(settings.stuckAfterMs))
    this.#watchdog.unref()
  }

  get links(): ReadonlyArray<WorkerLink> {
    return [...this.#links]
  }

  get active(): number {
    return this.#activeLinks().length
  }

  /** Lanes that are open, and jobs that are out. */
  get lanes(): number {
    return this.links.reduce((sum, link) => sum + link.lanes, this.main.lanes)
  }

  get jobsOut(): number {
    return this.links.reduce((sum, link) => sum + link.jobsOut, this.main.jobsOut)
  }

  /** Opens a connection, in a worker if that is wanted and one has room. */
  open(opener: Opener, inWorker: boolean): Ticket {
    if (inWorker && !this.#stopping) {
      const links = this.#activeLinks()
      const least = Math.min(...links.map((link) => link.lanes))
      const link = links.find((link) => link.lanes === least)
      const job = link?.open(opener)
      if (link !== undefined && job !== undefined) return { cancel: () => link.cancel(job) }
      // Without any worker nothing was tried, so nothing fell back.
      if (links.length > 0) this.counts.fallbacks++
    }
    const job = this.main.open(opener)
    return { cancel: () => this.main.cancel(job) }
  }

  /** Listens, in all workers or on the main thread. The ticket closes the listener: `failed`. */
  listen(opener: Opener, inWorkers: boolean): Ticket {
    const { cancel, fellBack } = this.#listeners.listen(opener, inWorkers && !this.#stopping)
    if (fellBack) this.counts.fallbacks++
    return { cancel }
  }

  /** Resolves when all workers know the memory. */
  async register(id: number, memory: SharedArrayBuffer): Promise<void> {
    this.#regions.set(id, memory)
    this.#regionViews.set(id, new Uint8Array(memory))
    await this.#tell(id, memory)
  }

  /** Resolves when no worker finds the memory any more, or is using it. */
  async unregister(id: number): Promise<void> {
    countGarbage(this.#regions.get(id)?.byteLength ?? 0)
    this.#regions.delete(id)
    this.#regionViews.delete(id)
    await this.#tell(id, undefined)
  }

  #tell(id: number, memory: SharedArrayBuffer | undefined): Promise<unknown> {
    const told = (link: WorkerLink) =>
      new Promise<void>((resolve) => link.region(id, memory, resolve))
    return Promise.all(this.links.map(told))
  }

  /** Changes the number of workers. Lanes stay where they are until they end. */
  resize(min: number, max: number): void {
    this.#load = { ...this.#load, min, max }
    this.#state = calm
    while (this.active > max) this.#park()
    while (this.active < min) this.#start()
    this.#listeners.spread()
  }

  /** Asks everything to end; resolves when every worker has. Completions are consumed on. */
  stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#sampler)
    this.#listeners.close()
    this.main.stop()
    for (const link of this.#links) this.#dismiss(link)
    return new Promise((resolve) => {
      this.#stopped = resolve
      this.#checkStopped()
    })
  }

  /** The pool is stopped once the workers are gone and the main thread's sockets are closed. */
  #checkStopped(): void {
    if (this.#stopped === undefined || this.#links.size > 0) return
    if (this.main.idle) {
      clearInterval(this.#watchdog)
      this.#settings.sampled(this)
      this.#stopped()
    } else setTimeout(() => this.#checkStopped(), 1)
  }

  #activeLinks(): ReadonlyArray<WorkerLink> {
    return [...this.#links].filter((link) => !link.parked)
  }

  #start(): void {
    const { sizes } = this.#settings
    const link = new WorkerLink(sizes, this.#origin, this.#bellMemory, {
      gone: (link, crash) => this.#gone(link, crash),
      opened: this.#opened,
      stale: () => this.counts.stale++,
      regions: () => [...this.#regions],
      totals: this.totals
    })
    this.counts.workersStarted++
    this.#links.add(link)
    if (!this.#looping) {
      this.#looping = true
      this.#loop()
    }
  }

  /** The active worker with the fewest lanes gets no new ones, and ends when it has none. */
  #park(): void {
    const links = this.#activeLinks()
    const least = Math.min(...links.map((link) => link.lanes))
    const link = links.find((link) => link.lanes === least)
    if (link === undefined) return
    link.parked = true
    this.#listeners.leave(link)
    this.#endParked()
  }

  /** Parked workers without lanes are asked to end. */
  #endParked(): void {
    for (const link of this.#links) {
      if (link.parked && link.idle && !link.asked) this.#dismiss(link)
    }
  }

  #dismiss(link: WorkerLink): void {
    if (link.asked) return
    link.stop()
    const timer = setTimeout(() => {
      if (this.#links.has(link)) link.giveUp("did not end in time after it was asked")
    }, this.#settings.stopWithin)
    timer.unref()
  }

  #gone(link: WorkerLink, crash: string | undefined): void {
    this.#links.delete(link)
    if (crash !== undefined) this.counts.workersCrashed++
    if (!this.#stopping && this.active < this.#load.min) this.#start()
    this.#listeners.spread()
    this.#checkStopped()
  }

  /** Gives up workers that are stuck. The next sample of load starts others. */
  #look(): void {
    const { stuckAfterMs } = this.#settings
    for (const link of this.#links) {
      if (link.isStuck()) link.giveUp(`made no progress for ${stuckAfterMs} ms`)
    }
  }

  #sample(): void {
    this.#settings.sampled(this)
    this.#endParked()
    const links = this.#activeLinks()
    if (links.length === 0 && this.#load.min === 0) return
    const busy = links.reduce((sum, link) => sum + link.utilization(), 0)
    const average = busy / Math.max(1, links.length)
    const [state, change] = sampleLoad(this.#load, this.#state, links.length, average)
    this.#state = state
    if (change > 0) {
      this.#start()
      this.#listeners.spread()
    } else if (change < 0) this.#park()
  }

  #loop = (): void => {
    for (const link of this.#links) this.#drain(link)
    if (this.#links.size === 0) {
      this.#looping = false
      return
    }
    const ring = this.#bell.sleepUnless(() => {
      let more = false
      for (const link of this.#links) more = link.pending() || more
      return more
    })
    if (ring === undefined) setImmediate(this.#loop)
    else void ring.then(this.#loop)
  }

  /** A ring that holds what its worker cannot have written ends that worker. */
  #drain(link: WorkerLink): void {
    try {
      link.drain()
    } catch (error) {
      link.terminate(String(error))
    }
  }
}

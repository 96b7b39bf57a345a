/**
 * The main thread's end of one worker: its thread, its rings, and the lanes that live there.
 *
 * Every job that was dispatched has exactly one result. When the thread ends before it answered
 * all of them, the link answers the rest itself: what the worker published is consumed first,
 * then its lanes end with the reason and its open jobs fail.
 */
import type { Worker } from "node:worker_threads"
import { failureOf, type PeerInfo } from "./messages.ts"
import { LaneCore, type LaneDriver } from "./laneHandle.ts"
import type { LaneCounts } from "./laneCounts.ts"
import { threadEnd } from "./endReason.ts"
import { Inlet } from "./inboxWriter.ts"
import { LanePlaces } from "./lanePlaces.ts"
import { type LinkSizes, startWorker, workerMemory } from "./linkMemory.ts"
import type { Opener } from "./opener.ts"
import { OpenJobs } from "./openJobs.ts"
import { OutboxReader } from "./outboxReader.ts"
import { ProgressWatch } from "./progress.ts"
import { addConsumed, heardAt, In } from "./records.ts"
import type { WorkerMessage } from "./worker.ts"
import { WorkerLoad } from "./workerLoad.ts"

/** What a link tells the pool. */
export interface LinkEvents {
  /** The thread ended by itself after it was asked, or it crashed. */
  readonly gone: (link: WorkerLink, crash: string | undefined) => void
  readonly opened: () => void
  /** A record of an older lane was dropped. */
  readonly stale: () => void
  readonly regions: () => ReadonlyArray<readonly [number, SharedArrayBuffer]>
  readonly totals: LaneCounts
}

/** One worker, seen from the main thread. */
export class WorkerLink implements LaneDriver {
  readonly totals: LaneCounts
  readonly recordBytes: number
  readonly #events: LinkEvents
  readonly #sizes: LinkSizes
  readonly #origin: number
  readonly #worker: Worker
  readonly #load: WorkerLoad
  readonly #progress: ProgressWatch
  readonly #inlet: Inlet
  readonly #outbox: OutboxReader
  readonly #table: Int32Array
  readonly #places: LanePlaces
  readonly #jobs = new OpenJobs()
  /** Messages about regions that have no answer, the oldest first. */
  readonly #regionsOut: Array<() => void> = []
  #dirty = new Set<LaneCore>()
  #flushScheduled = false
  #draining = false
  #kept = false
  /** It gets no more jobs, and nothing that it publishes is looked at. */
  #lost = false
  /** Its thread has ended. */
  #gone = false
  #crash: string | undefined
  /** No new lanes are placed here. */
  parked = false
  /** The worker was asked to end. */
  asked = false

  constructor(sizes: LinkSizes, origin: number, mainBell: SharedArrayBuffer, events: LinkEvents) {
    this.#sizes = sizes
    this.#events = events
    this.totals = events.totals
    this.#origin = origin
    const memory = workerMemory(sizes, mainBell)
    this.#inlet = new Inlet(memory)
    this.recordBytes = this.#inlet.recordBytes
    this.#table = new Int32Array(memory.table)
    this.#places = new LanePlaces(sizes.lanes)
    this.#outbox = new OutboxReader(memory, sizes.slab, {
      places: this.#places,
      jobs: this.#jobs,
      admit: this.#admit,
      stale: events.stale
    })
    this.#progress = new ProgressWatch(memory.progress)
    const regions = events.regions()
    this.#worker = startWorker({ memory, origin, slabShape: sizes.slab, regions })
    this.#worker.on("error", (error) => (this.#crash = String(error)))
    this.#worker.on("exit", (code) => this.#exited(code))
    this.#load = new WorkerLoad(this.#worker)
    this.#worker.on("message", (answer: "up" | "region") => {
      if (answer === "region") this.#regionsOut.shift()?.()
      this.#keepAlive()
    })
    this.#worker.unref()
  }

  get lanes(): number {
    return this.#places.size
  }

  get jobsOut(): number {
    let out = this.#jobs.out
    for (const core of this.#places.cores) out += core.jobs.out
    return out
  }

  get idle(): boolean {
    return this.#places.size + this.#jobs.size === 0
  }

  /** The last look before sleep, also for room that was made before it. */
  pending(): boolean {
    if (this.#dirty.size > 0) this.#flush()
    return !this.#lost && this.#outbox.poll()
  }

  /** The share of the time since the last call that the worker was busy, 0 to 1. */
  utilization(): number {
    return this.#lost ? 0 : this.#load.sample()
  }

  /** One look of the watchdog: whether the worker does not get on. One that sleeps is woken. */
  isStuck(): boolean {
    const seen = this.#progress.look()
    if (seen === "none") this.#inlet.ring()
    return seen === "stuck"
  }

  /** Dispatches an open job; its number, or undefined when too many are out. */
  open(opener: Opener): number | undefined {
    if (this.#lost || this.#jobs.out >= this.#sizes.openJobs) return undefined
    const job = this.#jobs.add(opener)
    this.#keepAlive()
    try {
      this.#post({ kind: "open", job, open: opener.job })
    } catch (error) {
      queueMicrotask(() => {
        this.#jobs.failed(job, failureOf("framer", error))
        this.#keepAlive()
      })
    }
    return job
  }

  /** Gives up a job, or closes a listener: the job is answered. */
  cancel(job: number): void {
    this.#post({ kind: "cancel", job })
  }

  isListening(job: number | undefined): boolean {
    return job !== undefined && this.#jobs.isListening(job)
  }

  /** Calls `done` when the worker has obeyed, or its thread has ended: until then it may write. */
  region(id: number, memory: SharedArrayBuffer | undefined, done: () => void): void {
    if (this.#gone) return done()
    this.#post({ kind: "region", id, memory })
    this.#regionsOut.push(done)
    this.#keepAlive()
  }

  /** Asks the worker to close everything in order and to end. */
  stop(): void {
    this.parked = true
    this.asked = true
    this.#keepAlive()
    this.#post({ kind: "stop" })
  }

  /** For a worker that crashed without ending: it does not answer any more. */
  terminate(detail: string): void {
    this.#crash ??= detail
    void this.#worker.terminate()
  }

  /**
   * For a worker that is stuck: its lanes end now; what it published was consumed meanwhile. A
   * thread that runs native code ends later, so listeners and regions are answered for once it has
   * ended.
   */
  giveUp(detail: string): void {
    if (this.#lost) return
    this.terminate(detail)
    this.parked = true
    this.#lose(threadEnd(detail, true))
    this.#keepAlive()
  }

  readonly write = (core: LaneCore, bytes: Uint8Array): boolean =>
    this.#record(core, core.commands ? In.command : In.write, 0, bytes)
  readonly start = (core: LaneCore): boolean => this.#record(core, In.start)
  readonly finish = (core: LaneCore): boolean => this.#record(core, In.finish)
  readonly close = (core: LaneCore, inOrder: boolean): boolean =>
    this.#record(core, In.close, inOrder ? 1 : 0)

  readonly flushSoon = (core: LaneCore): void => {
    this.#dirty.add(core)
    this.#scheduleFlush()
  }

  readonly consumed = (core: LaneCore, bytes: number): void => {
    const slot = this.#places.slotOf(core)
    if (slot === undefined) return
    if (addConsumed(this.#table, slot, bytes)) this.#inlet.ring()
  }

  readonly release = (core: LaneCore): void => {
    const slot = this.#places.slotOf(core)
    if (slot === undefined) return
    if (!this.#record(core, In.release)) {
      this.flushSoon(core)
      return
    }
    core.lastHeard = this.heard(core)
    this.#places.remove(core)
    this.#dirty.delete(core)
    this.#keepAlive()
  }

  readonly heard = (core: LaneCore): number => {
    const slot = this.#places.slotOf(core)
    if (slot === undefined) return core.lastHeard
    return this.#origin + heardAt(this.#table, slot)
  }

  /** Consumes what the worker published; true when there may be more. */
  drain(): boolean {
    if (this.#lost) return false
    if (!this.#outbox.poll()) {
      if (this.#dirty.size > 0) this.#flush()
      return false
    }
    this.#draining = true
    try {
      this.#outbox.consume()
    } finally {
      this.#draining = false
      if (this.#outbox.release()) this.#inlet.ring()
      this.#keepAlive()
      if (this.#inlet.filled || this.#dirty.size > 0) this.#flush()
    }
    return true
  }

  readonly #admit = (
    slot: number,
    generation: number,
    opener: Opener | undefined,
    text: string
  ): LaneCore => {
    const limits = opener?.job.limits ?? this.#sizes.limits
    const peer = (): PeerInfo => JSON.parse(text) as PeerInfo
    const core = new LaneCore(this, peer, limits, opener?.commands === true)
    this.#places.add(core, slot, generation)
    this.#events.opened()
    return core
  }

  #record(core: LaneCore, kind: number, a = 0, bytes?: Uint8Array): boolean {
    const slot = this.#places.slotOf(core)
    if (this.#lost || slot === undefined) return true
    const generation = this.#places.generationOf(slot)
    if (!this.#inlet.record(kind, slot, generation, a, bytes)) return false
    this.#scheduleFlush()
    return true
  }

  /** A drain flushes at its end; otherwise the end of this turn does. */
  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#draining) return
    this.#flushScheduled = true
    setImmediate(() => this.#flush())
  }

  /** Dispatches the jobs of all lanes that asked since the last flush; rings once. */
  #flush(): void {
    this.#flushScheduled = false
    const dirty = this.#dirty
    this.#dirty = new Set()
    for (const core of dirty) {
      if (core.jobs.released) this.release(core)
      else if (!core.flush()) this.#dirty.add(core)
    }
    this.#inlet.flush()
  }

  #post(message: WorkerMessage): void {
    if (this.#gone) return
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window
    this.#worker.postMessage(message)
  }

  /** Waiting on a doorbell keeps no event loop alive, so the thread's handle does. */
  #keepAlive(): void {
    const needed = !this.idle || this.asked || this.#lost || this.#regionsOut.length > 0
    if (needed === this.#kept) return
    this.#kept = needed
    if (needed) this.#worker.ref()
    else this.#worker.unref()
  }

  /** Ends the lanes, and what is being opened. */
  #lose({ failure, reason }: ReturnType<typeof threadEnd>): void {
    this.#lost = true
    for (const core of this.#places.cores) core.lost(reason)
    this.#places.clear()
    this.#jobs.failConnections(failure)
  }

  #exited(code: number): void {
    try {
      while (this.drain());
    } catch (error) {
      this.#crash ??= String(error)
    }
    const crash = this.asked && code === 0 ? undefined : (this.#crash ?? `exit code ${code}`)
    this.#gone = true
    const end = threadEnd(crash, false)
    this.#lose(end)
    this.#jobs.failAll(end.failure)
    for (const answer of this.#regionsOut.splice(0)) answer()
    this.#events.gone(this, crash)
  }
}

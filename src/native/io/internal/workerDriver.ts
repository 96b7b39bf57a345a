/**
 * The main thread's end of one worker: its thread, its rings, and its lanes.
 *
 * Every job that was dispatched has exactly one result. When the thread ends before it completed
 * all of them, the driver completes the rest itself: published records are consumed first, then its
 * lanes end with the reason and its open jobs fail.
 */
import type { Worker } from "node:worker_threads"
import { failureOf, type PeerInfo, threadEnd } from "./messages.ts"
import { LaneHandle, type LaneDriver } from "./laneHandle.ts"
import type { LaneCounts } from "./laneCounts.ts"
import { InboxWriter } from "./inboxWriter.ts"
import { LaneDirectory } from "./laneDirectory.ts"
import { type WorkerSizes, startWorker, workerMemory } from "./workerMemory.ts"
import type { Opener } from "./openJobs.ts"
import { OpenJobs } from "./openJobs.ts"
import { nodeTimers } from "./nodePlatform.ts"
import { OutboxReader } from "./outboxReader.ts"
import { ProgressMonitor } from "./progress.ts"
import { addConsumed, lastReceivedAt, In } from "./records.ts"
import type { TlsSettings } from "./tls.ts"
import type { WorkerMessage } from "./worker.ts"
import { WorkerLoad } from "./loadPolicy.ts"

/** Events of a driver. */
export interface WorkerEvents {
  /** The thread ended by itself after it was asked, or it crashed. */
  readonly gone: (driver: WorkerDriver, crash: string | undefined) => void
  readonly opened: () => void
  /** Called when a record of an older lane was dropped. */
  readonly onStaleRecord: () => void
  readonly regions: () => ReadonlyArray<readonly [number, SharedArrayBuffer]>
  readonly totals: LaneCounts
}

/** One worker on the main thread. */
export class WorkerDriver implements LaneDriver {
  readonly timers = nodeTimers
  readonly totals: LaneCounts
  readonly recordBytes: number
  readonly #events: WorkerEvents
  readonly #sizes: WorkerSizes
  readonly #origin: number
  readonly #worker: Worker
  readonly #load: WorkerLoad
  readonly #progress: ProgressMonitor
  readonly #inbox: InboxWriter
  readonly #outbox: OutboxReader
  readonly #table: Int32Array
  readonly #lanes: LaneDirectory
  readonly #jobs = new OpenJobs()
  /** Messages about regions that have no answer, the oldest first. */
  readonly #pendingRegions: Array<() => void> = []
  #toFlush = new Set<LaneHandle>()
  #isFlushScheduled = false
  #isDraining = false
  #isReferenced = false
  /** It gets no more jobs, and its outbox is not read any more. */
  #isLost = false
  /** Its thread has ended. */
  #hasExited = false
  #crash: string | undefined
  /** Holds the driver, and so the worker's memory, until it is cleared. */
  #stopTimer: NodeJS.Timeout | undefined
  /** No new lanes are placed here. */
  isParked = false
  /** The worker was asked to end. */
  isStopping = false

  constructor(
    sizes: WorkerSizes,
    origin: number,
    mainBell: SharedArrayBuffer,
    events: WorkerEvents
  ) {
    this.#sizes = sizes
    this.#events = events
    this.totals = events.totals
    this.#origin = origin
    const memory = workerMemory(sizes, mainBell)
    this.#inbox = new InboxWriter(memory)
    this.recordBytes = this.#inbox.recordBytes
    this.#table = new Int32Array(memory.table)
    this.#lanes = new LaneDirectory(sizes.lanes)
    this.#outbox = new OutboxReader(memory, sizes.chunkPool, {
      lanes: this.#lanes,
      jobs: this.#jobs,
      admit: this.#admit,
      onStaleRecord: events.onStaleRecord
    })
    this.#progress = new ProgressMonitor(memory.progress)
    const regions = events.regions()
    this.#worker = startWorker({ memory, origin, chunkPoolShape: sizes.chunkPool, regions })
    this.#worker.on("error", (error) => (this.#crash = String(error)))
    this.#worker.on("exit", (code) => this.#exited(code))
    this.#load = new WorkerLoad(this.#worker)
    this.#worker.on("message", (answer: "up" | "region") => {
      if (answer === "region") this.#pendingRegions.shift()?.()
      this.#keepAlive()
    })
    this.#worker.unref()
  }

  get lanes(): number {
    return this.#lanes.size
  }

  get jobsOut(): number {
    let out = this.#jobs.out
    for (const handle of this.#lanes.all) out += handle.operations.pending
    return out
  }

  get isIdle(): boolean {
    return this.#lanes.size + this.#jobs.size === 0
  }

  /** The last check before sleep, also for room that was made before it. */
  hasPending(): boolean {
    if (this.#toFlush.size > 0) this.#flush()
    return !this.#isLost && this.#outbox.poll()
  }

  /** The share of the time since the last call that the worker was busy, 0 to 1. */
  utilization(): number {
    return this.#isLost ? 0 : this.#load.sample()
  }

  /** Checks the progress once; true if the worker is stuck. Wakes a sleeping worker. */
  isStuck(): boolean {
    const seen = this.#progress.check()
    if (seen === "none") this.#inbox.ring()
    return seen === "stuck"
  }

  /** Dispatches an open job; its number, or undefined when too many are out. */
  open(opener: Opener): number | undefined {
    if (this.#isLost || this.#jobs.out >= this.#sizes.openJobsMax) return undefined
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

  /** Cancels a job, or closes a listener: the job completes. */
  cancel(job: number): void {
    this.#post({ kind: "cancel", job })
  }

  renewCertificates(job: number, tls: TlsSettings): void {
    this.#post({ kind: "renew", job, tls })
  }

  isListening(job: number | undefined): boolean {
    return job !== undefined && this.#jobs.isListening(job)
  }

  /**
   * Calls `done` when the worker has complied, or its thread has ended: until then it may write.
   */
  region(id: number, memory: SharedArrayBuffer | undefined, done: () => void): void {
    if (this.#hasExited) return done()
    this.#post({ kind: "region", id, memory })
    this.#pendingRegions.push(done)
    this.#keepAlive()
  }

  /** Asks the worker to close everything in order and to end; gives it up after `withinMs`. */
  stop(withinMs: number): void {
    this.isParked = true
    this.isStopping = true
    this.#keepAlive()
    this.#post({ kind: "stop" })
    const late = () => this.giveUp("did not end in time after it was asked")
    this.#stopTimer = setTimeout(late, withinMs)
    this.#stopTimer.unref()
  }

  /** Ends a worker that crashed without ending its thread: it does not answer any more. */
  terminate(detail: string): void {
    this.#crash ??= detail
    void this.#worker.terminate()
  }

  /**
   * Gives up a stuck worker: its lanes end now, after published records were consumed. A thread
   * that runs native code ends later, so listeners and regions complete once it has ended.
   */
  giveUp(detail: string): void {
    if (this.#isLost) return
    this.terminate(detail)
    this.isParked = true
    this.#lose(threadEnd(detail, true))
    this.#keepAlive()
  }

  readonly write = (handle: LaneHandle, bytes: Uint8Array): boolean =>
    this.#record(handle, handle.takesCommands ? In.command : In.write, 0, bytes)
  readonly start = (handle: LaneHandle): boolean => this.#record(handle, In.start)
  readonly finish = (handle: LaneHandle): boolean => this.#record(handle, In.finish)
  readonly close = (handle: LaneHandle, inOrder: boolean): boolean =>
    this.#record(handle, In.close, inOrder ? 1 : 0)

  readonly flushSoon = (handle: LaneHandle): void => {
    this.#toFlush.add(handle)
    this.#scheduleFlush()
  }

  readonly consumed = (handle: LaneHandle, bytes: number): void => {
    const slot = this.#lanes.slotOf(handle)
    if (slot === undefined) return
    if (addConsumed(this.#table, slot, bytes)) this.#inbox.ring()
  }

  readonly release = (handle: LaneHandle): void => {
    const slot = this.#lanes.slotOf(handle)
    if (slot === undefined) return
    if (!this.#record(handle, In.release)) {
      this.flushSoon(handle)
      return
    }
    handle.lastReceivedAt = this.lastReceivedAt(handle)
    this.#lanes.remove(handle)
    this.#toFlush.delete(handle)
    this.#keepAlive()
  }

  readonly lastReceivedAt = (handle: LaneHandle): number => {
    const slot = this.#lanes.slotOf(handle)
    if (slot === undefined) return handle.lastReceivedAt
    return this.#origin + lastReceivedAt(this.#table, slot)
  }

  /** Consumes published records; true when there may be more. */
  drain(): boolean {
    if (this.#isLost) return false
    if (!this.#outbox.poll()) {
      if (this.#toFlush.size > 0) this.#flush()
      return false
    }
    this.#isDraining = true
    try {
      this.#outbox.consume()
    } finally {
      this.#isDraining = false
      if (this.#outbox.release()) this.#inbox.ring()
      this.#keepAlive()
      if (this.#inbox.hasRecords || this.#toFlush.size > 0) this.#flush()
    }
    return true
  }

  readonly #admit = (
    slot: number,
    generation: number,
    opener: Opener | undefined,
    text: string
  ): LaneHandle => {
    const limits = opener?.job.limits ?? this.#sizes.limits
    const peer = (): PeerInfo => JSON.parse(text) as PeerInfo
    const handle = new LaneHandle(this, peer, limits, opener?.takesCommands === true)
    this.#lanes.add(handle, slot, generation)
    this.#events.opened()
    return handle
  }

  #record(handle: LaneHandle, kind: number, a = 0, bytes?: Uint8Array): boolean {
    const slot = this.#lanes.slotOf(handle)
    if (this.#isLost || slot === undefined) return true
    const generation = this.#lanes.generationOf(slot)
    if (!this.#inbox.record(kind, slot, generation, a, bytes)) return false
    this.#scheduleFlush()
    return true
  }

  /** A drain flushes at its end; otherwise the end of this turn does. */
  #scheduleFlush(): void {
    if (this.#isFlushScheduled || this.#isDraining) return
    this.#isFlushScheduled = true
    setImmediate(() => this.#flush())
  }

  /** Dispatches the jobs of all lanes that asked since the last flush; rings once. */
  #flush(): void {
    this.#isFlushScheduled = false
    const dirty = this.#toFlush
    this.#toFlush = new Set()
    for (const handle of dirty) {
      if (handle.operations.isReleased) this.release(handle)
      else if (!handle.flush()) this.#toFlush.add(handle)
    }
    this.#inbox.flush()
  }

  #post(message: WorkerMessage): void {
    if (this.#hasExited) return
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window
    this.#worker.postMessage(message)
  }

  /** Waiting on a doorbell keeps no event loop alive, so the thread's handle does. */
  #keepAlive(): void {
    const needed =
      !this.isIdle || this.isStopping || this.#isLost || this.#pendingRegions.length > 0
    if (needed === this.#isReferenced) return
    this.#isReferenced = needed
    if (needed) this.#worker.ref()
    else this.#worker.unref()
  }

  /** Ends the lanes and the open jobs. */
  #lose({ failure, reason }: ReturnType<typeof threadEnd>): void {
    this.#isLost = true
    for (const handle of this.#lanes.all) handle.lost(reason)
    this.#lanes.clear()
    this.#jobs.failConnections(failure)
  }

  #exited(code: number): void {
    try {
      while (this.drain());
    } catch (error) {
      this.#crash ??= String(error)
    }
    const crash = this.isStopping && code === 0 ? undefined : (this.#crash ?? `exit code ${code}`)
    this.#hasExited = true
    clearTimeout(this.#stopTimer)
    const end = threadEnd(crash, false)
    this.#lose(end)
    this.#jobs.failAll(end.failure)
    for (const answer of this.#pendingRegions.splice(0)) answer()
    this.#events.gone(this, crash)
  }
}

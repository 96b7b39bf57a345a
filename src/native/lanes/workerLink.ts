/**
 * The main thread's end of one worker: its thread, its rings, and the lanes that live there.
 *
 * Every job that was dispatched has exactly one result. When the thread ends before it answered
 * all of them, the link answers the rest itself: what the worker published is consumed first,
 * then its lanes end with the reason and its open jobs fail.
 */
import type { Worker } from "node:worker_threads"
import { failureOf, type OpenFailure, type PeerInfo } from "./jobs.ts"
import { LaneCore, type LaneCounts, type LaneDriver } from "./laneCore.ts"
import { decoded, threadEnd } from "./endReason.ts"
import { Inlet } from "./inlet.ts"
import { LanePlaces } from "./lanePlaces.ts"
import { type LinkSizes, startWorker, workerMemory } from "./linkMemory.ts"
import type { Opener } from "./opener.ts"
import { OpenJobs } from "./openJobs.ts"
import { addConsumed, At, heardAt, In, Out, textAt } from "./records.ts"
import { RingConsumer } from "./ring.ts"
import { slabMemory, SlabReader } from "./slab.ts"
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

/** Records per drain, so that the loop's other work gets its turn. */
const recordsPerTurn = 4096

/** One worker, seen from the main thread. */
export class WorkerLink implements LaneDriver {
  readonly totals: LaneCounts
  readonly recordBytes: number
  readonly #events: LinkEvents
  readonly #sizes: LinkSizes
  readonly #origin: number
  readonly #worker: Worker
  readonly #load: WorkerLoad
  readonly #inlet: Inlet
  readonly #outbox: RingConsumer
  readonly #slab: SlabReader
  readonly #table: Int32Array
  readonly #places: LanePlaces
  readonly #jobs = new OpenJobs()
  /** Messages about regions that have no answer, the oldest first. */
  readonly #regionsOut: Array<() => void> = []
  #dirty = new Set<LaneCore>()
  #flushScheduled = false
  #draining = false
  #kept = false
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
    this.#outbox = new RingConsumer(new Int32Array(memory.outbox))
    this.#slab = new SlabReader(slabMemory(memory.slab, sizes.slab))
    this.#table = new Int32Array(memory.table)
    this.#places = new LanePlaces(sizes.lanes)
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
    return this.#outbox.poll()
  }

  /** The share of the time since the last call that the worker was busy, 0 to 1. */
  utilization(): number {
    return this.#gone ? 0 : this.#load.sample()
  }

  /** Dispatches an open job; its number, or undefined when too many are out. */
  open(opener: Opener): number | undefined {
    if (this.#gone || this.#jobs.out >= this.#sizes.openJobs) return undefined
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

  /** Calls `done` when the worker has obeyed, or has ended. */
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
    if (!this.#outbox.poll()) {
      if (this.#dirty.size > 0) this.#flush()
      return false
    }
    this.#draining = true
    let left = recordsPerTurn
    try {
      for (let at = this.#outbox.next(); at >= 0; at = left-- > 0 ? this.#outbox.next() : -1) {
        this.#consume(at)
      }
    } finally {
      this.#draining = false
      this.#outbox.release()
      // Both wishes are looked at: either may be what the worker waits for.
      const room = this.#outbox.takeWaiting()
      if (this.#slab.takeWaiting() || room) this.#inlet.ring()
      if (this.#inlet.filled || this.#dirty.size > 0) this.#flush()
    }
    return true
  }

  #consume(at: number): void {
    const { words } = this.#outbox
    const kind = words[at + At.kind] ?? 0
    const slot = words[at + At.slot] ?? 0
    const generation = words[at + At.generation] ?? 0
    const a = words[at + At.a] ?? 0
    const b = words[at + At.b] ?? 0
    const c = words[at + At.c] ?? 0
    const from = words[at + At.d] ?? 0
    if (kind === Out.frames) {
      const { bytes, ends } = this.#slab.memory
      this.#lane(slot, generation)?.frames(bytes, ends, b, c, from)
      this.#slab.finish(a)
    } else if (kind === Out.part) {
      this.#lane(slot, generation)?.part(this.#slab.memory.bytes, from, from + b, c)
      this.#slab.finish(a)
    } else if (kind === Out.written) this.#lane(slot, generation)?.written(a)
    else if (kind === Out.finished) this.#lane(slot, generation)?.finished()
    else if (kind === Out.peerEnded) this.#lane(slot, generation)?.endedByPeer()
    else if (kind === Out.closed) {
      this.#lane(slot, generation)?.ended(decoded(a, b, textAt(this.#outbox, at)))
    } else this.#answer(at, kind, slot, generation)
  }

  #answer(at: number, kind: number, slot: number, generation: number): void {
    const { words } = this.#outbox
    const [job = 0, port = 0] = [words[at + At.a], words[at + At.b]]
    const text = textAt(this.#outbox, at)
    if (kind === Out.accepted) {
      const listener = this.#jobs.listener(job)
      const core = this.#admit(slot, generation, listener, text)
      if (listener === undefined) core.abort()
      else listener.accepted(core)
      return
    }
    if (kind === Out.opened) {
      const opener = this.#jobs.opened(job)
      const core = this.#admit(slot, generation, opener, text)
      if (opener === undefined) core.abort()
      else opener.opened(core)
    } else if (kind === Out.listening) this.#jobs.listening(job, text, port)
    else this.#jobs.failed(job, JSON.parse(text) as OpenFailure)
    this.#keepAlive()
  }

  #admit(slot: number, generation: number, opener: Opener | undefined, text: string): LaneCore {
    const limits = opener?.job.limits ?? this.#sizes.limits
    const peer = (): PeerInfo => JSON.parse(text) as PeerInfo
    const core = new LaneCore(this, peer, limits, opener?.commands === true)
    this.#places.add(core, slot, generation)
    this.#events.opened()
    this.#keepAlive()
    return core
  }

  /** The lane of a record; undefined, and counted, when the record is of an older one. */
  #lane(slot: number, generation: number): LaneCore | undefined {
    const core = this.#places.find(slot, generation)
    if (core === undefined) this.#events.stale()
    return core
  }

  #record(core: LaneCore, kind: number, a = 0, bytes?: Uint8Array): boolean {
    const slot = this.#places.slotOf(core)
    if (this.#gone || slot === undefined) return true
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
    const needed = !this.idle || this.asked || this.#regionsOut.length > 0
    if (needed === this.#kept) return
    this.#kept = needed
    if (needed) this.#worker.ref()
    else this.#worker.unref()
  }

  #exited(code: number): void {
    try {
      while (this.drain());
    } catch (error) {
      this.#crash ??= String(error)
    }
    this.#gone = true
    const crash = this.asked && code === 0 ? undefined : (this.#crash ?? `exit code ${code}`)
    const { failure, reason } = threadEnd(crash)
    for (const core of this.#places.cores) core.lost(reason)
    this.#places.clear()
    this.#jobs.failAll(failure)
    for (const answer of this.#regionsOut.splice(0)) answer()
    this.#events.gone(this, crash)
  }
}

/**
 * The work of one card: it posts slices while there is room, and takes back those that ended.
 *
 * Everything here happens in reaction to something: a transfer came, a link is ready, work ended.
 * Nothing is looked at again and again, and nothing is allocated for a post.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import { type Completion, CompletionBatch } from "../../../native/verbs/Completion.ts"
import { type Posted, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { Nic } from "../Nic.ts"
import type { ReadyLink } from "../ReadyLink.ts"
import * as Metrics from "../TransferMetrics.ts"
import type { Core } from "./core.ts"
import type { Job } from "./job.ts"
import type { Peer } from "./peer.ts"
import { blameOf, Health } from "./rails.ts"
import type { Slice } from "./slice.ts"
import type { Way } from "./way.ts"
import { faultOf } from "./ways.ts"

const written = Metric.withAttributes(Metrics.movedBytes, { direction: "write" })
const read = Metric.withAttributes(Metrics.movedBytes, { direction: "read" })

export class Pump {
  readonly index: number
  readonly nic: Nic
  readonly health: Health
  readonly #core: Core
  /** Slices that are posted, by the number that their completion has. */
  readonly #slots: Array<Slice | undefined> = []
  readonly #free: Array<number> = []
  readonly #request = new SendRequest()
  readonly #batch = new CompletionBatch()
  /** Ways that could post, in the order of their turns. */
  readonly #hungry: Array<Way> = []
  /** Ways that have something posted or could post. */
  #active = 0
  /** Jobs of which something ended in this batch. */
  readonly #news: Array<Job> = []
  /** Peers whose work has come back, and waits for another way. */
  readonly #stranded = new Set<Peer>()
  readonly #counts = { written: 0, read: 0, slices: 0, failed: 0 }
  #isWatched = false
  posted = 0
  /** For messages to people. */
  gid: string | undefined = undefined
  /** The device is gone, with everything that was made on it. */
  isGone = false

  constructor(index: number, nic: Nic, core: Core) {
    this.index = index
    this.nic = nic
    this.health = new Health(core.settings)
    this.#core = core
  }

  /** A way has work or room, or both: it gets its turns. */
  feed(way: Way): void {
    this.#queue(way)
    this.#fill()
  }

  /** Reads completions until the card is gone. */
  get run(): Effect.Effect<void> {
    const { completions, device } = this.nic
    const read = completions.ready.pipe(
      Effect.andThen(Effect.sync(() => this.#drain())),
      Effect.forever,
      Effect.ignore
    )
    // They end when the device is removed.
    const events = Stream.runDrain(device.events)
    return Effect.andThen(
      Effect.raceFirst(read, events),
      Effect.sync(() => this.#lose())
    )
  }

  /** The links that work of a job is posted on. */
  linksOf(job: Job): ReadonlySet<ReadyLink> {
    const links = new Set<ReadyLink>()
    for (const slice of this.#slots) if (slice?.job === job) links.add(slice.link!)
    return links
  }

  #queue(way: Way): void {
    if (way.isHungry || !way.isOpen) return
    way.isHungry = true
    this.#hungry.push(way)
    this.#account(way)
  }

  #account(way: Way): void {
    const isActive = way.isHungry || way.posted > 0
    if (isActive !== way.isActive) this.#active += isActive ? 1 : -1
    way.isActive = isActive
  }

  #fill(): void {
    while (this.#hungry.length > 0 && this.posted < this.nic.completions.capacity) {
      const way = this.#hungry.shift()!
      way.isHungry = this.#turn(way)
      if (way.isHungry) this.#hungry.push(way)
      this.#account(way)
    }
    if (this.posted > 0) this.#watch()
  }

  /**
   * A way posts some slices. True if it could go on. What it may have posted is its share of the
   * card, so that a peer that ends nothing cannot take the card from the others.
   */
  #turn(way: Way): boolean {
    const { capacity } = this.nic.completions
    const { quantum } = this.#core.settings
    const share = Math.max(quantum, Math.floor(capacity / this.#active))
    for (let count = 0; count < quantum; count++) {
      const { link } = way
      if (link === undefined || link.room < 1 || way.posted >= share) break
      if (this.posted === capacity) return true
      const slice = way.peer.next()
      if (slice === undefined) break
      const posted = this.#post(way, link, slice)
      if (posted !== "accepted") return this.#refuse(way, link, slice, posted)
      if (count === quantum - 1) return true
    }
    if (way.link !== undefined && !way.link.isOpen)
      way.peer.ways.lost(way, { blame: "none", status: "ended" })
    return false
  }

  #post(way: Way, link: ReadyLink, slice: Slice): Posted | "not-ready" {
    const { memory, isWrite, offset } = slice.job!.plans[slice.operation]!
    const { at, buffer } = slice.found
    const request = this.#request
    const place = offset + slice.at
    const chunk = Math.floor(place / memory.chunkBytes)
    const id = this.#free.pop() ?? this.#slots.length
    request.id = id
    request.opcode = isWrite ? "write" : "read"
    request.parts
      .clear()
      .add(memory.regions[this.index]![chunk]!, place % memory.chunkBytes, slice.length)
    const address = buffer!.addresses?.[way.remote] ?? buffer!.address
    request.remote(buffer!.keys[way.remote]!, address + at)
    const posted = link.post(request)
    if (posted !== "accepted") {
      this.#free.push(id)
      return posted
    }
    if (way.posted === 0) way.progressAt = this.#core.now()
    this.#slots[id] = slice
    slice.way = way
    slice.link = link
    slice.job!.posted += 1
    way.posted += 1
    this.posted += 1
    return posted
  }

  /** A post was not taken: nothing was tried, so it counts for nothing. */
  #refuse(
    way: Way,
    link: ReadyLink,
    slice: Slice,
    posted: Exclude<Posted, "accepted"> | "not-ready"
  ): boolean {
    const job = slice.job!
    if (posted === "queue-full" || posted === "completions-full") {
      job.back(slice)
      way.peer.queue(job)
      return false
    }
    if (posted === "not-ready" || posted === "wrong-state") {
      job.back(slice)
      way.peer.queue(job)
      // Its queue pair has failed, which nobody else may have noticed.
      if (posted === "wrong-state") this.#core.links.retire(link, posted)
      way.peer.ways.lost(way, { blame: "none", status: posted })
      return false
    }
    const { pool } = this.#core
    pool.give(slice)
    job.halt({ reason: "refused", detail: `${this.nic.path} takes no such work: ${posted}` }, pool)
    job.settle()
    return true
  }

  #drain(): number {
    const batch = this.#batch
    this.nic.completions.poll(batch)
    const now = this.#core.now()
    for (let index = 0; index < batch.count; index++) this.#end(batch.at(index), now)
    this.#tell()
    this.#fill()
    for (const { ways } of this.#stranded) ways.feed()
    this.#stranded.clear()
    return batch.count
  }

  #end(completion: Completion, now: number): void {
    const slice = this.#slots[completion.id]
    // Receives of others may end in the same queue.
    if (slice === undefined) return
    this.#slots[completion.id] = undefined
    this.#free.push(completion.id)
    this.posted -= 1
    const way = slice.way!
    way.posted -= 1
    way.progressAt = now
    const job = slice.job!
    job.posted -= 1
    if (completion.status === "success") this.#succeed(way, job, slice)
    else this.#fail(way, job, slice, completion)
    this.#queue(way)
    this.#account(way)
    job.settle()
  }

  #succeed(way: Way, job: Job, slice: Slice): void {
    const counts = this.#counts
    counts.slices += 1
    if (job.plans[slice.operation]!.isWrite) counts.written += slice.length
    else counts.read += slice.length
    job.done(slice)
    if (!job.isNews) this.#news.push(job)
    job.isNews = true
    this.#core.pool.give(slice)
    way.moved()
    way.peer.breaker.moved()
  }

  #fail(way: Way, job: Job, slice: Slice, { queuePair, status }: Completion): void {
    this.#counts.failed += 1
    const { link } = slice
    const blame = blameOf(status)
    const fault = faultOf(way, link, queuePair, status)
    if (way.link === link) {
      if (blame === "request") way.endedByRequest = link
      way.peer.ways.lost(way, { blame, status, queuePair })
    }
    this.#stranded.add(way.peer)
    const { pool } = this.#core
    if (job.stop !== undefined) return pool.give(slice)
    if (blame === "request") {
      pool.give(slice)
      return job.halt({ reason: "refused", detail: "the memory may not be used so", fault }, pool)
    }
    const counts = status !== "flushed" || way.endedByRequest !== link
    if (job.failed(slice, counts)) return way.peer.queue(job)
    pool.give(slice)
    const detail = `a slice of operation ${slice.operation} failed as often as one may`
    job.halt({ reason: "attempts-exhausted", detail, fault }, pool)
  }

  #tell(): void {
    const counts = this.#counts
    const { context } = this.#core
    if (counts.written > 0) written.updateUnsafe(counts.written, context)
    if (counts.read > 0) read.updateUnsafe(counts.read, context)
    if (counts.slices > 0) Metrics.slices.updateUnsafe(counts.slices, context)
    if (counts.failed > 0) Metrics.failedSlices.updateUnsafe(counts.failed, context)
    counts.written = counts.read = counts.slices = counts.failed = 0
    for (const job of this.#news) {
      job.isNews = false
      for (const tell of job.watchers) tell()
    }
    this.#news.length = 0
  }

  /** Looks for links on which nothing ends, as long as something is posted. */
  #watch(): void {
    if (this.#isWatched) return
    this.#isWatched = true
    const { fork, settings } = this.#core
    const look = Effect.suspend(() => {
      this.#isWatched = this.posted > 0
      if (this.#isWatched) this.#giveUpStalled()
      return this.#isWatched ? again : Effect.void
    })
    const again: Effect.Effect<void> = Effect.delay(look, settings.stall / 2)
    fork(again)
  }

  #giveUpStalled(): void {
    const before = this.#core.now() - this.#core.settings.stall
    for (const slice of this.#slots) {
      const way = slice?.way
      if (way === undefined || way.progressAt > before || way.link !== slice!.link) continue
      way.peer.ways.lost(way, { blame: "rail", status: "stalled" })
    }
  }

  /** The card is gone. What its completions do not tell of any more is nobody's. */
  #lose(): void {
    while (this.#drain() > 0);
    this.isGone = true
    for (const [id, slice] of this.#slots.entries()) {
      if (slice === undefined) continue
      const { job, way } = slice
      this.#slots[id] = undefined
      way!.posted -= 1
      job!.posted -= 1
      if (job!.stop === undefined && job!.failed(slice, false)) way!.peer.queue(job!)
      else this.#core.pool.give(slice)
      job!.settle()
    }
    this.posted = 0
    for (const { ways } of this.#core.peers.values()) ways.leave(this.index)
  }
}

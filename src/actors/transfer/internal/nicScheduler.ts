/**
 * The work of one card: it posts slices while there is room, and takes back those that ended.
 *
 * Everything here happens in reaction to something: a transfer came, a link is ready, work ended.
 * Nothing is looked at again and again, and no object is made for a post.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import {
  Completion,
  CompletionBatch,
  type CompletionQueue
} from "../../../native/verbs/Completion.ts"
import type { Region } from "../../../native/verbs/Region.ts"
import type { Posted } from "../../../native/verbs/WorkRequest.ts"
import type { Nic, Place } from "../../rdma/Nic.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"
import type { Core } from "./core.ts"
import type { Job } from "./job.ts"
import type { Peer } from "./peer.ts"
import { Posting } from "./posting.ts"
import { Probes } from "./probing.ts"
import { blameOf } from "./railSelection.ts"
import type { Slice } from "./slice.ts"
import { Stalls } from "./stallDetector.ts"
import { Tally } from "./transferCounters.ts"
import { type Trail, Trails } from "./writeConfirmation.ts"
import type { Way } from "./rail.ts"

export class Pump {
  readonly index: number
  readonly nic: Nic
  readonly health: FaultWindow
  readonly #core: Core
  readonly #posting: Posting
  readonly #batch = new CompletionBatch()
  /** Ways that could post, in the order of their turns. */
  readonly #hungry: Array<Way> = []
  /** Ways that have something posted or could post. */
  #active = 0
  /** Ways for which there was no room. */
  readonly #crowded = new Set<Way>()
  readonly #probes: Probes
  /** Peers whose work has come back, and waits for another way. */
  readonly #stranded = new Set<Peer>()
  readonly #tally: Tally
  readonly #trails: Trails
  readonly #stalls: Stalls
  /** Those of the device that is read from; it may be gone. */
  #completions: CompletionQueue
  /** Where the card is, or was when it last said so. */
  place: Place | undefined = undefined
  /** The device is gone, with everything that was made on it. */
  isGone = false

  constructor(index: number, nic: Nic, core: Core) {
    this.index = index
    this.nic = nic
    this.health = core.faultWindow()
    this.#core = core
    this.#posting = new Posting(core, index)
    this.#probes = new Probes(this.#posting, core.pool)
    this.#tally = new Tally(core.context)
    this.#stalls = new Stalls(core, this.#posting.posted)
    this.#trails = new Trails({
      ask: (trail) => this.#ask(trail),
      ended: (slice) => this.#posting.take(slice),
      arrived: (way, slice) => this.#succeed(way, slice),
      failed: (way, slice, end) => this.#fail(way, slice, end)
    })
    this.#completions = nic.completions
  }

  /** Where the answers to empty reads go. */
  set scratch(region: Region) {
    this.#posting.scratch = region
  }

  /** A way has work or room, or both: it gets its turns. */
  feed(way: Way): void {
    this.#queue(way)
    this.#fill()
  }

  /** Reads completions; when the card was gone and is there again, `renew` has to make it ready. */
  run(renew: Effect.Effect<void>): Effect.Effect<void> {
    const life = Effect.suspend(() => {
      const { completions, device, returned } = this.nic
      this.#completions = completions
      const read = completions.ready.pipe(
        Effect.andThen(Effect.sync(() => this.#drain())),
        Effect.forever,
        Effect.ignore
      )
      // They end when the device is removed.
      const events = Stream.runDrain(device.events)
      const lose = Effect.sync(() => this.#lose())
      return Effect.raceFirst(read, events).pipe(Effect.andThen(lose), Effect.andThen(returned))
    })
    return Effect.forever(Effect.andThen(life, renew))
  }

  /** Whether the peer still answers on a way's link. */
  probe(way: Way): Effect.Effect<boolean> {
    return this.#probes.probe(way, () => this.#fill())
  }

  /** Gives up the links that work of a job is posted on. Work of others on them has not failed. */
  leaveLinksOf(job: Job): void {
    const links = new Map<ReadyLink, Way>()
    for (const { job: one, link, way } of this.#posting.posted.values()) {
      if (one === job) links.set(link!, way!)
    }
    for (const [link, way] of this.#trails.linksOf(job)) links.set(link, way)
    for (const [link, way] of links) way.peer.ways.leave(way, "its work was cancelled", link)
  }

  #queue(way: Way): void {
    if (way.isHungry) return
    if (!way.isOpen) {
      // Its link may have ended with nothing posted that would tell of that.
      if (way.link !== undefined) this.#stranded.add(way.peer)
      return
    }
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
    this.#probes.send(this.nic.completions.capacity)
    while (this.#hungry.length > 0 && this.#posting.posted.size < this.nic.completions.capacity) {
      const way = this.#hungry.shift()!
      way.isHungry = this.#turn(way)
      this.#trails.ask()
      if (way.isHungry) this.#hungry.push(way)
      this.#account(way)
    }
    if (this.#posting.posted.size > 0) this.#stalls.watch()
  }

  /**
   * A way posts some slices. True if it could go on. What it may have posted is its share of the
   * card, and one share is kept for who comes next: so a peer that ends nothing cannot take the
   * card from the others, not even if it was there first.
   */
  #turn(way: Way): boolean {
    const { capacity } = this.nic.completions
    const { quantum } = this.#core.settings
    const share = Math.max(quantum, Math.floor(capacity / (this.#active + 1)))
    for (let count = 0; count < quantum; count++) {
      const { link } = way
      if (link === undefined || link.room < 1 || way.posted >= share) break
      if (this.#posting.posted.size === capacity) return true
      const slice = way.peer.next(way)
      if (slice === undefined) break
      const posted = this.#post(way, link, slice)
      if (posted !== "accepted") return this.#refuse(way, slice, posted)
      if (count === quantum - 1) return true
    }
    if (way.link !== undefined && !way.link.isOpen)
      way.peer.ways.lost(way, { blame: "none", status: "ended" })
    return false
  }

  #post(way: Way, link: ReadyLink, slice: Slice): Posted | "not-ready" {
    const job = slice.job!
    const isAsked = job.plans[slice.operation]!.isWrite && !this.nic.acknowledges
    const { capacity, reserved } = this.#completions
    // Where there is no room behind it for the question, there will be once this has ended.
    const isSignalled = !isAsked || link.room < 2 || reserved + 2 > capacity
    const posted = this.#posting.data(slice, way, link, isSignalled)
    if (posted !== "accepted") return posted
    job.posted += 1
    if (isAsked) this.#trails.posted(slice)
    return posted
  }

  /** A post was not taken: nothing was tried, so it counts for nothing. */
  #refuse(way: Way, slice: Slice, posted: Exclude<Posted, "accepted"> | "not-ready"): boolean {
    const { pool } = this.#core
    const job = slice.job!
    switch (posted) {
      case "not-ready":
      case "wrong-state":
      case "queue-full":
      case "completions-full": {
        job.back(slice)
        way.peer.queue(job)
        const isLost = posted === "not-ready" || posted === "wrong-state"
        // If nothing of its own will end, the room that there will be is told by what others end.
        if (!isLost) this.#crowded.add(way)
        if (isLost) way.peer.ways.lost(way, { blame: "none", status: posted })
        return false
      }
      default: {
        pool.give(slice)
        const detail = `${this.nic.path} takes no such work: ${posted}`
        job.halt({ reason: "refused", detail }, pool)
        job.settle()
        return true
      }
    }
  }

  #drain(): number {
    const batch = this.#batch
    this.#completions.poll(batch)
    const now = this.#core.now()
    for (let index = 0; index < batch.count; index++) this.#end(batch.at(index), now)
    // Before others take the room that there is now.
    this.#trails.ask()
    for (const way of this.#crowded) this.#queue(way)
    this.#crowded.clear()
    this.#tally.tell()
    this.#fill()
    for (const { ways } of this.#stranded) ways.feed()
    this.#stranded.clear()
    return batch.count
  }

  #end(completion: Completion, now: number): void {
    const slice = this.#posting.posted.get(completion.id)
    // Receives of others may end in the same queue.
    if (slice === undefined) return
    const { job, trail } = slice
    const way = slice.way!
    way.progressAt = now
    if (slice.onAnswer !== undefined) {
      this.#posting.take(slice)
      slice.onAnswer(completion.status === "success")
      if (completion.status !== "success" && way.link === slice.link) this.#lost(way, completion)
      this.#core.pool.give(slice)
    } else if (trail === undefined) {
      this.#posting.take(slice)
      if (completion.status === "success") this.#succeed(way, slice)
      else this.#fail(way, slice, completion)
    } else if (job === undefined) {
      this.#trails.answered(slice, trail, completion)
      this.#core.pool.give(slice)
    } else this.#trails.ended(slice, trail, completion)
    this.#queue(way)
    this.#account(way)
  }

  /** Posts the question whether writes have arrived. */
  #ask(trail: Trail): Posted | "not-ready" {
    const { link, queuePair, way } = trail
    const question = this.#core.pool.take()
    question.trail = trail
    question.number = trail.count
    const posted = this.#posting.emptyRead(question, way, link, queuePair)
    if (posted !== "accepted") this.#core.pool.give(question)
    return posted
  }

  #succeed(way: Way, slice: Slice): void {
    const { length, operation } = slice
    const job = slice.job!
    if (job.done(slice, way.peer.memory, this.#core.pool)) this.#tally.moved(job, operation, length)
    way.moved()
    way.peer.breaker.moved()
    this.#settle(way, job)
  }

  #settle({ peer }: Way, job: Job): void {
    job.posted -= 1
    job.settle()
    if (!job.hasWork || job.isQueued) return
    peer.queue(job)
    this.#stranded.add(peer)
  }

  #lost(way: Way, { queuePair, status }: Completion): void {
    way.peer.ways.lost(way, { blame: blameOf(status), status, queuePair })
    this.#stranded.add(way.peer)
  }

  #fail(way: Way, slice: Slice, { queuePair, status }: Completion): void {
    this.#tally.failed()
    const job = slice.job!
    const { link } = slice
    const blame = blameOf(status)
    if (way.link === link) {
      if (blame === "request") way.spared.add(link!)
      way.peer.ways.lost(way, { blame, status, queuePair })
    }
    this.#stranded.add(way.peer)
    const { pool } = this.#core
    const counts = status !== "flushed" || !way.spared.has(link!)
    const isRefused = blame === "request" && (status !== "remote-access" || job.refused(slice))
    const isOver = job.stop !== undefined || isRefused
    if (job.isEmptying) pool.give(slice)
    else if (!isOver && job.failed(slice, counts)) way.peer.queue(job)
    else {
      const fault = way.faultOf(link, queuePair, status)
      const detail = `a slice of operation ${slice.operation} ended with ${status}`
      const reason = isRefused ? "refused" : "attempts-exhausted"
      pool.give(slice)
      job.halt({ reason, detail, fault }, pool)
    }
    this.#settle(way, job)
  }

  /**
   * The card is gone. What its completions do not tell of any more is flushed. Nothing else waits
   * for an answer: a drain asks about all writes, and fails those of a link that takes no question.
   */
  #lose(): void {
    while (this.#drain() > 0);
    this.isGone = true
    const end = new Completion()
    end.status = "flushed"
    for (const id of this.#posting.posted.keys()) {
      end.id = id
      this.#end(end, this.#core.now())
    }
    for (const { ways } of this.#core.peers.values()) ways.leaveCard(this.index)
  }
}

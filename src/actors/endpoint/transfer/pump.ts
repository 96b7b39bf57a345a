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
import { type Posted, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { Nic, Place } from "../Nic.ts"
import type { ReadyLink } from "../ReadyLink.ts"
import type { Core } from "./core.ts"
import type { Job } from "./job.ts"
import type { Peer } from "./peer.ts"
import { blameOf, Health } from "./rails.ts"
import type { Slice } from "./slice.ts"
import { Stalls } from "./stalls.ts"
import { Tally } from "./tally.ts"
import { type Trail, Trails } from "./trails.ts"
import type { Way } from "./way.ts"

/** Numbers begin anew after this one: V8 would make an object of a larger one. */
const lastNumber = 0x3fff_ffff

export class Pump {
  readonly index: number
  readonly nic: Nic
  readonly health: Health
  readonly #core: Core
  /**
   * What is posted, by the number that its completion has. No number comes again while anybody
   * could remember it, so the completion of work that was given up is recognised and dropped.
   */
  readonly #posted = new Map<number, Slice>()
  #last = 0
  readonly #request = new SendRequest()
  readonly #batch = new CompletionBatch()
  /** Ways that could post, in the order of their turns. */
  readonly #hungry: Array<Way> = []
  /** Ways that have something posted or could post. */
  #active = 0
  /** Peers whose work has come back, and waits for another way. */
  readonly #stranded = new Set<Peer>()
  readonly #tally: Tally
  readonly #trails: Trails
  readonly #stalls: Stalls
  /** Where the answers to questions go, which are empty: of a card that does not tell of writes. */
  scratch: Region | undefined = undefined
  /** Those of the device that is read from; it may be gone. */
  #completions: CompletionQueue
  /** Where the card is, or was when it last said so. */
  place: Place | undefined = undefined
  /** The device is gone, with everything that was made on it. */
  isGone = false

  constructor(index: number, nic: Nic, core: Core) {
    this.index = index
    this.nic = nic
    this.health = new Health(core.settings)
    this.#core = core
    this.#tally = new Tally(core.context)
    this.#stalls = new Stalls(core, this.#posted)
    this.#trails = new Trails({
      ask: (trail) => this.#ask(trail),
      ended: (slice) => this.#take(slice),
      arrived: (way, slice) => this.#succeed(way, slice),
      failed: (way, slice, end) => this.#fail(way, slice, end)
    })
    this.#completions = nic.completions
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

  /** The links that work of a job is posted on. */
  linksOf(job: Job): ReadonlySet<ReadyLink> {
    const links = new Set<ReadyLink>()
    for (const slice of this.#posted.values()) if (slice.job === job) links.add(slice.link!)
    for (const link of this.#trails.linksOf(job)) links.add(link)
    return links
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
    while (this.#hungry.length > 0 && this.#posted.size < this.nic.completions.capacity) {
      const way = this.#hungry.shift()!
      way.isHungry = this.#turn(way)
      this.#trails.ask()
      if (way.isHungry) this.#hungry.push(way)
      this.#account(way)
    }
    if (this.#posted.size > 0) this.#stalls.watch()
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
      if (this.#posted.size === capacity) return true
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
    const { memory, isWrite, offset } = slice.job!.plans[slice.operation]!
    const { at, buffer } = slice.found
    const request = this.#request
    const place = offset + slice.at
    const chunk = Math.floor(place / memory.chunkBytes)
    request.opcode = isWrite ? "write" : "read"
    request.parts
      .clear()
      .add(memory.regions[this.index]![chunk]!, place % memory.chunkBytes, slice.length)
    request.remote(buffer!.keys[way.remote]!, buffer!.address + at)
    const queuePair = link.roomiest
    const isAsked = isWrite && !this.nic.acknowledges
    const { capacity, reserved } = this.#completions
    // Where there is no room behind it for the question, there will be once this has ended.
    request.signalled = !isAsked || link.room < 2 || reserved + 2 > capacity
    const posted = this.#hand(way, link, slice, queuePair)
    if (posted !== "accepted") return posted
    slice.job!.posted += 1
    if (isAsked) this.#trails.posted(slice, queuePair)
    return posted
  }

  /** Posts the request, and keeps what it is of until its completion. */
  #hand(way: Way, link: ReadyLink, slice: Slice, queuePair: number): Posted | "not-ready" {
    const id = (this.#last = (this.#last + 1) & lastNumber)
    this.#request.id = id
    const posted = link.post(this.#request, queuePair)
    if (posted !== "accepted") return posted
    if (way.posted === 0) way.progressAt = this.#core.now()
    this.#posted.set(id, slice)
    slice.id = id
    slice.way = way
    slice.link = link
    way.posted += 1
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
    this.#tally.tell()
    this.#fill()
    for (const { ways } of this.#stranded) ways.feed()
    this.#stranded.clear()
    return batch.count
  }

  #end(completion: Completion, now: number): void {
    const slice = this.#posted.get(completion.id)
    // Receives of others may end in the same queue.
    if (slice === undefined) return
    const { job, trail } = slice
    const way = slice.way!
    way.progressAt = now
    if (trail === undefined) {
      this.#take(slice)
      if (completion.status === "success") this.#succeed(way, slice)
      else this.#fail(way, slice, completion)
    } else if (job === undefined) {
      this.#trails.answered(slice, trail, completion)
      this.#core.pool.give(slice)
    } else this.#trails.ended(slice, trail, completion)
    this.#queue(way)
    this.#account(way)
  }

  /** Work has ended, or is given up. */
  #take(slice: Slice): void {
    if (this.#posted.delete(slice.id)) slice.way!.posted -= 1
  }

  /** Posts the question whether writes have arrived. */
  #ask(trail: Trail): Posted | "not-ready" {
    const { link, queuePair, way } = trail
    const request = this.#request
    request.opcode = "read"
    request.signalled = true
    request.parts.clear().add(this.scratch!, 0, 0)
    request.remote(0, 0)
    const question = this.#core.pool.take()
    question.trail = trail
    question.number = trail.count
    const posted = this.#hand(way, link, question, queuePair)
    if (posted !== "accepted") this.#core.pool.give(question)
    return posted
  }

  #succeed(way: Way, slice: Slice): void {
    const job = slice.job!
    this.#tally.moved(job, slice)
    job.done(slice)
    this.#core.pool.give(slice)
    way.moved()
    way.peer.breaker.moved()
    this.#settle(job)
  }

  #settle(job: Job): void {
    job.posted -= 1
    job.settle()
  }

  #fail(way: Way, slice: Slice, { queuePair, status }: Completion): void {
    this.#tally.failed()
    const job = slice.job!
    const { link } = slice
    const blame = blameOf(status)
    if (way.link === link) {
      if (blame === "request") way.endedByRequest = link
      way.peer.ways.lost(way, { blame, status, queuePair })
    }
    this.#stranded.add(way.peer)
    const { pool } = this.#core
    const counts = status !== "flushed" || way.endedByRequest !== link
    const isRefused = blame === "request" && (status !== "remote-access" || job.refused(slice))
    const isOver = job.stop !== undefined || isRefused
    if (!isOver && job.failed(slice, counts)) way.peer.queue(job)
    else {
      const fault = way.faultOf(link, queuePair, status)
      const detail = `a slice of operation ${slice.operation} ended with ${status}`
      const reason = isRefused ? "refused" : "attempts-exhausted"
      pool.give(slice)
      job.halt({ reason, detail, fault }, pool)
    }
    this.#settle(job)
  }

  /** The card is gone. What its completions do not tell of any more is nobody's. */
  #lose(): void {
    while (this.#drain() > 0);
    this.isGone = true
    const end = new Completion()
    end.status = "flushed"
    for (const id of this.#posted.keys()) {
      end.id = id
      this.#end(end, this.#core.now())
    }
    this.#trails.lose()
    for (const { ways } of this.#core.peers.values()) ways.leave(this.index)
  }
}

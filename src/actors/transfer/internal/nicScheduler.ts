/**
 * The work of one local NIC: posts slices while there is room, and handles their completions.
 *
 * It reacts to events: a new transfer, a link that is ready, a completion. It polls nothing, and a
 * post allocates nothing.
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
import type { EngineContext } from "./engineContext.ts"
import type { Job } from "./job.ts"
import { Posting } from "./posting.ts"
import { Probes } from "./posting.ts"
import { blameOf } from "./railSelection.ts"
import { StallDetector } from "./posting.ts"
import { TransferCounters } from "./transferCounters.ts"
import type { Rail, RailPeer, RailScheduler } from "./rail.ts"
import type { UnconfirmedWrites, Work } from "./posting.ts"
import { WriteConfirmations } from "./writeConfirmation.ts"

export class NicScheduler implements RailScheduler {
  readonly index: number
  readonly nic: Nic
  readonly health: FaultWindow
  readonly #engine: EngineContext
  readonly #posting: Posting
  readonly #batch = new CompletionBatch()
  /** Rails that may post, in the order of their turns. */
  readonly #runQueue: Array<Rail> = []
  /** Rails that have posted work or may post. */
  #active = 0
  /** Rails whose post found no room. */
  readonly #withoutRoom = new Set<Rail>()
  readonly #probes: Probes
  /** Peers whose work has come back, and may use another rail. */
  readonly #peersToWake = new Set<RailPeer>()
  readonly #counters: TransferCounters
  readonly #confirmations: WriteConfirmations
  readonly #stalls: StallDetector
  /** The queue of the open device; the device may be gone. */
  #completions: CompletionQueue
  place: Place | undefined = undefined
  isGone = false

  constructor(index: number, nic: Nic, engine: EngineContext) {
    this.index = index
    this.nic = nic
    this.health = engine.faultWindow()
    this.#engine = engine
    this.#posting = new Posting(engine, index)
    this.#probes = new Probes(this.#posting)
    this.#counters = new TransferCounters(engine.context)
    this.#stalls = new StallDetector(engine, this.#posting.posted)
    this.#confirmations = new WriteConfirmations({
      postConfirmingRead: (unconfirmed) => this.#postConfirmingRead(unconfirmed),
      onEnded: (work) => this.#posting.remove(work),
      onArrived: (rail, work) => this.#succeed(rail, work),
      onFailed: (rail, work, end) => this.#fail(rail, work, end)
    })
    this.#completions = nic.completions
  }

  /** Target of zero-length confirming reads. */
  set scratch(region: Region) {
    this.#posting.scratch = region
  }

  dispatch(rail: Rail): void {
    this.#queue(rail)
    this.#run()
  }

  /** Reads completions. When the device was lost and is open again, runs `renew`. */
  run(renew: Effect.Effect<void>): Effect.Effect<void> {
    const life = Effect.suspend(() => {
      const { completions, device, reopened } = this.nic
      this.#completions = completions
      const read = completions.ready.pipe(
        Effect.andThen(Effect.sync(() => this.#drain())),
        Effect.forever,
        Effect.ignore
      )
      // They end when the device is removed.
      const events = Stream.runDrain(device.events)
      const lost = Effect.sync(() => this.#onDeviceRemoved())
      return Effect.raceFirst(read, events).pipe(Effect.andThen(lost), Effect.andThen(reopened))
    })
    return Effect.forever(Effect.andThen(life, renew))
  }

  probe(rail: Rail): Effect.Effect<boolean> {
    return this.#probes.probe(rail, () => this.#run())
  }

  leaveLinksOf(job: Job): void {
    const links = new Map<ReadyLink, Rail>()
    for (const { job: one, link, rail } of this.#posting.posted.values()) {
      if (one === job) links.set(link!, rail!)
    }
    for (const [link, rail] of this.#confirmations.linksOf(job)) links.set(link, rail)
    for (const [link, rail] of links) rail.peer.leave(rail, "its work was cancelled", link)
  }

  #queue(rail: Rail): void {
    if (rail.isRunnable) return
    if (!rail.isOpen) {
      // Its link may have ended while no work was posted whose completion would report that.
      if (rail.link !== undefined) this.#peersToWake.add(rail.peer)
      return
    }
    rail.isRunnable = true
    this.#runQueue.push(rail)
    this.#countActive(rail)
  }

  #countActive(rail: Rail): void {
    const isActive = rail.isRunnable || rail.posted > 0
    if (isActive !== rail.isActive) this.#active += isActive ? 1 : -1
    rail.isActive = isActive
  }

  #run(): void {
    this.#probes.send(this.nic.completions.capacity)
    while (this.#runQueue.length > 0 && this.#posting.posted.size < this.nic.completions.capacity) {
      const rail = this.#runQueue.shift()!
      rail.isRunnable = this.#turn(rail)
      this.#confirmations.postConfirmingReads()
      if (rail.isRunnable) this.#runQueue.push(rail)
      this.#countActive(rail)
    }
    if (this.#posting.posted.size > 0) this.#stalls.watch()
  }

  /**
   * Lets a rail post some slices. True if it could continue. Its posted work is limited to a share
   * of the NIC, and one share is kept free for the next rail: a peer that completes nothing cannot
   * take the NIC from the others, even if it came first.
   */
  #turn(rail: Rail): boolean {
    const { capacity } = this.nic.completions
    const { quantum } = this.#engine.settings
    const share = Math.max(quantum, Math.floor(capacity / (this.#active + 1)))
    for (let count = 0; count < quantum; count++) {
      const { link } = rail
      if (link === undefined || link.room < 1 || rail.posted >= share) break
      if (this.#posting.posted.size === capacity) return true
      const work = this.#posting.pool.acquire()
      if (!rail.peer.next(rail, work)) {
        this.#posting.pool.release(work)
        break
      }
      const posted = this.#postSlice(rail, link, work)
      if (posted !== "accepted") return this.#onPostRefused(rail, work, posted)
      if (count === quantum - 1) return true
    }
    if (rail.link !== undefined && !rail.link.isOpen)
      rail.peer.onLinkLost(rail, { blame: "none", status: "ended" })
    return false
  }

  #postSlice(rail: Rail, link: ReadyLink, work: Work): Posted | "not-ready" {
    const job = work.job!
    const isUnconfirmed = job.plans[work.slice!.operation]!.isWrite && !this.nic.acknowledges
    const { capacity, reserved } = this.#completions
    // Without room for a confirming read after it, this write is signalled: its completion makes
    // room.
    const isSignalled = !isUnconfirmed || link.room < 2 || reserved + 2 > capacity
    const posted = this.#posting.data(work, rail, link, isSignalled)
    if (posted !== "accepted") return posted
    job.posted += 1
    if (isUnconfirmed) this.#confirmations.onWritePosted(work)
    return posted
  }

  /** Takes back a slice whose post was refused, which is no attempt. */
  #onPostRefused(
    rail: Rail,
    work: Work,
    posted: Exclude<Posted, "accepted"> | "not-ready"
  ): boolean {
    const { pool } = this.#engine
    const job = work.job!
    const slice = work.slice!
    this.#posting.pool.release(work)
    switch (posted) {
      case "not-ready":
      case "wrong-state":
      case "queue-full":
      case "completions-full": {
        job.requeue(slice)
        rail.peer.queue(job)
        const isLost = posted === "not-ready" || posted === "wrong-state"
        // It may have no work whose completion makes room, so it is queued when any work ends.
        if (!isLost) this.#withoutRoom.add(rail)
        if (isLost) rail.peer.onLinkLost(rail, { blame: "none", status: posted })
        return false
      }
      default: {
        pool.release(slice)
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
    const now = this.#engine.now()
    for (let index = 0; index < batch.count; index++) this.#onCompletion(batch.at(index), now)
    // Before slices take the free room.
    this.#confirmations.postConfirmingReads()
    for (const rail of this.#withoutRoom) this.#queue(rail)
    this.#withoutRoom.clear()
    this.#counters.publish()
    this.#run()
    for (const peer of this.#peersToWake) peer.dispatch()
    this.#peersToWake.clear()
    return batch.count
  }

  #onCompletion(completion: Completion, now: number): void {
    const work = this.#posting.posted.get(completion.id)
    // Receives may complete in the same queue.
    if (work === undefined) return
    const { job, writes: unconfirmed } = work
    const rail = work.rail!
    rail.progressAt = now
    if (work.onAnswer !== undefined) {
      this.#posting.remove(work)
      work.onAnswer(completion.status === "success")
      if (completion.status !== "success" && rail.link === work.link) this.#lost(rail, completion)
      this.#posting.pool.release(work)
    } else if (unconfirmed === undefined) {
      this.#posting.remove(work)
      if (completion.status === "success") this.#succeed(rail, work)
      else this.#fail(rail, work, completion)
    } else if (job === undefined) {
      this.#confirmations.onConfirmed(work, unconfirmed, completion)
      this.#posting.pool.release(work)
    } else this.#confirmations.onWriteCompleted(work, unconfirmed, completion)
    this.#queue(rail)
    this.#countActive(rail)
  }

  /** Posts a zero-length read behind unconfirmed writes. */
  #postConfirmingRead(unconfirmed: UnconfirmedWrites): Posted | "not-ready" {
    const { link, queuePair, rail } = unconfirmed
    const read = this.#posting.pool.acquire()
    read.writes = unconfirmed
    read.number = unconfirmed.count
    const posted = this.#posting.emptyRead(read, rail, link, queuePair)
    if (posted !== "accepted") this.#posting.pool.release(read)
    return posted
  }

  #succeed(rail: Rail, work: Work): void {
    const slice = work.slice!
    const { length, operation } = slice
    const job = work.job!
    this.#posting.pool.release(work)
    if (job.done(slice, rail.peer.memory, this.#engine.pool))
      this.#counters.moved(job, operation, length)
    rail.moved()
    rail.peer.onMoved()
    this.#settle(rail, job)
  }

  #settle({ peer }: Rail, job: Job): void {
    job.posted -= 1
    job.settle()
    if (!job.hasWork || job.isQueued) return
    peer.queue(job)
    this.#peersToWake.add(peer)
  }

  #lost(rail: Rail, { queuePair, status }: Completion): void {
    rail.peer.onLinkLost(rail, { blame: blameOf(status), status, queuePair })
    this.#peersToWake.add(rail.peer)
  }

  #fail(rail: Rail, work: Work, { queuePair, status }: Completion): void {
    this.#counters.failed()
    const slice = work.slice!
    const job = work.job!
    const { link } = work
    this.#posting.pool.release(work)
    const blame = blameOf(status)
    if (rail.link === link) {
      if (blame === "request") rail.spared.add(link!)
      rail.peer.onLinkLost(rail, { blame, status, queuePair })
    }
    this.#peersToWake.add(rail.peer)
    const { pool } = this.#engine
    const counts = status !== "flushed" || !rail.spared.has(link!)
    const isRefused =
      blame === "request" && (status !== "remote-access" || job.refused(slice, rail.remote))
    const isOver = job.stop !== undefined || isRefused
    if (job.isEmptying) pool.release(slice)
    else if (!isOver && job.failed(slice, counts)) rail.peer.queue(job)
    else {
      const fault = rail.faultOf(link, queuePair, status)
      const detail = `a slice of operation ${slice.operation} ended with ${status}`
      const reason = isRefused ? "refused" : "attempts-exhausted"
      pool.release(slice)
      job.halt({ reason, detail, fault }, pool)
    }
    this.#settle(rail, job)
  }

  /**
   * Handles the loss of the device: work without a completion is flushed. No write stays
   * unconfirmed, since draining posts confirming reads behind all of them, or fails those whose
   * link takes none.
   */
  #onDeviceRemoved(): void {
    while (this.#drain() > 0);
    this.isGone = true
    const end = new Completion()
    end.status = "flushed"
    for (const id of this.#posting.posted.keys()) {
      end.id = id
      this.#onCompletion(end, this.#engine.now())
    }
    this.#engine.onNicLost(this.index)
  }
}

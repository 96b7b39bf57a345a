/** The rails to one peer: which are open, which are being opened, and which is tried next. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { NoDescription, PeerBuffer, PeerNic } from "../../rdma/Directory.ts"
import type { LinkFailure } from "../../endpoint/Links.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { RailFault } from "../TransferError.ts"
import * as Metrics from "../TransferMetrics.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"
import type { EngineContext } from "./engineContext.ts"
import type { StopReason } from "./job.ts"
import { adopt, findNics, open, type Opening, type RailSetPeer } from "./opening.ts"
import { rankRails } from "./railSelection.ts"
import { type Loss, nextHedgeAt, Rail } from "./rail.ts"

const noNic = "the peer has no such NIC any more"

const ready = Metric.withAttributes(Metrics.opens, { outcome: "ready" })
const failed = Metric.withAttributes(Metrics.opens, { outcome: "failed" })

export class RailSet {
  lastFault: RailFault | undefined = undefined
  readonly #peer: RailSetPeer
  readonly #engine: EngineContext
  #all: ReadonlyArray<Rail> = []
  readonly #healthOfNic = new Map<string, FaultWindow>()
  /** Waiting callers of `warm`. */
  readonly #warming = new Set<() => void>()
  #isFindingNics = false
  /** When `#connect` runs next. */
  #wakeAt = Infinity

  constructor(peer: RailSetPeer, engine: EngineContext) {
    this.#peer = peer
    this.#engine = engine
  }

  get areIdle(): boolean {
    return this.#all.every((rail) => rail.isIdle)
  }

  /** All rails, in any state. */
  get all(): ReadonlyArray<Rail> {
    return this.#all
  }

  /** Whether all local NICs are gone. */
  get hasNoNic(): boolean {
    return this.#engine.schedulers.every(({ isGone }) => isGone)
  }

  /** Sets the NICs of the peer. Rails to other NICs are given up. */
  setPeerNics(nics: ReadonlyArray<PeerNic>): void {
    const { schedulers } = this.#engine
    const known = new Map(this.#all.map((rail) => [`${rail.local} ${rail.nic.path}`, rail]))
    const rails: Array<Rail> = []
    for (const [remote, nic] of nics.entries()) {
      for (const scheduler of schedulers) {
        const key = `${scheduler.index} ${nic.path}`
        const rail = known.get(key)
        // Keys are found by the index of the NIC, so a NIC whose index changed is another one.
        const isSame = rail !== undefined && rail.remote === remote
        if (isSame) known.delete(key)
        rails.push(
          isSame ? rail : new Rail(this.#peer, scheduler, { nic, index: remote }, this.#engine)
        )
      }
    }
    this.#all = rails
    for (const rail of known.values()) this.leave(rail, noNic)
  }

  /**
   * Whether a rail may carry work for a buffer. Each local NIC uses the nearest remote NIC it is
   * connected to. If a nearer one may be tried, starts connecting to it in the background.
   */
  accepts(rail: Rail, { distances = [] }: PeerBuffer): boolean {
    const distance = distances[rail.remote] ?? 0
    if (distance === 0) return true
    const nearer = this.#all.filter(
      ({ local, remote }) => local === rail.local && distances[remote]! < distance
    )
    const open = nearer.find(({ isOpen }) => isOpen)
    if (open === undefined) this.#openNearer(nearer, distances)
    // It is idle, so no completion would make it run.
    else if (!open.isRunnable && open.link!.room > 0) {
      this.#engine.fork(Effect.sync(() => open.scheduler.dispatch(open)))
    }
    return open === undefined
  }

  /** Whether an open link still leads to the known process. */
  get isSameProcess(): Effect.Effect<boolean> {
    const { hedgeAfterMs } = this.#engine.settings
    const open = this.#all.filter(({ isOpen }) => isOpen)
    return Effect.forEach(open, (rail) => rail.scheduler.probe(rail), {
      concurrency: "unbounded"
    }).pipe(
      Effect.map((answers) => answers.includes(true)),
      Effect.timeoutOrElse({ duration: hedgeAfterMs, orElse: () => Effect.succeed(false) })
    )
  }

  /** Gives up a link that has not failed: the present one, or an earlier one with work. */
  leave(rail: Rail, reason: string, link: ReadyLink | undefined = rail.link): void {
    if (link === undefined) return
    rail.spared.add(link)
    if (link === rail.link) this.#drop(rail, reason)
    else this.#engine.links.retire(link, reason)
  }

  /** Lets open rails take the waiting work, and opens more if it needs them. */
  dispatch(): void {
    for (const rail of this.#all) if (rail.isOpen) rail.scheduler.dispatch(rail)
    this.#connect()
  }

  /** Handles the loss of a local NIC, with its links. */
  onNicLost(local: number): void {
    for (const rail of this.#all) {
      if (rail.local === local && rail.link !== undefined) {
        this.onLinkLost(rail, { blame: "local", status: "fatal" })
      }
    }
    this.dispatch()
  }

  /** Handles completions which show that a rail's link is unusable. */
  onLinkLost(rail: Rail, { blame, queuePair = 0, status }: Loss): void {
    const { context, now } = this.#engine
    this.lastFault = rail.faultOf(rail.link, queuePair, status)
    this.#drop(rail, status)
    Metric.withAttributes(Metrics.lostLinks, { blame }).updateUnsafe(1, context)
    if (blame === "local") rail.scheduler.health.fault(now())
    if (blame === "peer") this.#healthOf(rail.nic.path).fault(now())
    if (blame === "rail") rail.health.fault(now())
    // A request that the peer refuses says nothing of the rail: the next one need not wait.
    if (blame === "request") this.#peer.isStale = true
    else this.#failed(rail, blame === "rail")
  }

  /** Waits until every local NIC that is able to has a link to the peer; fails if none has. */
  get warm(): Effect.Effect<void, StopReason> {
    return Effect.callback<void, StopReason>((resume) => {
      const look = () => {
        const { refusal: obstacle } = this.#peer
        const isReady = this.#all.some((rail) => rail.isOpen)
        if (this.#all.some((rail) => rail.isOpening) || (!isReady && obstacle === undefined)) return
        this.#warming.delete(look)
        resume(isReady ? Effect.void : Effect.fail(obstacle!))
      }
      this.#warming.add(look)
      this.#connect()
      look()
      return Effect.sync(() => this.#warming.delete(look))
    })
  }

  /** Opens rails for the waiting work: at most one at a time for each local NIC. */
  #connect(): void {
    const { now: clock, schedulers, settings } = this.#engine
    const now = clock()
    for (const rail of this.#all) if (rail.link !== undefined && !rail.isOpen) this.#endedIdle(rail)
    const isWarming = this.#warming.size > 0
    const wanted = isWarming ? Infinity : Math.ceil(this.#peer.waiting / settings.sliceBytes)
    if (wanted > 0 && this.hasNoNic) return this.#giveUp("no local NIC is left")
    if (wanted > 0 && this.#all.length === 0) return this.#findNics()
    const distances = isWarming ? [] : this.#peer.distances
    let dueAt = Infinity
    const isBegun = this.#all.some((rail) => rail.isOpen || rail.isOpening)
    const most = isBegun && this.#peer.breaker.isSpent ? 0 : Math.min(wanted, schedulers.length)
    while (this.#all.filter((rail) => this.#isBusy(rail, now)).length < most) {
      // Ranked again each time, since opening one changes the load.
      const candidates = this.#candidates(now, distances)
      const next = candidates.find(({ notBefore }) => notBefore <= now)
      if (next === undefined) {
        dueAt = Math.min(...candidates.map(({ notBefore }) => notBefore))
        // If all of them are paused, none has a time; an attempt under way ends by itself.
        const isOpening = this.#all.some((rail) => rail.isOpening)
        if (!isOpening) dueAt = Math.min(dueAt, now + settings.longestWaitMs)
        break
      }
      this.#open(next, now)
    }
    this.#wake(Math.min(dueAt, nextHedgeAt(this.#all, settings.hedgeAfterMs, now)))
  }

  /** Asks the directory for NICs, because the description has none. */
  #findNics(): void {
    if (this.#isFindingNics) return
    this.#isFindingNics = true
    const find = findNics(this.#peer, this.#engine, {
      giveUp: () => this.#giveUp("it describes no NIC"),
      isOver: () => this.#all.length > 0 || (this.#peer.waiting === 0 && this.#warming.size === 0)
    })
    const over = Effect.sync(() => {
      this.#isFindingNics = false
      this.dispatch()
    })
    this.#engine.fork(Effect.andThen(find, over))
  }

  /** The best rail of each local NIC without a link. */
  #candidates(now: number, distances: ReadonlyArray<number>): ReadonlyArray<Rail> {
    const best = this.#engine.schedulers.flatMap(({ index, isGone }) => {
      const rails = this.#all.filter(({ local }) => local === index)
      if (isGone || rails.some((rail) => this.#isBusy(rail, now))) return []
      const idle = rails.filter(({ isIdle }) => isIdle)
      return this.#ranked(idle, now, distances).slice(0, 1)
    })
    return this.#ranked(best, now, distances)
  }

  /** Opens the best of some rails that may be tried, unless one of them is open or opening. */
  #openNearer(rails: ReadonlyArray<Rail>, distances: ReadonlyArray<number>): void {
    const now = this.#engine.now()
    const may = rails.filter(
      ({ isIdle, notBefore, status }) => isIdle && status !== "failed" && notBefore <= now
    )
    if (may.length === 0 || rails.some((rail) => this.#isBusy(rail, now))) return
    const [best] = this.#ranked(may, now, distances)
    if (best !== undefined) this.#open(best, now)
  }

  #isBusy({ isOpen, openingSince = -Infinity }: Rail, now: number): boolean {
    return isOpen || now - openingSince < this.#engine.settings.hedgeAfterMs
  }

  #ranked(
    rails: ReadonlyArray<Rail>,
    now: number,
    distances: ReadonlyArray<number>
  ): ReadonlyArray<Rail> {
    return rankRails(
      rails,
      this.#all.filter(({ scheduler }) => !scheduler.isGone),
      {
        now,
        distance: (remote) => distances[remote] ?? 0,
        localHealth: (local) => this.#engine.schedulers[local]!.health,
        remoteHealth: (remote) =>
          this.#healthOf(this.#all.find((rail) => rail.remote === remote)!.nic.path),
        load: (remote) =>
          this.#all.filter((rail) => rail.remote === remote && (rail.isOpen || rail.isOpening))
            .length
      }
    )
  }

  /** Runs `#connect` at that time. */
  #wake(at: number): void {
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    const look = Effect.sync(() => {
      if (this.#wakeAt !== at) return
      this.#wakeAt = Infinity
      this.#connect()
    })
    this.#engine.fork(Effect.delay(look, Math.max(1, Math.ceil(at - this.#engine.now()))))
  }

  #open(rail: Rail, now: number): void {
    rail.openingSince = now
    this.#adopt(rail, open(rail, this.#peer, this.#engine))
  }

  #adopt(rail: Rail, opening: Opening): void {
    this.#engine.fork(
      adopt(rail, this.#peer, this.#engine.links, opening, (exit) => this.#opened(rail, exit))
    )
  }

  /** Takes a link that the peer has opened. The peer may have restarted, so its keys come first. */
  onPeerOpened(link: ReadyLink): void {
    if (this.#peer.isNamedBy(link)) this.#peer.onSeen()
    this.#peer.breaker.connected()
    const rail = this.#all.find(
      ({ nic, scheduler }) => nic.path === link.peer && scheduler.nic.path === link.local
    )
    const isWanted = this.#peer.waiting > 0 || this.#warming.size > 0
    if (rail === undefined || rail.isOpen || !isWanted) return
    this.#peer.onSeen()
    rail.openingSince = this.#engine.now()
    this.#adopt(rail, Effect.as(this.#peer.refresh, link))
  }

  #opened(rail: Rail, exit: Exit.Exit<ReadyLink, LinkFailure | NoDescription>): void {
    const { context, links } = this.#engine
    const began = rail.openingSince
    rail.openingSince = undefined
    const link = Exit.isSuccess(exit) ? exit.value : undefined
    if (link !== undefined && !this.#all.includes(rail)) {
      links.retire(link, noNic)
    } else if (link?.isOpen === true) {
      ready.updateUnsafe(1, context)
      this.#peer.breaker.connected()
      rail.link = link
      rail.scheduler.dispatch(rail)
      this.#connect()
    } else {
      failed.updateUnsafe(1, context)
      const error = Exit.findErrorOption(exit)
      const status = error._tag === "Some" ? error.value.message : "the link ended at once"
      this.lastFault = rail.faultOf(link, 0, status)
      rail.health.fault(this.#engine.now())
      this.#failed(rail, true, began)
    }
    for (const look of this.#warming) look()
  }

  /** A link that ended without posted work has not failed, and may be opened again at once. */
  #endedIdle(rail: Rail): void {
    this.#drop(rail, "ended")
    this.#peer.isStale = true
  }

  /** Posts nothing more on the rail's link, whose end its endpoint may not have noticed. */
  #drop(rail: Rail, reason: string): void {
    if (rail.link !== undefined) this.#engine.links.retire(rail.link, reason)
    rail.link = undefined
    // Its work may use another rail.
    this.#engine.fork(Effect.sync(() => this.dispatch()))
  }

  #failed(rail: Rail, isUnreachable: boolean, began?: number): void {
    const now = this.#engine.now()
    rail.failed(now, isUnreachable)
    this.#peer.isStale = true
    const isOpen = this.#all.some((one) => one.isOpen)
    const isLast = !isOpen && !this.#all.some((one) => one.isOpening)
    const { breaker } = this.#peer
    const { unreachableAfterMs } = this.#engine.settings
    if (breaker.failed(now, isLast, isOpen ? now : began)) {
      this.#giveUp(`no rail to it worked for ${Math.round(unreachableAfterMs / 1000)} s`)
    } else this.#connect()
    for (const look of this.#warming) look()
  }

  #giveUp(detail: string): void {
    this.#peer.giveUp(detail)
    for (const look of this.#warming) look()
  }

  #healthOf(path: string): FaultWindow {
    const health = this.#healthOfNic.get(path) ?? this.#engine.faultWindow()
    this.#healthOfNic.set(path, health)
    return health
  }
}

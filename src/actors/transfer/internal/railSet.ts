/** The ways to one peer: which of them are open, being opened, or to be tried next. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { NoDescription, PeerBuffer, PeerNic } from "../../rdma/Directory.ts"
import type { LinkFailure } from "../../endpoint/Links.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { RailFault } from "../TransferError.ts"
import * as Metrics from "../TransferMetrics.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"
import type { Core } from "./core.ts"
import type { Stop } from "./job.ts"
import { adopt, findCards, open, type Opening } from "./opening.ts"
import type { Peer } from "./peer.ts"
import { type Blame, ranked } from "./railSelection.ts"
import { hedgeAt, Way } from "./rail.ts"

/** How a link ended under work. */
export interface Loss {
  readonly blame: Blame
  readonly status: string
  /** The own queue pair, if it is known. */
  readonly queuePair?: number
}

const noCard = "the peer has no such card any more"

const ready = Metric.withAttributes(Metrics.opens, { outcome: "ready" })
const failed = Metric.withAttributes(Metrics.opens, { outcome: "failed" })

export class Ways {
  lastFault: RailFault | undefined = undefined
  readonly #peer: Peer
  readonly #core: Core
  #all: ReadonlyArray<Way> = []
  readonly #healthOfNic = new Map<string, FaultWindow>()
  /** Who waits for ways to be open. */
  readonly #warming = new Set<() => void>()
  #isFinding = false
  /** When the next look is due. */
  #wakeAt = Infinity

  constructor(peer: Peer, core: Core) {
    this.#peer = peer
    this.#core = core
  }

  get areIdle(): boolean {
    return this.#warming.size === 0 && this.#all.every((way) => way.isIdle)
  }

  /** All of them, whatever state they are in. */
  get all(): ReadonlyArray<Way> {
    return this.#all
  }

  /** Whether all own cards are gone. */
  get hasNoCard(): boolean {
    return this.#core.pumps.every(({ isGone }) => isGone)
  }

  /** The peer has these cards. Ways to others are given up. */
  know(nics: ReadonlyArray<PeerNic>): void {
    const { pumps } = this.#core
    const known = new Map(this.#all.map((way) => [`${way.local} ${way.nic.path}`, way]))
    const ways: Array<Way> = []
    for (const [remote, nic] of nics.entries()) {
      for (const pump of pumps) {
        const key = `${pump.index} ${nic.path}`
        const way = known.get(key)
        // Keys are found by the number of the card, so a card that moved is another one.
        const isSame = way !== undefined && way.remote === remote
        if (isSame) known.delete(key)
        ways.push(isSame ? way : new Way(this.#peer, pump, nic, remote, this.#core))
      }
    }
    this.#all = ways
    for (const way of known.values()) this.leave(way, noCard)
  }

  /**
   * Whether a way takes work for a buffer. Each own card uses the nearest of the peer's cards to
   * which it has an open way; a nearer one that may be opened is, beside the work.
   */
  takes(way: Way, { distances = [] }: PeerBuffer): boolean {
    const distance = distances[way.remote] ?? 0
    if (distance === 0) return true
    const nearer = this.#all.filter(
      ({ local, remote }) => local === way.local && distances[remote]! < distance
    )
    const open = nearer.find(({ isOpen }) => isOpen)
    if (open === undefined) this.#approach(nearer, distances)
    // It had nothing to do, and nobody else would tell it.
    else if (!open.isHungry && open.link!.room > 0) {
      this.#core.fork(Effect.sync(() => open.pump.feed(open)))
    }
    return open === undefined
  }

  /** Whether an open link still leads to the process that is known. */
  get vouch(): Effect.Effect<boolean> {
    const { hedgeAfterMs } = this.#core.settings
    const open = this.#all.filter(({ isOpen }) => isOpen)
    return Effect.forEach(open, (way) => way.pump.probe(way), { concurrency: "unbounded" }).pipe(
      Effect.map((answers) => answers.includes(true)),
      Effect.timeoutOrElse({ duration: hedgeAfterMs, orElse: () => Effect.succeed(false) })
    )
  }

  /** Gives a link up by no fault of its own: that of now, or one whose work is not back yet. */
  leave(way: Way, reason: string, link: ReadyLink | undefined = way.link): void {
    if (link === undefined) return
    way.spared.add(link)
    if (link === way.link) this.#drop(way, reason)
    else this.#core.links.retire(link, reason)
  }

  /** There is new work: what is open takes it, and what it needs besides is opened. */
  feed(): void {
    for (const way of this.#all) if (way.isOpen) way.pump.feed(way)
    this.#connect()
  }

  /** An own card is gone, and its links with it. */
  leaveCard(local: number): void {
    for (const way of this.#all) {
      if (way.local === local && way.link !== undefined) {
        this.lost(way, { blame: "local", status: "fatal" })
      }
    }
    this.feed()
  }

  /** Work has shown that a way's link is of no use any more. */
  lost(way: Way, { blame, queuePair = 0, status }: Loss): void {
    const { context, now } = this.#core
    this.lastFault = way.faultOf(way.link, queuePair, status)
    this.#drop(way, status)
    Metric.withAttributes(Metrics.lostLinks, { blame }).updateUnsafe(1, context)
    if (blame === "local") way.pump.health.fault(now())
    if (blame === "peer") this.#healthOf(way.nic.path).fault(now())
    if (blame === "rail") way.health.fault(now())
    this.#failed(way, blame === "rail")
  }

  /** Waits until every own card that can has a link to the peer; fails if none has. */
  get warm(): Effect.Effect<void, Stop> {
    return Effect.callback<void, Stop>((resume) => {
      const look = () => {
        const { obstacle } = this.#peer
        const isReady = this.#all.some((way) => way.isOpen)
        if (this.#all.some((way) => way.isOpening) || (!isReady && obstacle === undefined)) return
        this.#warming.delete(look)
        resume(isReady ? Effect.void : Effect.fail(obstacle!))
      }
      this.#warming.add(look)
      this.#connect()
      look()
      return Effect.sync(() => this.#warming.delete(look))
    })
  }

  /** Opens what is missing for the work that waits: at most one way at a time for each card. */
  #connect(): void {
    const { now: clock, pumps, settings } = this.#core
    const now = clock()
    for (const way of this.#all) if (way.link !== undefined && !way.isOpen) this.#endedIdle(way)
    const isWarming = this.#warming.size > 0
    const wanted = isWarming ? Infinity : Math.ceil(this.#peer.waiting / settings.sliceBytes)
    if (wanted > 0 && this.hasNoCard) return this.#giveUp("no own card is left")
    if (wanted > 0 && this.#all.length === 0) return this.#findCards()
    const distances = isWarming ? [] : this.#peer.aim
    let dueAt = Infinity
    const isBegun = this.#all.some((way) => way.isOpen || way.isOpening)
    const most = isBegun && this.#peer.breaker.isSpent ? 0 : Math.min(wanted, pumps.length)
    while (this.#all.filter((way) => this.#isBusy(way, now)).length < most) {
      // Anew for each, since what is opened is a load to others.
      const candidates = this.#candidates(now, distances)
      const next = candidates.find(({ notBefore }) => notBefore <= now)
      if (next === undefined) {
        dueAt = Math.min(...candidates.map(({ notBefore }) => notBefore))
        // If all of them are paused, none says when; an opening ends by itself.
        const isOpening = this.#all.some((way) => way.isOpening)
        if (!isOpening) dueAt = Math.min(dueAt, now + settings.longestWaitMs)
        break
      }
      this.#open(next, now)
    }
    this.#wake(Math.min(dueAt, hedgeAt(this.#all, settings.hedgeAfterMs, now)))
  }

  /** Asks for cards, as the peer has told of none. */
  #findCards(): void {
    if (this.#isFinding) return
    this.#isFinding = true
    const find = findCards(this.#peer, this.#core, {
      giveUp: () => this.#giveUp("it tells of no card"),
      isOver: () => this.#all.length > 0 || (this.#peer.waiting === 0 && this.#warming.size === 0)
    })
    const over = Effect.sync(() => {
      this.#isFinding = false
      this.feed()
    })
    this.#core.fork(Effect.andThen(find, over))
  }

  /** The best way of each card that has none. */
  #candidates(now: number, distances: ReadonlyArray<number>): ReadonlyArray<Way> {
    const best = this.#core.pumps.flatMap(({ index, isGone }) => {
      const own = this.#all.filter(({ local }) => local === index)
      if (isGone || own.some((way) => this.#isBusy(way, now))) return []
      const idle = own.filter(({ isIdle }) => isIdle)
      return this.#ranked(idle, now, distances).slice(0, 1)
    })
    return this.#ranked(best, now, distances)
  }

  /** Opens the best of some ways that nothing speaks against, unless one is being opened. */
  #approach(ways: ReadonlyArray<Way>, distances: ReadonlyArray<number>): void {
    const now = this.#core.now()
    const may = ways.filter(
      ({ isIdle, notBefore, reach }) => isIdle && reach < 2 && notBefore <= now
    )
    if (may.length === 0 || ways.some((way) => this.#isBusy(way, now))) return
    const [best] = this.#ranked(may, now, distances)
    if (best !== undefined) this.#open(best, now)
  }

  #isBusy({ isOpen, openingSince = -Infinity }: Way, now: number): boolean {
    return isOpen || now - openingSince < this.#core.settings.hedgeAfterMs
  }

  #ranked(
    ways: ReadonlyArray<Way>,
    now: number,
    distances: ReadonlyArray<number>
  ): ReadonlyArray<Way> {
    return ranked(
      ways,
      this.#all.filter(({ pump }) => !pump.isGone),
      {
        now,
        distance: (remote) => distances[remote] ?? 0,
        localHealth: (local) => this.#core.pumps[local]!.health,
        remoteHealth: (remote) =>
          this.#healthOf(this.#all.find((way) => way.remote === remote)!.nic.path),
        load: (remote) =>
          this.#all.filter((way) => way.remote === remote && (way.isOpen || way.isOpening)).length
      }
    )
  }

  /** Looks again at that time. */
  #wake(at: number): void {
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    const look = Effect.sync(() => {
      if (this.#wakeAt !== at) return
      this.#wakeAt = Infinity
      this.#connect()
    })
    this.#core.fork(Effect.delay(look, Math.max(1, Math.ceil(at - this.#core.now()))))
  }

  #open(way: Way, now: number): void {
    way.openingSince = now
    this.#adopt(way, open(way, this.#core))
  }

  #adopt(way: Way, opening: Opening): void {
    this.#core.fork(adopt(way, this.#core, opening, (exit) => this.#opened(way, exit)))
  }

  /** The peer has opened a link. It may have begun again, so it is asked for its keys first. */
  arrived(link: ReadyLink): void {
    if (this.#peer.isNamedBy(link)) this.#peer.showed()
    const way = this.#all.find(
      ({ nic, pump }) => nic.path === link.peer && pump.nic.path === link.local
    )
    const isWanted = this.#peer.waiting > 0 || this.#warming.size > 0
    if (way === undefined || way.isOpen || !isWanted) return
    this.#peer.showed()
    way.openingSince = this.#core.now()
    this.#adopt(way, Effect.as(this.#peer.refresh, link))
  }

  #opened(way: Way, exit: Exit.Exit<ReadyLink, LinkFailure | NoDescription>): void {
    const { context, links } = this.#core
    const began = way.openingSince
    way.openingSince = undefined
    const link = Exit.isSuccess(exit) ? exit.value : undefined
    if (link !== undefined && !this.#all.includes(way)) {
      links.retire(link, noCard)
    } else if (link?.isOpen === true) {
      ready.updateUnsafe(1, context)
      way.link = link
      way.pump.feed(way)
      this.#connect()
    } else {
      failed.updateUnsafe(1, context)
      const error = Exit.findErrorOption(exit)
      const status = error._tag === "Some" ? error.value.message : "the link ended at once"
      this.lastFault = way.faultOf(link, 0, status)
      way.health.fault(this.#core.now())
      this.#failed(way, true, began)
    }
    for (const look of this.#warming) look()
  }

  /** A link ended while nothing was posted: nobody's fault, and it may be opened again at once. */
  #endedIdle(way: Way): void {
    this.#drop(way, "ended")
    this.#peer.isStale = true
  }

  /** Nothing more is posted on the way's link; whoever keeps it may not know that yet. */
  #drop(way: Way, reason: string): void {
    if (way.link !== undefined) this.#core.links.retire(way.link, reason)
    way.link = undefined
    // What was left to it may go another way.
    this.#core.fork(Effect.sync(() => this.feed()))
  }

  #failed(way: Way, isUnreachable: boolean, began?: number): void {
    const now = this.#core.now()
    way.failed(now, isUnreachable)
    this.#peer.isStale = true
    const isOpen = this.#all.some((one) => one.isOpen)
    const isLast = !isOpen && !this.#all.some((one) => one.isOpening)
    const { breaker } = this.#peer
    const { unreachableAfterMs } = this.#core.settings
    if (breaker.failed(now, isLast, isOpen ? now : began)) {
      this.#giveUp(`no way to it worked for ${Math.round(unreachableAfterMs / 1000)} s`)
    } else this.#connect()
    for (const look of this.#warming) look()
  }

  #giveUp(detail: string): void {
    this.#peer.giveUp(detail)
    for (const look of this.#warming) look()
  }

  #healthOf(path: string): FaultWindow {
    const health = this.#healthOfNic.get(path) ?? this.#core.faultWindow()
    this.#healthOfNic.set(path, health)
    return health
  }
}

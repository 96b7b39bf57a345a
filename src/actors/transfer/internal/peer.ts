/**
 * A peer: its transfers, and the description of its memory.
 *
 * Slices wait here, not on a rail: any rail that is open and has room takes the next one. So
 * waiting work loses nothing when a rail fails, and never waits for one to open.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import { instanceOf } from "../../../schema/Epoch.ts"
import { check, type Description, NoDescription, type PeerBuffer } from "../../rdma/Directory.ts"
import type { LinkFailure } from "../../endpoint/Links.ts"
import type { ReadyLink } from "../../endpoint/ReadyLink.ts"
import type { RailFault } from "../TransferError.ts"
import * as Metrics from "../TransferMetrics.ts"
import { CircuitBreaker } from "../../link/CircuitBreaker.ts"
import { isEarlier } from "../../link/EpochOrder.ts"
import type { EngineContext } from "./engineContext.ts"
import { PeerMemory } from "./slicing.ts"
import type { Job, JobSlice, StopReason } from "./job.ts"
import type { Loss, Rail } from "./rail.ts"
import type { RailSetPeer } from "./opening.ts"
import { RailSet } from "./railSet.ts"

const noMemory = new PeerMemory({ nics: [], buffers: [] })

/** Requests to the directory that may be under way at the same time: some may hang. */
const requestsMax = 4

/** Requests to the directory that are under way, and their common answer. */
interface Lookup {
  readonly answer: Deferred.Deferred<void, NoDescription>
  requests: number
}

export class Peer implements RailSetPeer {
  readonly name: string
  readonly rails: RailSet
  readonly breaker: CircuitBreaker
  readonly jobs = new Set<Job>()
  /** Transfers and warm-ups that are not over, also those that wait for its description. */
  users = 0
  memory = noMemory
  /** Whether the directory is asked before a link is opened: always after one has failed. */
  isStale = true
  /** The error of the last request to the directory, if it failed. */
  lastError: NoDescription | undefined = undefined
  readonly #engine: EngineContext
  /** Links are recognised one by one, so that an open one can prove the process of the next. */
  readonly #recognising = Semaphore.makeUnsafe(1)
  /** The peer's process: its instance, or a number if it names none. */
  #process = ""
  #processes = 0
  #isSeeking = false
  /** Jobs that have slices to hand out, in the order of their turns. */
  readonly #runQueue: Array<Job> = []
  #lookup: Lookup | undefined = undefined
  /** The number of the last request to the directory, and of the newest that was answered. */
  #requested = 0
  #answered = 0
  /** Done when the peer opens the next link. */
  #seen = Deferred.makeUnsafe<void>()

  constructor(name: string, engine: EngineContext) {
    this.name = name
    this.#engine = engine
    const { coolDownMs, unreachableAfterMs: patienceMs } = engine.settings
    this.breaker = new CircuitBreaker({ patienceMs, coolDownMs })
    this.rails = new RailSet(this, engine)
  }

  get isIdle(): boolean {
    return this.users === 0 && this.rails.areIdle
  }

  /** Whether it is this node: all of its NICs are NICs of this engine. */
  get isSelf(): boolean {
    const { nics } = this.memory.description
    const local = new Set(this.#engine.schedulers.map(({ nic }) => nic.path))
    return nics.length > 0 && nics.every(({ path }) => local.has(path))
  }

  get waiting(): number {
    let bytes = 0
    for (const job of this.jobs) bytes += job.waiting
    return bytes
  }

  get distances(): ReadonlyArray<number> {
    const [next] = this.#runQueue
    return (next === undefined ? undefined : this.#nextBufferOf(next)?.distances) ?? []
  }

  /** Whether the directory has ever answered. */
  get isKnown(): boolean {
    return this.memory !== noMemory
  }

  /** Whether a link's path shows that it is of this peer, which needs its description. */
  isNamedBy(link: ReadyLink): boolean {
    return !this.isKnown && link.peer.startsWith(`${this.name}@`)
  }

  /** Asks the directory, unless it has just answered. Concurrent callers get the same answer. */
  get refresh(): Effect.Effect<void, NoDescription> {
    return Effect.suspend(() => {
      if (!this.isStale) return Effect.void
      return Deferred.await((this.#lookup ?? this.#ask()).answer)
    })
  }

  /**
   * Called when the peer has opened a link, which shows that it is alive. The directory is asked at
   * once, even before the next request is due, or while a request to the peer's previous process
   * hangs.
   */
  onSeen(): void {
    this.isStale = true
    if ((this.#lookup?.requests ?? 0) < requestsMax) this.#ask()
    const seen = this.#seen
    this.#seen = Deferred.makeUnsafe()
    Deferred.doneUnsafe(seen, Effect.void)
  }

  /** Sends one more request. The first answer counts for all that are under way. */
  #ask(): Lookup {
    const lookup = (this.#lookup ??= { answer: Deferred.makeUnsafe(), requests: 0 })
    lookup.requests += 1
    const asked = Effect.map(Effect.exit(this.#request), (exit) => {
      lookup.requests -= 1
      if (Exit.isFailure(exit) && lookup.requests > 0) return
      if (this.#lookup === lookup) this.#lookup = undefined
      Deferred.doneUnsafe(lookup.answer, exit)
    })
    this.#engine.fork(asked)
    return lookup
  }

  /**
   * Determines which process a link leads to before it is used, and makes sure that the description
   * in use is of that process: keys of another one may be valid there by chance.
   *
   * A link that names its process is trusted. One that does not leads to the known process if an
   * open link to that still answers, since a server has one process at a time. Otherwise it leads
   * to another process, whose memory is requested from the directory.
   */
  recognised<A>(
    link: ReadyLink,
    use: (recognised: Effect.Effect<void, NoDescription | LinkFailure>) => Effect.Effect<A>
  ): Effect.Effect<A> {
    const recognise = Effect.gen({ self: this }, function* () {
      const { peerEpoch } = link
      if (peerEpoch === undefined && (yield* this.rails.isSameProcess)) return
      const process =
        peerEpoch === undefined ? `unnamed ${++this.#processes}` : instanceOf(peerEpoch)
      if (process === this.memory.process) return
      this.#process = process
      this.isStale = true
      yield* this.refresh
      if (process === this.memory.process) return
      const message = "its description is of another process"
      return yield* Effect.fail({ _tag: "OtherProcess", message })
    })
    return this.#recognising.withPermits(1)(use(recognise))
  }

  /** Asks the directory until it answers, as long as work waits for a peer. */
  get introduction(): Effect.Effect<void, NoDescription> {
    const { backoff, now, settings } = this.#engine
    return Effect.gen({ self: this }, function* () {
      const end = now() + settings.unreachableAfterMs
      const waits = backoff()
      while (true) {
        const asked = yield* Effect.result(this.refresh)
        if (Result.isSuccess(asked)) return
        const { failure } = asked
        const wait = waits.next()
        if (failure.reason !== "unanswered" || now() + wait > end) return yield* failure
        yield* Effect.raceFirst(Effect.sleep(wait), Deferred.await(this.#seen))
      }
    })
  }

  /** The known reason why nothing moves now. */
  get cause(): Pick<StopReason, "fault"> & { readonly detail: string } {
    const fault = this.breaker.isOutage ? this.rails.lastFault : undefined
    return { detail: this.lastError === undefined ? "" : `; ${this.lastError.message}`, fault }
  }

  get refusal(): StopReason | undefined {
    const { lastFault } = this.rails
    if (this.rails.hasNoNic) return givenUp("no local NIC is left", lastFault)
    const isOpen = this.breaker.isOpen(this.#engine.now())
    return isOpen ? givenUp("not tried again yet", lastFault) : undefined
  }

  submit(job: Job): void {
    if (this.jobs.size === 0) this.breaker.begin()
    this.jobs.add(job)
    this.queue(job)
    this.rails.dispatch()
  }

  queue(job: Job): void {
    if (job.isQueued || !job.hasWork) return
    job.isQueued = true
    this.#runQueue.push(job)
  }

  dispatch(): void {
    this.rails.dispatch()
  }

  onMoved(): void {
    this.breaker.moved()
  }

  onLinkLost(rail: Rail, loss: Loss): void {
    this.rails.onLinkLost(rail, loss)
  }

  leave(rail: Rail, reason: string, link?: ReadyLink): void {
    this.rails.leave(rail, reason, link)
  }

  next(rail: Rail, into: JobSlice): boolean {
    for (let left = this.#runQueue.length; left > 0; left--) {
      const job = this.#runQueue.shift()!
      const buffer = this.#nextBufferOf(job)
      if (buffer !== undefined && !this.rails.accepts(rail, buffer)) {
        this.#runQueue.push(job)
        continue
      }
      job.isQueued = false
      const slice = job.take(this.memory, this.#engine.pool, this.#engine.now())
      this.queue(job)
      if (slice !== undefined) {
        into.job = job
        into.slice = slice
        return true
      }
      if (job.lack !== undefined) this.#seek()
    }
    return false
  }

  /** Stops all transfers: the peer cannot be reached. */
  giveUp(detail: string): void {
    Metrics.outages.updateUnsafe(1, this.#engine.context)
    const stop = givenUp(detail, this.rails.lastFault)
    for (const job of this.jobs) {
      job.halt(stop, this.#engine.pool)
      job.settle()
    }
  }

  /** The buffer of a job's next slice, if NICs differ in their distance to it. */
  #nextBufferOf(job: Job): PeerBuffer | undefined {
    return this.memory.isEven ? undefined : job.nextBuffer(this.memory)
  }

  get #request(): Effect.Effect<void, NoDescription> {
    const process = this.#process
    const number = ++this.#requested
    const { directory, settings } = this.#engine
    const unanswered = (detail: string) =>
      Effect.fail(new NoDescription({ peer: this.name, reason: "unanswered", detail }))
    return Effect.suspend(() => directory.resolve(this.name)).pipe(
      // A program's directory may throw, and callers wait for its answer.
      Effect.catchDefect((defect) => unanswered(String(defect))),
      Effect.timeoutOrElse({
        duration: settings.openWithinMs,
        orElse: () => unanswered(`no answer within ${settings.openWithinMs} ms`)
      }),
      Effect.flatMap((said) => check(this.name, said)),
      Effect.map((description) => {
        // A later request may have been answered before.
        if (number < this.#answered) return
        this.#answered = number
        this.isStale = false
        this.lastError = undefined
        if (!isOlder(description, this.memory.description)) this.#learn(description, process)
      }),
      Effect.tapError((error) => Effect.sync(() => void (this.lastError = error)))
    )
  }

  #learn(description: Description, process: string): void {
    const { pool } = this.#engine
    const before = this.memory.process
    this.memory = new PeerMemory(description, process)
    this.rails.setPeerNics(description.nics)
    if (this.memory.process !== before) {
      for (const rail of this.rails.all) this.rails.leave(rail, "the peer's process is another one")
    }
    for (const job of this.jobs) {
      job.onPeerMemory(this.memory, pool)
      if (job.lack !== undefined) job.recheck(this.memory)
      this.queue(job)
      job.settle()
    }
  }

  /** Asks the directory again while a transfer lacks memory that the peer may register again. */
  #seek(): void {
    if (this.#isSeeking) return
    this.#isSeeking = true
    const { backoff, now, pool, settings } = this.#engine
    const lacking = () => [...this.jobs].filter(({ lack }) => lack !== undefined)
    const ask = Effect.gen({ self: this }, function* () {
      const waits = backoff()
      while (lacking().length > 0) {
        yield* Effect.sleep(waits.next())
        this.isStale = true
        yield* Effect.ignore(this.refresh)
        this.rails.dispatch()
        for (const job of lacking()) {
          job.missed(now(), settings.unreachableAfterMs, pool)
          job.settle()
        }
      }
      this.#isSeeking = false
    })
    this.#engine.fork(ask)
  }
}

/** Whether a description is older: those of one process may overtake each other. */
const isOlder = ({ epoch: next }: Description, { epoch: last }: Description): boolean =>
  next !== undefined && last !== undefined && isEarlier(next, last)

const givenUp = (detail: string, fault: RailFault | undefined): StopReason => ({
  reason: "peer-unreachable",
  detail,
  fault
})

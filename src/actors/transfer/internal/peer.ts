/**
 * A peer: the transfers with it, and what is known of its memory.
 *
 * Slices wait here, not on a way: whichever way is ready and has room takes the next one. So work
 * that waits loses nothing when a way fails, and opening a way is never its business.
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
import type { Core } from "./core.ts"
import { PeerMemory } from "./slicing.ts"
import type { Job, Stop } from "./job.ts"
import type { Slice } from "./slice.ts"
import type { Way } from "./rail.ts"
import { Ways } from "./railSet.ts"

const nothing = new PeerMemory({ nics: [], buffers: [] })

/** Questions to the directory that hang, with the one that is not known to. */
const mostQuestions = 4

/** Questions that are under way, and their answer. */
interface Asking {
  readonly answer: Deferred.Deferred<void, NoDescription>
  questions: number
}

export class Peer {
  readonly name: string
  readonly ways: Ways
  readonly breaker: CircuitBreaker
  readonly jobs = new Set<Job>()
  memory = nothing
  /** Whether the directory is to be asked before a link is opened: always, once one failed. */
  isStale = true
  /** Why the directory's last answer is none. */
  silence: NoDescription | undefined = undefined
  readonly #core: Core
  /** Links are recognised one after the other, so that an earlier one can vouch for a later one. */
  readonly #recognising = Semaphore.makeUnsafe(1)
  /** The peer's process: an instance, or the count of those that had none. */
  #process = ""
  #processes = 0
  #isSeeking = false
  /** Jobs that have something to hand out, in the order of their turns. */
  readonly #round: Array<Job> = []
  #asking: Asking | undefined = undefined
  /** Questions to the directory, and the newest that was answered. */
  #asked = 0
  #answered = 0
  /** Done by the next sign of the peer. */
  #sign = Deferred.makeUnsafe<void>()

  constructor(name: string, core: Core) {
    this.name = name
    this.#core = core
    const { coolDownMs, unreachableAfterMs: patienceMs } = core.settings
    this.breaker = new CircuitBreaker({ patienceMs, coolDownMs })
    this.ways = new Ways(this, core)
  }

  get isIdle(): boolean {
    return this.jobs.size === 0 && this.ways.areIdle
  }

  /** Whether it is the local node, since all of its cards are cards of this engine. */
  get isSelf(): boolean {
    const { nics } = this.memory.description
    const own = new Set(this.#core.pumps.map(({ nic }) => nic.path))
    return nics.length > 0 && nics.every(({ path }) => own.has(path))
  }

  /** Octets that nobody has posted. */
  get waiting(): number {
    let bytes = 0
    for (const job of this.jobs) bytes += job.waiting
    return bytes
  }

  /** How far each of the peer's cards is from the memory that is next; none: all the same. */
  get aim(): ReadonlyArray<number> {
    const [next] = this.#round
    return (next === undefined ? undefined : this.#aimOf(next)?.distances) ?? []
  }

  /** Whether the directory has ever answered. */
  get isKnown(): boolean {
    return this.memory !== nothing
  }

  /** Whether a link is of this peer by its name. Once its NICs are known, they tell. */
  isNamedBy(link: ReadyLink): boolean {
    return !this.isKnown && link.peer.startsWith(`${this.name}@`)
  }

  /** Asks the directory, unless it has just answered. Who comes meanwhile gets the same answer. */
  get refresh(): Effect.Effect<void, NoDescription> {
    return Effect.suspend(() => {
      if (!this.isStale) return Effect.void
      return Deferred.await((this.#asking ?? this.#question()).answer)
    })
  }

  /**
   * The peer has opened a link, so it is there. It is asked at once, also if it was to be asked
   * later, or if a question to the process before it hangs.
   */
  showed(): void {
    this.isStale = true
    if ((this.#asking?.questions ?? 0) < mostQuestions) this.#question()
    const sign = this.#sign
    this.#sign = Deferred.makeUnsafe()
    Deferred.doneUnsafe(sign, Effect.void)
  }

  /** Asks, beside the questions that are under way. The first answer counts for all of them. */
  #question(): Asking {
    const asking = (this.#asking ??= { answer: Deferred.makeUnsafe(), questions: 0 })
    asking.questions += 1
    const asked = Effect.map(Effect.exit(this.#ask), (exit) => {
      asking.questions -= 1
      if (Exit.isFailure(exit) && asking.questions > 0) return
      if (this.#asking === asking) this.#asking = undefined
      Deferred.doneUnsafe(asking.answer, exit)
    })
    this.#core.fork(asked)
    return asking
  }

  /**
   * Finds out which process a link leads to before it is used, and sees to it that the description
   * in use is of that process: keys of another one may be valid there by chance.
   *
   * A link that names its process is believed. For one that does not, an open link of the process
   * that is known can vouch: a server has one process at a time, and that one still answers. Else
   * it is another process, and is asked for its memory now that the link leads to it.
   */
  recognised<A>(
    link: ReadyLink,
    use: (recognised: Effect.Effect<void, NoDescription | LinkFailure>) => Effect.Effect<A>
  ): Effect.Effect<A> {
    const recognise = Effect.gen({ self: this }, function* () {
      const { peerEpoch } = link
      if (peerEpoch === undefined && (yield* this.ways.vouch)) return
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

  /** Asks again while nobody answers, for as long as work waits for a peer. */
  get introduction(): Effect.Effect<void, NoDescription> {
    const { backoff, now, settings } = this.#core
    return Effect.gen({ self: this }, function* () {
      const end = now() + settings.unreachableAfterMs
      const waits = backoff()
      while (true) {
        const asked = yield* Effect.result(this.refresh)
        if (Result.isSuccess(asked)) return
        const { failure } = asked
        const wait = waits.next()
        if (failure.reason !== "unanswered" || now() + wait > end) return yield* failure
        yield* Effect.raceFirst(Effect.sleep(wait), Deferred.await(this.#sign))
      }
    })
  }

  /** What is known of why nothing moves now. */
  get cause(): Pick<Stop, "fault"> & { readonly detail: string } {
    const fault = this.breaker.isOutage ? this.ways.lastFault : undefined
    return { detail: this.silence === undefined ? "" : `; ${this.silence.message}`, fault }
  }

  /** Why no transfer may begin, if so. */
  get obstacle(): Stop | undefined {
    const { lastFault } = this.ways
    if (this.ways.hasNoCard) return givenUp("no own card is left", lastFault)
    const isOpen = this.breaker.isOpen(this.#core.now())
    return isOpen ? givenUp("not tried again yet", lastFault) : undefined
  }

  submit(job: Job): void {
    if (this.jobs.size === 0) this.breaker.begin()
    this.jobs.add(job)
    this.queue(job)
    this.ways.feed()
  }

  /** A job has something to hand out. */
  queue(job: Job): void {
    if (job.isQueued || !job.hasWork) return
    job.isQueued = true
    this.#round.push(job)
  }

  /** The next slice for a way, of the jobs, which take turns. */
  next(way: Way): Slice | undefined {
    for (let left = this.#round.length; left > 0; left--) {
      const job = this.#round.shift()!
      const buffer = this.#aimOf(job)
      if (buffer !== undefined && !this.ways.takes(way, buffer)) {
        this.#round.push(job)
        continue
      }
      job.isQueued = false
      const slice = job.take(this.memory, this.#core.pool, this.#core.now())
      this.queue(job)
      if (slice !== undefined) return slice
      if (job.lack !== undefined) this.#seek()
    }
    return undefined
  }

  /** The peer cannot be reached, and what waits has waited enough. */
  giveUp(detail: string): void {
    Metrics.outages.updateUnsafe(1, this.#core.context)
    const stop = givenUp(detail, this.ways.lastFault)
    for (const job of this.jobs) {
      job.halt(stop, this.#core.pool)
      job.settle()
    }
  }

  /** What a job hands out next, if it matters which way that goes. */
  #aimOf(job: Job): PeerBuffer | undefined {
    return this.memory.isEven ? undefined : job.aim(this.memory)
  }

  get #ask(): Effect.Effect<void, NoDescription> {
    const process = this.#process
    const number = ++this.#asked
    const { directory, settings } = this.#core
    const unanswered = (detail: string) =>
      Effect.fail(new NoDescription({ peer: this.name, reason: "unanswered", detail }))
    return Effect.suspend(() => directory.resolve(this.name)).pipe(
      // A program's own directory may throw: those that wait for its answer must hear of it.
      Effect.catchDefect((defect) => unanswered(String(defect))),
      Effect.timeoutOrElse({
        duration: settings.openWithinMs,
        orElse: () => unanswered(`no answer within ${settings.openWithinMs} ms`)
      }),
      Effect.flatMap((said) => check(this.name, said)),
      Effect.map((description) => {
        // A later question may have been answered before.
        if (number < this.#answered) return
        this.#answered = number
        this.isStale = false
        this.silence = undefined
        if (!isOlder(description, this.memory.description)) this.#learn(description, process)
      }),
      Effect.tapError((error) => Effect.sync(() => void (this.silence = error)))
    )
  }

  #learn(description: Description, process: string): void {
    const { pool } = this.#core
    const before = this.memory.process
    this.memory = new PeerMemory(description, process)
    this.ways.know(description.nics)
    if (this.memory.process !== before) {
      for (const way of this.ways.all) this.ways.leave(way, "the peer's process is another one")
    }
    for (const job of this.jobs) {
      job.learn(this.memory, pool)
      if (job.lack !== undefined) job.look(this.memory)
      this.queue(job)
      job.settle()
    }
  }

  /** Asks again, as long as a transfer lacks memory that the peer had, and may have again. */
  #seek(): void {
    if (this.#isSeeking) return
    this.#isSeeking = true
    const { backoff, now, pool, settings } = this.#core
    const lacking = () => [...this.jobs].filter(({ lack }) => lack !== undefined)
    const ask = Effect.gen({ self: this }, function* () {
      const waits = backoff()
      while (lacking().length > 0) {
        yield* Effect.sleep(waits.next())
        this.isStale = true
        yield* Effect.ignore(this.refresh)
        this.ways.feed()
        for (const job of lacking()) {
          job.missed(now(), settings.unreachableAfterMs, pool)
          job.settle()
        }
      }
      this.#isSeeking = false
    })
    this.#core.fork(ask)
  }
}

/** Answers of one process may overtake each other. */
const isOlder = ({ epoch: next }: Description, { epoch: last }: Description): boolean =>
  next !== undefined && last !== undefined && isEarlier(next, last)

const givenUp = (detail: string, fault: RailFault | undefined): Stop => ({
  reason: "peer-unreachable",
  detail,
  fault
})

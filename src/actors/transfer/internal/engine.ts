/** The engine: connects peers, memory and NICs. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SettingsRefused } from "../../../native/io/PoolError.ts"
import type { CreateError } from "../../../native/verbs/VerbsError.ts"
import { type Description, Directory, type NoDescription } from "../../rdma/Directory.ts"
import { Links } from "../../endpoint/Links.ts"
import type {
  DescriptionFull,
  Memory,
  NameTaken,
  Options as MemoryOptions,
  RegisteredMemory
} from "../../rdma/Memory.ts"
import { Epochs } from "../../kernel/Epochs.ts"
import { Nics } from "../../rdma/Nics.ts"
import type { Moved, Request, Transfer } from "../Transfer.ts"
import {
  type InvalidTransfer,
  type TransferError,
  type TransferFailed,
  TooManyTransfers
} from "../TransferError.ts"
import * as Metrics from "../TransferMetrics.ts"
import type { EngineContext } from "./engineContext.ts"
import { cancelled, closed, countsOf, failure, formatted } from "./failures.ts"
import { namedOperations, released } from "./failures.ts"
import { Copied, copyLocally } from "./local.ts"
import { Job, type CheckedOperation, type StopReason } from "./job.ts"
import { MemoryRegistry } from "./memoryRegistry.ts"
import { Peer } from "./peer.ts"
import { faultOfPeer, validateRequest } from "./requestValidation.ts"
import { progressOf } from "./progress.ts"
import { NicScheduler } from "./nicScheduler.ts"
import { follow, prepare, renew } from "./readying.ts"
import { settingsOf, mechanismsOf, type Settings } from "./settings.ts"
import { fitting, SlicePool } from "./slicing.ts"

export class Engine {
  readonly #context: EngineContext
  readonly #peers: Map<string, Peer>
  readonly #memories: MemoryRegistry
  readonly #jobs = new Map<Job, Peer>()
  /** Fails when the engine ends, and so do all that wait for a peer's answer. */
  readonly #end = Deferred.makeUnsafe<never, StopReason>()

  constructor(context: EngineContext, peers: Map<string, Peer>) {
    this.#context = context
    this.#peers = peers
    const nics = () => context.schedulers.map(({ nic }) => nic)
    this.#memories = new MemoryRegistry(nics, context.epochs, context.settings.describedBytes)
  }

  get #isClosed(): boolean {
    return Deferred.isDoneUnsafe(this.#end)
  }

  register(
    options: MemoryOptions
  ): Effect.Effect<Memory, CreateError | NameTaken | DescriptionFull, Scope.Scope> {
    return this.#memories.register(options, (memory) => this.#release(memory))
  }

  named(name: string): Effect.Effect<Memory> {
    return this.#memories.named(name)
  }

  get description(): Description {
    return {
      nics: this.#context.schedulers.map(({ nic: { path }, place }) =>
        place === undefined ? { path } : { path, gid: place.gid, lid: place.lid }
      ),
      buffers: this.#memories.buffers,
      // Each description has a later version, whether or not anything has changed.
      epoch: this.#context.epochs.next()
    }
  }

  warm(name: string): Effect.Effect<void, NoDescription | TransferFailed> {
    const warm = Effect.flatMap(this.#use(name), (peer) => {
      return Effect.flatMap(peer.isKnown ? Effect.void : peer.introduction, () => peer.rails.warm)
    })
    return Effect.mapError(this.#untilEnd(Effect.scoped(warm)), (error) =>
      "_tag" in error ? error : failure(name, error)
    )
  }

  readonly start = Effect.fnUntraced(
    { self: this },
    function* (
      this: Engine,
      request: Request
    ): Effect.fn.Return<Transfer, TransferError, Scope.Scope> {
      const { now, settings } = this.#context
      const began = now()
      const { onReplaced = "begin-anew", peer: name, within } = request
      const plans = validateRequest(request, this.#memories.all, settings.operations)
      if ("_tag" in plans) return yield* plans
      const peer = yield* this.#use(name)
      const early = this.#isClosed ? closed : peer.refusal
      if (early !== undefined) return yield* failure(name, early, countsOf(plans))
      const copied = new Copied()
      const prepare = this.#prepare(peer, plans, copied, onReplaced)
      if (yield* this.#soon(prepare, peer, { plans, copied, within })) {
        const all = { moved: copied.moved, bytes: countsOf(plans).bytes }
        return { done: Effect.succeed(all), progress: Stream.succeed(all) }
      }
      if (peer.jobs.size >= settings.transfers) {
        return yield* new TooManyTransfers({ peer: name, limit: settings.transfers })
      }
      const job = new Job(plans, settings, { onReplaced, hasDeadline: within !== undefined })
      const over = Deferred.makeUnsafe<Moved, TransferFailed>()
      yield* Effect.acquireRelease(this.#admit(peer, job, over), () => this.#stop(job, cancelled))
      if (within !== undefined) yield* Effect.forkScoped(this.#expire(job, within, now() - began))
      return { done: Deferred.await(over), progress: progressOf(job) }
    }
  )

  /** Prepares a NIC whose device was reopened. */
  renew(scheduler: NicScheduler): Effect.Effect<void, never, Scope.Scope> {
    const dispatch = () => this.#peers.forEach(({ rails }) => rails.dispatch())
    return Effect.suspend(() => renew(scheduler, this.#memories.all, dispatch))
  }

  /** Ends everything. When this returns, no work is posted. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      Deferred.doneUnsafe(this.#end, Effect.fail(closed))
      const jobs = [...this.#jobs.keys()]
      return Effect.forEach(jobs, (job) => this.#stop(job, closed), {
        concurrency: "unbounded",
        discard: true
      })
    })
  }

  /** Finds the peer's memory. True if the peer is this process: then all has moved already. */
  #prepare(
    peer: Peer,
    plans: ReadonlyArray<CheckedOperation>,
    copied: Copied,
    onReplaced: Request["onReplaced"]
  ): Effect.Effect<boolean, InvalidTransfer | NoDescription | StopReason> {
    const [{ settings }, isAnew] = [this.#context, onReplaced === "begin-anew"]
    const memories = this.#memories.all
    const all = this.#untilEnd(copyLocally(plans, peer, memories, copied, isAnew, settings))
    return this.#locate(peer, plans).pipe(
      Effect.flatMap(() => (peer.isSelf ? Effect.as(all, true) : Effect.succeed(false)))
    )
  }

  /** Looks in the known description. If that does not allow it, asks the directory again. */
  #locate(
    peer: Peer,
    plans: ReadonlyArray<CheckedOperation>
  ): Effect.Effect<void, InvalidTransfer | NoDescription | StopReason> {
    const look = Effect.suspend(() => {
      const fault = faultOfPeer(peer.name, plans, peer.memory)
      return fault === undefined ? Effect.void : Effect.fail(fault)
    })
    if (!peer.isKnown) return Effect.andThen(this.#untilEnd(peer.introduction), look)
    return Effect.catch(look, () => {
      peer.isStale = true
      return Effect.andThen(this.#untilEnd(peer.refresh), look)
    })
  }

  /** Interrupts a request to the directory when the engine ends. */
  #untilEnd<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | StopReason> {
    return Effect.raceFirst(effect, Deferred.await(this.#end))
  }

  /** Applies the deadline of a transfer also before it is admitted. */
  #soon<A, E extends { readonly _tag: string }>(
    effect: Effect.Effect<A, E | StopReason>,
    peer: Peer,
    {
      copied,
      plans,
      within
    }: Pick<Request, "within"> & {
      readonly plans: ReadonlyArray<CheckedOperation>
      readonly copied: Copied
    }
  ): Effect.Effect<A, E | TransferFailed> {
    const counted = Effect.mapError(effect, (error) =>
      "_tag" in error ? error : failure(peer.name, error, countsOf(plans, copied))
    )
    if (within === undefined) return counted
    const late = Effect.suspend(() => {
      const detail = peer.isKnown
        ? `not done after ${formatted(within)}`
        : `the peer's memory is not known${peer.cause.detail}`
      const stop = { reason: "deadline", detail } as const
      return Effect.fail(failure(peer.name, stop, countsOf(plans, copied)))
    })
    return Effect.timeoutOrElse(counted, { duration: within, orElse: () => late })
  }

  /** The peer of a name, which is not forgotten while the Scope is open. */
  #use(name: string): Effect.Effect<Peer, never, Scope.Scope> {
    const use = Effect.sync(() => {
      const peer = this.#peerOf(name)
      peer.users++
      return peer
    })
    return Effect.acquireRelease(use, (peer) => Effect.sync(() => void peer.users--))
  }

  #peerOf(name: string): Peer {
    const known = this.#peers.get(name)
    if (known !== undefined) return known
    // Peers that are not in use cost a lookup when they come back.
    if (this.#peers.size >= this.#context.settings.peers) {
      for (const [other, { isIdle }] of this.#peers) if (isIdle) this.#peers.delete(other)
    }
    const peer = new Peer(name, this.#context)
    this.#peers.set(name, peer)
    return peer
  }

  /** Memory may have been released while the directory was asked. */
  #admit(
    peer: Peer,
    job: Job,
    over: Deferred.Deferred<Moved, TransferFailed>
  ): Effect.Effect<void, TransferFailed> {
    return Effect.suspend(() => {
      const gone = job.plans.find(({ memory }) => memory.isReleased)
      const stop = this.#isClosed ? closed : gone && released(gone.memory)
      if (stop !== undefined) return Effect.fail(failure(peer.name, stop, countsOf(job.plans)))
      this.#begin(peer, job, over)
      return Effect.void
    })
  }

  #begin(peer: Peer, job: Job, over: Deferred.Deferred<Moved, TransferFailed>): void {
    this.#jobs.set(job, peer)
    job.onEnd = () => {
      this.#jobs.delete(job)
      peer.jobs.delete(job)
      const { bytes, moved, stop } = job
      // All of it has moved, even if it was stopped since.
      const isWhole = stop === undefined || moved === bytes
      const outcome = isWhole ? "moved" : stop.reason
      Metric.withAttributes(Metrics.transfers, { outcome }).updateUnsafe(1, this.#context.context)
      if (isWhole) Deferred.doneUnsafe(over, Effect.succeed({ moved, bytes }))
      else {
        const unfinished = job.unfinished(namedOperations)
        const error = failure(peer.name, stop, { moved, bytes, unfinished })
        Deferred.doneUnsafe(over, Effect.fail(error))
      }
      for (const tell of job.watchers) tell()
    }
    peer.submit(job)
  }

  /** Stops a job and waits until nothing of it is posted. */
  #stop(job: Job, stop: StopReason): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (job.isOver) return Effect.void
      job.halt(stop, this.#context.pool)
      job.settle()
      const over = Effect.callback<void>((resume) => {
        if (job.isOver) return resume(Effect.void)
        const { onEnd } = job
        job.onEnd = () => {
          onEnd()
          resume(Effect.void)
        }
      })
      return Effect.raceFirst(over, Effect.andThen(this.#hurry(job), Effect.never))
    })
  }

  /** Ends posted work that does not complete, by giving up its link. */
  #hurry(job: Job): Effect.Effect<void> {
    const { schedulers, settings } = this.#context
    const retire = Effect.sync(() => {
      for (const scheduler of schedulers) scheduler.leaveLinksOf(job)
    })
    return Effect.delay(retire, settings.drainWithinMs)
  }

  /** Stops a job at its deadline, of whose time some is spent already. */
  #expire(job: Job, within: Duration.Input, spentMs: number): Effect.Effect<void> {
    const left = Math.max(0, Duration.toMillis(within) - spentMs)
    return Effect.suspend(() => {
      const { detail = "", fault } = this.#jobs.get(job)?.cause ?? {}
      const lack = job.lack === undefined ? "" : `; ${job.lack.detail}`
      const late = `not done after ${formatted(within)}${lack}${detail}`
      return this.#stop(job, { reason: "deadline", detail: late, fault })
    }).pipe(Effect.delay(left))
  }

  #release(memory: RegisteredMemory): Effect.Effect<void> {
    const users = [...this.#jobs.keys()].filter(({ plans }) =>
      plans.some((plan) => plan.memory === memory)
    )
    return Effect.forEach(users, (job) => this.#stop(job, released(memory)), {
      concurrency: "unbounded",
      discard: true
    })
  }
}

/** Makes an engine that lasts as long as the Scope. */
export const makeEngine = Effect.fnUntraced(function* (
  given: Settings
): Effect.fn.Return<Engine, CreateError | SettingsRefused, Scope.Scope | Nics | Links | Directory> {
  const clock = yield* Clock.Clock
  const run = yield* FiberSet.makeRuntime()
  const nics = yield* Nics
  const schedulers: Array<NicScheduler> = []
  const peers = new Map<string, Peer>()
  const settings = yield* settingsOf(given)
  const messageBytes = Math.min(...nics.map(({ device }) => device.info.limits.messageBytes))
  const context: EngineContext = {
    settings: { ...settings, sliceBytes: fitting(settings.sliceBytes, messageBytes) },
    now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
    // Never at once, because the caller has not finished its step.
    fork: (effect) => void run(Effect.andThen(Effect.yieldNow, effect)),
    pool: new SlicePool(),
    ...(yield* mechanismsOf(settings)),
    schedulers,
    onNicLost: (local) => peers.forEach(({ rails }) => rails.onNicLost(local)),
    links: yield* Links,
    directory: yield* Directory,
    epochs: yield* Epochs,
    context: yield* Effect.context<never>()
  }
  const scope = yield* Effect.scope
  const engine = new Engine(context, peers)
  for (const [index, nic] of nics.entries()) {
    const scheduler = new NicScheduler(index, nic, context)
    yield* prepare(scheduler)
    schedulers.push(scheduler)
    context.fork(follow(scheduler))
    context.fork(scheduler.run(Scope.provide(engine.renew(scheduler), scope)))
  }
  yield* context.links.listen((link) => peers.forEach(({ rails }) => rails.onPeerOpened(link)))
  yield* Effect.addFinalizer(() => engine.close)
  return engine
})

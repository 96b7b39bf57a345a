/** The engine: peers, memory and cards put together. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CreateError } from "../../../native/verbs/VerbsError.ts"
import { type Description, Directory, type NoDescription } from "../../rdma/Directory.ts"
import { Links } from "../../endpoint/Links.ts"
import {
  DescriptionFull,
  type Memory,
  NameTaken,
  type Options as MemoryOptions,
  register,
  type RegisteredMemory
} from "../../rdma/Memory.ts"
import { Epochs } from "../../kernel/Epochs.ts"
import { Nics } from "../../rdma/Nics.ts"
import type { Moved, Request, Transfer } from "../Transfer.ts"
import {
  type InvalidTransfer,
  type TransferError,
  TooManyTransfers,
  TransferFailed
} from "../TransferError.ts"
import * as Segment from "../../rdma/Segment.ts"
import * as Metrics from "../TransferMetrics.ts"
import type { Core } from "./core.ts"
import { fitting } from "./slicing.ts"
import { copyLocally } from "./local.ts"
import { Job, type Plan, type Stop } from "./job.ts"
import { Peer } from "./peer.ts"
import { plansOf } from "./requestValidation.ts"
import { progressOf } from "./progress.ts"
import { Pump } from "./nicScheduler.ts"
import { follow, prepare, renew } from "./readying.ts"
import { defaults, mechanismsOf, type Settings } from "./settings.ts"
import { SlicePool } from "./slice.ts"

/** The most operations that an error names. */
export const namedOperations = 64

export class Engine {
  readonly #core: Core
  readonly #peers: Map<string, Peer>
  readonly #memories = new Map<string, RegisteredMemory>()
  readonly #jobs = new Map<Job, Peer>()
  /** Who waits for memory of a name. */
  readonly #wanted = new Map<string, Set<(memory: RegisteredMemory) => void>>()
  #unnamed = 0
  /** What peers are told of all memory takes so many bytes at most. */
  #toldBytes = 0
  #isClosed = false

  constructor(core: Core, peers: Map<string, Peer>) {
    this.#core = core
    this.#peers = peers
  }

  get #nics() {
    return this.#core.pumps.map(({ nic }) => nic)
  }

  readonly register = Effect.fnUntraced(
    { self: this },
    function* (
      this: Engine,
      options: MemoryOptions
    ): Effect.fn.Return<Memory, CreateError | NameTaken | DescriptionFull, Scope.Scope> {
      const name = options.name ?? `memory-${++this.#unnamed}`
      if (this.#memories.has(name)) return yield* new NameTaken({ name })
      const memory = yield* register(this.#nics, name, options, this.#core.epochs.next())
      const paths = this.#nics.map(({ path }) => path)
      const added = memory.buffers
        .filter(({ keys }) => keys.length > 0)
        .reduce((sum, buffer) => sum + Segment.bytesOf(buffer, paths), 0)
      const told = this.#toldBytes + added
      const limit = this.#core.settings.describedBytes
      if (told > limit) return yield* new DescriptionFull({ name, bytes: told, limit })
      this.#memories.set(name, memory)
      this.#toldBytes = told
      yield* Effect.addFinalizer(() => Effect.sync(() => void (this.#toldBytes -= added)))
      // Runs before the regions go: what is posted of it must have ended by then.
      yield* Effect.addFinalizer(() => this.#release(memory))
      for (const tell of this.#wanted.get(name) ?? []) tell(memory)
      this.#wanted.delete(name)
      return memory
    }
  )

  /** The memory of a name, as soon as there is one. */
  named(name: string): Effect.Effect<Memory> {
    return Effect.callback<Memory>((resume) => {
      const memory = this.#memories.get(name)
      if (memory !== undefined) return resume(Effect.succeed(memory))
      const tell = (found: Memory) => resume(Effect.succeed(found))
      const waiting = this.#wanted.get(name) ?? new Set()
      this.#wanted.set(name, waiting.add(tell))
      return Effect.sync(() => waiting.delete(tell))
    })
  }

  get description(): Description {
    return {
      nics: this.#core.pumps.map(({ nic: { path }, place }) =>
        place === undefined ? { path } : { path, gid: place.gid, lid: place.lid }
      ),
      buffers: [...this.#memories.values()].flatMap(({ buffers }) => buffers),
      // What is said later has a later version, whether or not anything has changed.
      epoch: this.#core.epochs.next()
    }
  }

  readonly warm = Effect.fnUntraced(
    { self: this },
    function* (this: Engine, name: string): Effect.fn.Return<void, NoDescription | TransferFailed> {
      const peer = this.#peerOf(name)
      if (!peer.isKnown) yield* peer.introduction
      yield* Effect.mapError(peer.ways.warm, (stop) => failure(name, stop))
    }
  )

  readonly start = Effect.fnUntraced(
    { self: this },
    function* (
      this: Engine,
      { onReplaced = "begin-anew", ops, peer: name, within }: Request
    ): Effect.fn.Return<Transfer, TransferError, Scope.Scope> {
      const { settings } = this.#core
      const peer = this.#peerOf(name)
      const early = this.#isClosed ? closed : peer.obstacle
      if (early !== undefined) return yield* failure(name, early)
      const plans = yield* this.#soon(this.#plan(peer, ops), peer, ops, within)
      if (peer.isSelf) {
        const copy = copyLocally(plans, peer.memory, this.#memories)
        const moved = yield* Effect.mapError(copy, (stop) => failure(name, stop))
        return { done: Effect.succeed(moved), progress: Stream.succeed(moved) }
      }
      if (peer.jobs.size >= settings.transfers) {
        return yield* new TooManyTransfers({ peer: name, limit: settings.transfers })
      }
      const job = new Job(plans, settings, { onReplaced, hasDeadline: within !== undefined })
      const over = Deferred.makeUnsafe<Moved, TransferFailed>()
      yield* Effect.acquireRelease(
        Effect.sync(() => this.#admit(peer, job, over)),
        () => this.#stop(job, cancelled)
      )
      if (within !== undefined) yield* Effect.forkScoped(this.#expire(job, within))
      return { done: Deferred.await(over), progress: progressOf(job) }
    }
  )

  /** A card's device was opened anew. */
  renew(pump: Pump): Effect.Effect<void, never, Scope.Scope> {
    return Effect.suspend(() => renew(pump, this.#memories, this.#peers))
  }

  /** Ends everything. What is posted has ended when this returns. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isClosed = true
      const jobs = [...this.#jobs.keys()]
      return Effect.forEach(jobs, (job) => this.#stop(job, closed), {
        concurrency: "unbounded",
        discard: true
      })
    })
  }

  /** Plans by what is known. What the peer is said not to have is asked for again. */
  #plan(
    peer: Peer,
    ops: Request["ops"]
  ): Effect.Effect<ReadonlyArray<Plan>, InvalidTransfer | NoDescription> {
    const plan = Effect.suspend(() => {
      const plans = plansOf(peer.name, ops, peer.memory, this.#core.settings.operations)
      return "_tag" in plans ? Effect.fail(plans) : Effect.succeed(plans)
    })
    if (!peer.isKnown) return Effect.andThen(peer.introduction, plan)
    const asked = Effect.suspend(() => {
      peer.isStale = true
      return Effect.andThen(peer.refresh, plan)
    })
    return Effect.catchTag(plan, "InvalidTransfer", (error) =>
      error.lacks === undefined ? Effect.fail(error) : asked
    )
  }

  /** Nothing of a transfer lasts longer than it may, also before it is admitted. */
  #soon<A, E>(
    effect: Effect.Effect<A, E>,
    peer: Peer,
    ops: Request["ops"],
    within: Duration.Input | undefined
  ): Effect.Effect<A, E | TransferFailed> {
    if (within === undefined) return effect
    const late = Effect.suspend(() => {
      const detail = `what the peer has is not known${peer.cause.detail}`
      const lengths = ops.map((one) => (one.op === "write" ? one.from : one.to).length)
      const bytes = lengths.reduce((sum, length) => sum + length, 0)
      const unfinished = [...ops.keys()].slice(0, namedOperations)
      const stop = { reason: "deadline", detail } as const
      return Effect.fail(failure(peer.name, stop, { moved: 0, bytes, unfinished }))
    })
    return Effect.timeoutOrElse(effect, { duration: within, orElse: () => late })
  }

  #peerOf(name: string): Peer {
    const known = this.#peers.get(name)
    if (known !== undefined) return known
    if (this.#peers.size >= this.#core.settings.peers) this.#forget()
    const peer = new Peer(name, this.#core)
    this.#peers.set(name, peer)
    return peer
  }

  /** Peers that are not in use cost a lookup when they come back. */
  #forget(): void {
    for (const [name, peer] of this.#peers) if (peer.isIdle) this.#peers.delete(name)
  }

  #admit(peer: Peer, job: Job, over: Deferred.Deferred<Moved, TransferFailed>): void {
    this.#jobs.set(job, peer)
    job.onEnd = () => {
      this.#jobs.delete(job)
      peer.jobs.delete(job)
      const { bytes, moved, stop } = job
      // What moved has moved, also if somebody meanwhile wanted it to stop.
      const isWhole = stop === undefined || moved === bytes
      const outcome = isWhole ? "moved" : stop.reason
      Metric.withAttributes(Metrics.transfers, { outcome }).updateUnsafe(1, this.#core.context)
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
  #stop(job: Job, stop: Stop): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (job.isOver) return Effect.void
      job.halt(stop, this.#core.pool)
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

  /** Work that does not end by itself ends with its link. */
  #hurry(job: Job): Effect.Effect<void> {
    const { pumps, settings } = this.#core
    const retire = Effect.sync(() => {
      for (const pump of pumps) pump.leaveLinksOf(job)
    })
    return Effect.delay(retire, settings.drain)
  }

  #expire(job: Job, within: Duration.Input): Effect.Effect<void> {
    const after = `not done after ${Duration.format(Duration.fromInputUnsafe(within))}`
    return Effect.suspend(() => {
      const { detail = "", fault } = this.#jobs.get(job)?.cause ?? {}
      const lack = job.lack === undefined ? "" : `; ${job.lack.detail}`
      return this.#stop(job, { reason: "deadline", detail: `${after}${lack}${detail}`, fault })
    }).pipe(Effect.delay(within))
  }

  #release(memory: RegisteredMemory): Effect.Effect<void> {
    return Effect.suspend(() => {
      memory.isReleased = true
      this.#memories.delete(memory.name)
      const users = [...this.#jobs.keys()].filter(({ plans }) =>
        plans.some((plan) => plan.memory === memory)
      )
      const detail = `${memory.name} was released`
      const stop: Stop = { reason: "memory-released", detail }
      return Effect.forEach(users, (job) => this.#stop(job, stop), {
        concurrency: "unbounded",
        discard: true
      })
    })
  }
}

const closed: Stop = { reason: "closed", detail: "the engine has ended" }
const cancelled: Stop = { reason: "cancelled", detail: "nobody waits for it any more" }

const none = { moved: 0, bytes: 0, unfinished: [] }

const failure = (
  peer: string,
  { detail, fault, reason }: Stop,
  counts: Pick<TransferFailed, "moved" | "bytes" | "unfinished"> = none
): TransferFailed => new TransferFailed({ peer, reason, ...counts, detail, fault })

/** Makes an engine that lasts as long as the Scope. */
export const makeEngine = Effect.fnUntraced(function* (
  given: Partial<Settings>
): Effect.fn.Return<Engine, CreateError, Scope.Scope | Nics | Links | Directory> {
  const clock = yield* Clock.Clock
  const run = yield* FiberSet.makeRuntime()
  const nics = yield* Nics
  const pumps: Array<Pump> = []
  const peers = new Map<string, Peer>()
  const settings = { ...defaults, ...given }
  const messageBytes = Math.min(...nics.map(({ device }) => device.info.limits.messageBytes))
  const core: Core = {
    settings: { ...settings, sliceBytes: fitting(settings.sliceBytes, messageBytes) },
    now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
    // Never at once: who forks is in the middle of its work.
    fork: (effect) => void run(Effect.andThen(Effect.yieldNow, effect)),
    pool: new SlicePool(),
    ...(yield* mechanismsOf(settings)),
    pumps,
    peers,
    links: yield* Links,
    directory: yield* Directory,
    epochs: yield* Epochs,
    context: yield* Effect.context<never>()
  }
  const scope = yield* Effect.scope
  const engine = new Engine(core, peers)
  for (const [index, nic] of nics.entries()) {
    const pump = new Pump(index, nic, core)
    yield* prepare(pump)
    pumps.push(pump)
    core.fork(follow(pump))
    core.fork(pump.run(Scope.provide(engine.renew(pump), scope)))
  }
  yield* core.links.listen((link) => {
    for (const peer of peers.values()) peer.ways.arrived(link)
  })
  yield* Effect.addFinalizer(() => engine.close)
  return engine
})

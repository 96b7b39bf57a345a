/**
 * A pool of I/O workers that own sockets, so that the main thread sees whole frames and keeps
 * its time for what decides.
 *
 * Which lanes go to a worker is a setting, because the hand-over has a price: each wake-up of
 * the main thread costs about 10 µs, paid once per turn of its loop. TLS always gains (a frame
 * costs the main thread some tens of nanoseconds instead of more than a microsecond, a
 * handshake microseconds instead of hundreds); large plain flows gain, because a batch spreads
 * the price; a framer that consumes frames itself gains all of it. Plain traffic in small
 * batches does not, so that is read on the main thread by default, by the same framer.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { availableParallelism } from "node:os"
import * as Lane from "./Lane.ts"
import { Crew, type CrewCounts, type CrewSettings } from "./lanes/crew.ts"
import type { Endpoint, LaneLimits, LaneSetup, OpenFailure, TlsSettings } from "./lanes/jobs.ts"
import type { LaneCore } from "./lanes/laneCore.ts"
import { loadFramer } from "./lanes/loadFramer.ts"
import type { Opener } from "./lanes/workerLink.ts"

/**
 * A connection or a listener could not be opened.
 *
 * @category errors
 * @since 0.1.0
 */
export class OpenFailed extends Schema.TaggedError<OpenFailed>()("OpenFailed", {
  address: Schema.String,
  step: Schema.Literals(["resolve", "connect", "tls", "listen", "framer", "worker"]),
  code: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.address}: ${this.step} failed: ${this.detail}`
  }
}

/**
 * How a pool works. Each limit has a default with its reason.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /**
   * Workers: a fixed number, or bounds within which load decides. 0 keeps everything on the
   * main thread. Default: from 1 to one less than the machine has cores.
   */
  readonly workers?: number | { readonly min: number; readonly max: number }
  /** Bytes that one lane may have unsent. Default 1 MiB. */
  readonly sendBytes?: number
  /** Bytes that one lane may have read and its user not taken. Default 2 MiB. */
  readonly receiveBytes?: number
  /**
   * Bytes that a lane reads before others get their turn. Default 256 KiB: four reads, so that
   * one flood delays its neighbours by less than a tenth of a millisecond.
   */
  readonly readBudget?: number
  /** Bytes of one write job. Default 64 KiB, what a socket's buffer takes at once. */
  readonly writeBudget?: number
  /** Milliseconds for a connection to open, with its TLS handshake. Default 10 s. */
  readonly openWithin?: number
  /** Milliseconds after which a peer that takes no bytes ends its lane. Default 30 s. */
  readonly stallWithin?: number
  /** Milliseconds for a lane to close in order before it is cut. Default 1 s. */
  readonly closeWithin?: number
  /** Milliseconds for a worker to end after it was asked. Default 5 s. */
  readonly stopWithin?: number
  /** Bytes of one chunk of a worker's receive memory. Default 256 KiB. */
  readonly chunkBytes?: number
  /** Chunks of a worker's receive memory. Default 64, which is 16 MiB. */
  readonly chunks?: number
  /** 32-bit words of a worker's rings, powers of two. Default 2^18 in, 2^16 out. */
  readonly inboxWords?: number
  readonly outboxWords?: number
  /** Lanes of one worker. Default 16384. */
  readonly lanesPerWorker?: number
  /** Connects and listens of one worker under way. Default 1024. */
  readonly openJobs?: number
  /** Lanes that a listener holds until they are accepted; more are closed. Default 1024. */
  readonly acceptQueue?: number
}

/**
 * What opens a lane.
 *
 * @category models
 * @since 0.1.0
 */
export interface LaneOptions {
  /** The module whose default export is the framer. */
  readonly framer: URL
  /** Handed to the framer's `open`; must survive a structured clone. */
  readonly options?: unknown
  readonly tls?: TlsSettings
  /** Keeps the lane open for sending after the peer has ended. Default false. */
  readonly halfOpen?: boolean
  /** Where the socket lives. Default: in a worker with TLS or a consuming framer. */
  readonly on?: "auto" | "worker" | "main"
}

/**
 * Open connections come out of it, one by one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listener {
  readonly address: string
  readonly port: number
  /** Waits for the next connection; the lane closes with the Scope. */
  readonly accept: Effect.Effect<Lane.Lane, never, Scope.Scope>
}

/**
 * Shared memory in which framers may place payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Region {
  /** The number by which a framer finds it. */
  readonly id: number
  readonly bytes: Uint8Array
}

/**
 * What a pool does at the moment, and what it has done.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stats extends CrewCounts {
  readonly workers: number
  readonly lanes: number
  readonly jobsOut: number
}

interface Shape {
  readonly connect: (
    options: LaneOptions & { readonly to: Endpoint }
  ) => Effect.Effect<Lane.Lane, OpenFailed, Scope.Scope>
  /** Takes over a connected socket's file descriptor, which the lane closes. */
  readonly adopt: (
    options: LaneOptions & { readonly fd: number }
  ) => Effect.Effect<Lane.Lane, OpenFailed, Scope.Scope>
  readonly listen: (
    options: LaneOptions & { readonly at: Endpoint; readonly backlog?: number }
  ) => Effect.Effect<Listener, OpenFailed, Scope.Scope>
  /** Registers memory until the Scope closes. */
  readonly register: (memory: SharedArrayBuffer) => Effect.Effect<Region, never, Scope.Scope>
  /** Changes the number of workers; lanes stay where they are until they end. */
  readonly resize: (workers: number) => Effect.Effect<void>
  readonly stats: Effect.Effect<Stats>
}

/**
 * The pool.
 *
 * @category services
 * @since 0.1.0
 */
export class IoPool extends Context.Service<IoPool, Shape>()("handfast/native/IoPool") {
  /** A pool that stops with its Scope: workers are asked to end, and are waited for. */
  static readonly layer = (settings: Settings = {}): Layer.Layer<IoPool> =>
    Layer.effect(
      IoPool,
      Effect.gen(function* () {
        const clock = yield* Clock.Clock
        const limits = limitsOf(settings)
        const crew = yield* Effect.acquireRelease(
          Effect.sync(
            () => new Crew(crewSettings(settings, limits, () => clock.currentTimeMillisUnsafe()))
          ),
          (crew) => Effect.promise(() => crew.stop())
        )
        return IoPool.of(shapeOf(crew, limits, settings))
      })
    )
}

const limitsOf = (settings: Settings): LaneLimits => ({
  sendBytes: settings.sendBytes ?? 1_048_576,
  receiveBytes: settings.receiveBytes ?? 2097152,
  readBudget: settings.readBudget ?? 262_144,
  writeBudget: settings.writeBudget ?? 65_536,
  openWithin: settings.openWithin ?? 10_000,
  stallWithin: settings.stallWithin ?? 30_000,
  closeWithin: settings.closeWithin ?? 1_000
})

const crewSettings = (
  settings: Settings,
  limits: LaneLimits,
  clock: () => number
): CrewSettings => {
  const { workers = { min: 1, max: Math.max(1, availableParallelism() - 1) } } = settings
  const { min, max } = typeof workers === "number" ? { min: workers, max: workers } : workers
  return {
    load: { min, max, startAbove: 0.7, parkBelow: 0.1, busySamples: 3, idleSamples: 50 },
    sampleEvery: 100,
    stopWithin: settings.stopWithin ?? 5_000,
    clock,
    sizes: {
      inboxWords: settings.inboxWords ?? 262_144,
      outboxWords: settings.outboxWords ?? 65_536,
      slab: { chunks: settings.chunks ?? 64, chunkBytes: settings.chunkBytes ?? 262_144 },
      lanes: settings.lanesPerWorker ?? 16_384,
      openJobs: settings.openJobs ?? 1_024,
      limits
    }
  }
}

const addressOf = (endpoint: Endpoint): string =>
  "path" in endpoint ? endpoint.path : `${endpoint.host}:${endpoint.port}`

const failed = (address: string, failure: OpenFailure): OpenFailed =>
  new OpenFailed({ address, ...failure })

const shapeOf = (crew: Crew, limits: LaneLimits, settings: Settings): Shape => {
  const reusePort = process.platform === "linux"
  let regions = 0

  const setupOf = (options: LaneOptions): LaneSetup => ({
    framer: options.framer.href,
    options: options.options,
    limits,
    tls: options.tls,
    halfOpen: options.halfOpen === true
  })

  const prepare = Effect.fnUntraced(function* (options: LaneOptions, address: string) {
    const framer = yield* Effect.tryPromise({
      try: () => loadFramer(options.framer.href),
      catch: (error) => failed(address, { step: "framer", code: "", detail: String(error) })
    })
    const { on = "auto" } = options
    const inWorker = on === "auto" ? options.tls !== undefined || framer.consumes === true : on === "worker"
    return { commands: framer.takesCommands === true, inWorker }
  })

  const open = Effect.fnUntraced(function* (
    options: LaneOptions,
    address: string,
    job: Opener["job"]
  ) {
    const { commands, inWorker } = yield* prepare(options, address)
    const core = yield* Effect.acquireRelease(
      openCore(crew, { job, commands }, inWorker, address),
      Lane.close,
      { interruptible: true }
    )
    return Lane.make(core)
  })

  return {
    connect: (options) =>
      open(options, addressOf(options.to), {
        kind: "connect",
        endpoint: options.to,
        ...setupOf(options)
      }),
    adopt: (options) =>
      open(options, `fd ${options.fd}`, { kind: "adopt", fd: options.fd, ...setupOf(options) }),
    listen: Effect.fnUntraced(function* (options) {
      const address = addressOf(options.at)
      const { commands, inWorker } = yield* prepare(options, address)
      const waiting = new AcceptQueue(settings.acceptQueue ?? 1_024)
      const bound = yield* Effect.acquireRelease(
        listenOn(crew, waiting, inWorker, address, {
          commands,
          job: {
            kind: "listen",
            endpoint: options.at,
            backlog: options.backlog ?? 1_024,
            reusePort: reusePort && "port" in options.at,
            ...setupOf(options)
          }
        }),
        ({ close }) => close,
        { interruptible: true }
      )
      const accept = Effect.uninterruptibleMask((restore) =>
        Effect.acquireRelease(waiting.next(restore), Lane.close).pipe(Effect.map(Lane.make))
      )
      return { address: bound.address, port: bound.port, accept }
    }),
    register: (memory) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const id = ++regions
          crew.register(id, memory)
          return { id, bytes: new Uint8Array(memory) }
        }),
        ({ id }) => Effect.sync(() => crew.unregister(id))
      ),
    resize: (workers) => Effect.sync(() => crew.resize(workers, workers)),
    stats: Effect.sync(() => ({
      ...crew.counts,
      workers: crew.active,
      lanes: crew.lanes,
      jobsOut: crew.jobsOut
    }))
  }
}

/** Opens a connection. Interrupting it waits until the attempt has ended, so nothing leaks. */
const openCore = (
  crew: Crew,
  what: Pick<Opener, "job" | "commands">,
  inWorker: boolean,
  address: string
): Effect.Effect<LaneCore, OpenFailed> =>
  Effect.callback((resume) => {
    let abandoned: (() => void) | undefined
    let opened: LaneCore | undefined
    const ticket = crew.open(
      {
        ...what,
        opened: (core) => {
          opened = core
          if (abandoned === undefined) resume(Effect.succeed(core))
          else {
            core.abort()
            core.onEnd(abandoned)
          }
        },
        failed: (failure) => {
          if (abandoned === undefined) resume(Effect.fail(failed(address, failure)))
          else abandoned()
        },
        listening: () => {},
        accepted: () => {}
      },
      inWorker
    )
    return Effect.callback<void>((done) => {
      abandoned = () => done(Effect.void)
      if (opened === undefined) ticket.cancel()
      else {
        opened.abort()
        opened.onEnd(abandoned)
      }
    })
  })

interface Bound {
  readonly address: string
  readonly port: number
  readonly close: Effect.Effect<void>
}

const listenOn = (
  crew: Crew,
  waiting: AcceptQueue,
  inWorker: boolean,
  address: string,
  what: Pick<Opener, "job" | "commands">
): Effect.Effect<Bound, OpenFailed> =>
  Effect.callback((resume) => {
    const close = Effect.suspend(() => {
      ticket.cancel()
      return waiting.close
    })
    const ticket = crew.listen(
      {
        ...what,
        opened: () => {},
        failed: (failure) => resume(Effect.fail(failed(address, failure))),
        listening: (address, port) => resume(Effect.succeed({ address, port, close })),
        accepted: (core) => waiting.offer(core)
      },
      inWorker
    )
    return close
  })

/** Connections that nobody has accepted yet. */
class AcceptQueue {
  readonly #limit: number
  readonly #waiting: Array<LaneCore> = []
  #wake: Array<() => void> = []
  #closed = false

  constructor(limit: number) {
    this.#limit = limit
  }

  offer(core: LaneCore): void {
    if (this.#closed || this.#waiting.length >= this.#limit) core.abort()
    else {
      this.#waiting.push(core)
      this.#wake.shift()?.()
    }
  }

  /** Takes a connection only in the step that cannot be interrupted, so none is lost. */
  next(restore: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>): Effect.Effect<LaneCore> {
    return Effect.suspend(() => {
      const core = this.#waiting.shift()
      if (core !== undefined) return Effect.succeed(core)
      return Effect.andThen(restore(this.#available), this.next(restore))
    })
  }

  /** Closes what nobody accepted. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.#closed = true
    const waiting = this.#waiting.splice(0)
    return Effect.forEach(waiting, Lane.abort, { discard: true })
  })

  readonly #available = Effect.callback<void>((resume) => {
    const wake = (): void => resume(Effect.void)
    this.#wake.push(wake)
    return Effect.sync(() => {
      const at = this.#wake.indexOf(wake)
      if (at >= 0) this.#wake.splice(at, 1)
      else if (this.#waiting.length > 0) this.#wake.shift()?.()
    })
  })
}

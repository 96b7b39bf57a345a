/**
 * A pool of I/O workers that hold sockets, so that the main thread sees whole frames and keeps its
 * time for decisions.
 *
 * Which lanes go to a worker is a setting, because the hand-over has a price: a wake-up of the main
 * thread, paid once per turn of its loop. TLS gains: a frame and a handshake cost the main thread a
 * small part of what they would (`cpu-tls` and `accept` in the benchmarks). Large plain flows spare
 * the main thread too, but all threads together do more and the rate is lower (`process`, `rate`);
 * a framer that consumes frames itself gains all of it. Plain traffic in small batches gains
 * nothing, so by default all plain traffic whose framer does not consume is read on the main
 * thread, by the same framer.
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Lane from "./Lane.ts"
import * as LaneMetrics from "./LaneMetrics.ts"
import { WorkerPool } from "./internal/workerPool.ts"
import type { PoolStats } from "./internal/laneCounts.ts"
import type { LanePool } from "./internal/lanePool.ts"
import type { Endpoint, LaneLimits } from "./internal/messages.ts"
import type { Opener } from "./internal/openJobs.ts"
import { AcceptQueue, checkCertificates, OpenAttempt, ListenAttempt } from "./internal/opening.ts"
import type { SimulatedHost } from "./internal/platform.ts"
import { makeSimulatedPool } from "./internal/simulatedPool.ts"
import { laneScope, serveLanes } from "./internal/serving.ts"
import { workerPoolSettings, limitsOf, type Settings } from "./internal/settings.ts"
import { brokenRule, brokenWorkers } from "./internal/settingRules.ts"
import { addressOf, type LaneOptions, type ListenOptions, prepare } from "./internal/options.ts"
import type { TlsSettings } from "./internal/tls.ts"
import { type SocketOpenError, SettingsRefused } from "./PoolError.ts"

export type { PoolStats } from "./internal/laneCounts.ts"
export type { Endpoint } from "./internal/messages.ts"
export type { LaneOptions, ListenOptions } from "./internal/options.ts"
export type { SimulatedHost } from "./internal/platform.ts"
export type { Settings } from "./internal/settings.ts"
export type { TlsIdentity, TlsSettings, TlsVersion } from "./internal/tls.ts"

/** A listening server. */
export interface Server {
  readonly address: string
  readonly port: number
  /**
   * Uses other certificates, keys and authorities from the next handshake on; connections stay.
   * Certificates that cannot be used change nothing.
   */
  readonly renewCertificates: (tls: TlsSettings) => Effect.Effect<void, SocketOpenError>
}

/** A server whose connections are accepted one by one. */
export interface Listener extends Server {
  /** Waits for the next connection; the lane closes with the Scope. */
  readonly accept: Effect.Effect<Lane.Lane, never, Scope.Scope>
}

/**
 * Until when the certificate of these settings is valid, in milliseconds since 1970; undefined
 * without one. Fails if the settings cannot be used.
 */
export const certificateEnd = (
  tls: TlsSettings
): Effect.Effect<number | undefined, SocketOpenError> => checkCertificates(tls, "")

/** Shared memory in which framers may place payload. */
export interface Region {
  /** The number by which a framer finds it. */
  readonly id: number
  readonly bytes: Uint8Array
}

interface Shape {
  readonly connect: (
    options: LaneOptions & { readonly to: Endpoint }
  ) => Effect.Effect<Lane.Lane, SocketOpenError, Scope.Scope>
  /** Takes over a connected socket's file descriptor, which the lane closes. */
  readonly adopt: (
    options: LaneOptions & {
      readonly fd: number
      /** Whether this side opened the connection: it is TLS's client. Default false. */
      readonly initiator?: boolean
    }
  ) => Effect.Effect<Lane.Lane, SocketOpenError, Scope.Scope>
  readonly listen: (options: ListenOptions) => Effect.Effect<Listener, SocketOpenError, Scope.Scope>
  /**
   * Runs a handler for each connection, in a new fiber and Scope: the lane closes when the
   * handler ends. A handler that fails ends its lane only, and is logged: at level Error, or Debug
   * for ends that a peer can cause. When the server's Scope closes, the listener ends first; then
   * handlers are interrupted, and their lanes close together, each within `closeWithinMs`.
   *
   * ```ts
   * yield* pool.serve({ framer, at }, (lane) => lane.run((batch) => lane.send(batch.all)))
   * ```
   */
  readonly serve: <E, R>(
    options: ListenOptions,
    handler: (lane: Lane.Lane) => Effect.Effect<void, E, R>
  ) => Effect.Effect<Server, SocketOpenError, Scope.Scope | Exclude<R, Scope.Scope>>
  /** Registers memory until the Scope has closed; no framer writes to it after that. */
  readonly register: (memory: SharedArrayBuffer) => Effect.Effect<Region, never, Scope.Scope>
  /** Changes the number of workers, up to 1024; lanes stay where they are until they end. */
  readonly resize: (workers: number) => Effect.Effect<void, SettingsRefused>
  readonly stats: Effect.Effect<PoolStats>
}

/** Opens, adopts and serves lanes. */
export class IoPool extends Context.Service<IoPool, Shape>()("handfast/native/io/IoPool") {
  /**
   * A pool that stops with its Scope: workers are asked to end, and are waited for. Settings out of
   * their range are refused before anything starts.
   */
  static readonly layer = (settings: Settings = {}): Layer.Layer<IoPool, SettingsRefused> =>
    Layer.effect(
      IoPool,
      Effect.gen(function* () {
        const broken = brokenRule(settings)
        if (broken !== undefined) return yield* new SettingsRefused(broken)
        const clock = yield* Clock.Clock
        const limits = limitsOf(settings)
        const publish = LaneMetrics.follow(yield* Effect.context<never>())
        const hooks = {
          clock: () => clock.currentTimeMillisUnsafe(),
          sampled: (pool: WorkerPool) => publish(pool.stats)
        }
        const pool = yield* Effect.acquireRelease(
          Effect.sync(() => new WorkerPool(workerPoolSettings(settings, limits, hooks))),
          (pool) => Effect.promise(() => pool.stop())
        )
        return IoPool.of(shapeOf(pool, limits, settings))
      })
    )

  /**
   * The pool of a host of a simulated network: lanes on the clock and the scheduler of the process
   * that makes it. It has no workers, and settings about them mean nothing.
   */
  static readonly layerSim = (
    host: SimulatedHost,
    settings: Settings = {}
  ): Layer.Layer<IoPool, SettingsRefused> =>
    Layer.effect(
      IoPool,
      Effect.gen(function* () {
        const broken = brokenRule(settings)
        if (broken !== undefined) return yield* new SettingsRefused(broken)
        const pool = yield* makeSimulatedPool(host)
        return IoPool.of(shapeOf(pool, limitsOf(settings), settings))
      })
    )
}

const opening = (pool: LanePool, limits: LaneLimits) =>
  Effect.fnUntraced(function* (
    options: LaneOptions,
    address: string,
    what:
      | { kind: "connect"; endpoint: Endpoint }
      | { kind: "adopt"; fd: number; initiator: boolean }
  ) {
    const { takesCommands, inWorker, setup } = yield* prepare(pool, options, limits, address)
    const attempt = yield* Effect.acquireRelease(
      Effect.sync(
        () =>
          new OpenAttempt(pool, { job: { ...setup, ...what }, takesCommands }, inWorker, address)
      ),
      (attempt) => attempt.release
    )
    return Lane.make(yield* attempt.result)
  })

const listening = (pool: LanePool, limits: LaneLimits, settings: Settings) =>
  Effect.fnUntraced(function* (
    options: ListenOptions
  ): Effect.fn.Return<Listener, SocketOpenError, Scope.Scope> {
    const address = addressOf(options.at)
    const { takesCommands, inWorker, setup } = yield* prepare(pool, options, limits, address)
    const waiting = new AcceptQueue(settings.acceptQueueMax ?? 1_024)
    const job: Opener["job"] = {
      ...setup,
      kind: "listen",
      endpoint: options.at,
      backlog: options.backlog ?? 1_024,
      reusePort: process.platform === "linux" && options.reusePort === true && "port" in options.at,
      readAheadBytes: options.readAheadBytes ?? 0
    }
    const where = { address, inWorkers: inWorker }
    const listening = yield* Effect.acquireRelease(
      Effect.sync(() => new ListenAttempt(pool, waiting, { takesCommands, job }, where)),
      (listening) => listening.release
    )
    const bound = yield* listening.bound
    // What `acquireRelease` does, in fewer steps: in a storm of accepts they show (`accept`).
    const accept = Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.scope, (scope) =>
        Effect.flatMap(waiting.next(restore), (handle) =>
          Effect.as(
            Scope.addFinalizerExit(scope, () => Lane.close(handle)),
            Lane.make(handle)
          )
        )
      )
    )
    const { renewCertificates } = listening
    return { address: bound.address, port: bound.port, renewCertificates, accept }
  })

const serving = (listen: Shape["listen"]): Shape["serve"] =>
  Effect.fnUntraced(function* (options, handler) {
    // Made before the listener, so it closes after it.
    const lanes = yield* laneScope
    const { accept, ...server } = yield* listen(options)
    yield* serveLanes(accept, handler, lanes)
    return server
  })

const shapeOf = (pool: LanePool, limits: LaneLimits, settings: Settings): Shape => {
  const open = opening(pool, limits)
  const listen = listening(pool, limits, settings)
  let regions = 0
  return {
    connect: (options) =>
      open(options, addressOf(options.to), { kind: "connect", endpoint: options.to }),
    adopt: (options) => {
      const { fd, initiator = false } = options
      return open(options, `fd ${fd}`, { kind: "adopt", fd, initiator })
    },
    listen,
    serve: serving(listen),
    register: (memory) =>
      Effect.acquireRelease(
        Effect.promise(async () => {
          const id = ++regions
          await pool.register(id, memory)
          return { id, bytes: new Uint8Array(memory) }
        }),
        ({ id }) => Effect.promise(() => pool.unregister(id))
      ),
    resize: (workers) =>
      Effect.suspend(() => {
        const broken = brokenWorkers(workers)
        if (broken !== undefined) return Effect.fail(new SettingsRefused(broken))
        return Effect.sync(() => pool.resize(workers, workers))
      }),
    stats: Effect.sync(() => pool.stats)
  }
}

/**
 * Serves programs to clients that it admits, by RPC-over-RDMA version 1.
 *
 * Grants can be changed at any time and are never 0. Each call is executed at most once for a
 * client that names itself, over all its connections. Closed by default: a server without `peers`,
 * `admit` or `open: true` does not start.
 */

import * as Clock from "effect/Clock"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Address, ConnectRequest, Listener } from "../../native/verbs/Connection.ts"
import type { CreateError, ListenError, DeviceOpenError } from "../../native/verbs/VerbsError.ts"
import { Verbs } from "../../native/verbs/Verbs.ts"
import type { JournalError } from "../../schema/JournalRecord.ts"
import * as ConnectionData from "../../schema/rpc/ConnectionData.ts"
import type { PeersRefused } from "../link/Peers.ts"
import { openPort } from "./internal/epoch.ts"
import { type Ground, ReopeningGround } from "./internal/ground.ts"
import { Handlers } from "./internal/handlers.ts"
import { Parts } from "./internal/parts.ts"
import { type Incoming, refillEvery, type Responder } from "./internal/responder.ts"
import {
  depthsOf,
  resolve,
  type ServerOptions,
  type ServerSettings
} from "./internal/serverSettings.ts"
import { validateDepths } from "./internal/settings.ts"
import type { ReversePath } from "./internal/reverseCalls.ts"
import { type Dispatching, type RunHandler, serve } from "./internal/serving.ts"
import type { ClientSession } from "./internal/session.ts"
import { Sessions } from "./internal/sessions.ts"
import type { SettingsConflict } from "./RpcError.ts"

export type { ServerOptions } from "./internal/serverSettings.ts"

/** A connection that is being accepted or served. */
interface Served {
  readonly host: string
  readonly end: (reason: string) => void
}

interface ServerServices {
  readonly parts: Parts
  readonly run: RunHandler
  readonly remoteInvalidate: boolean
  /** Milliseconds of a clock that does not jump. */
  readonly now: () => number
  readonly sessions: Sessions
}

/** A running server. */
export class RpcServer {
  readonly address: Address
  readonly #settings: ServerSettings
  readonly #ground: ReopeningGround
  readonly #services: ServerServices
  readonly #sessions: Sessions
  /** Connections without a valid call, the oldest first. */
  readonly #unproven = new Map<ConnectRequest, Served>()
  readonly #proven = new Set<Responder>()
  readonly #handlers: Handlers
  readonly #isIdle = Deferred.makeUnsafe<void>()
  #isClosing = false
  /** Calls that are under way. */
  #running = 0
  #credits: number

  constructor(
    address: Address,
    settings: ServerSettings,
    ground: ReopeningGround,
    services: ServerServices
  ) {
    this.address = address
    this.#settings = settings
    this.#ground = ground
    this.#services = services
    this.#credits = settings.credits
    this.#handlers = new Handlers(settings)
    this.#sessions = services.sessions
  }

  /** Connections with and without a valid call, clients, and handlers under way. */
  get usage(): {
    readonly proven: number
    readonly unproven: number
    readonly clients: number
    readonly handlers: number
  } {
    return {
      proven: this.#proven.size,
      unproven: this.#unproven.size,
      clients: this.#sessions.clients,
      handlers: this.#handlers.size
    }
  }

  /** Credits that each connection is granted. */
  get credits(): number {
    return this.#credits
  }

  /**
   * Changes the grant of all connections. Calls that are under way stay legal; each connection
   * hears of it with its next reply. At least 1, at most the setting `maxCredits`.
   */
  setCredits(credits: number): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#credits = Math.min(Math.max(1, Math.floor(credits)), this.#settings.maxCredits)
    })
  }

  /** Accepts connections side by side, until the listener ends: its device was lost. */
  run(listener: Listener): Effect.Effect<void> {
    return listener.take.pipe(
      Effect.tap((request) => Effect.sync(() => void this.#services.run(this.#accept(request)))),
      Effect.forever,
      Effect.ignore
    )
  }

  /** Ends connections that are silent, and calls to clients that do not come back. */
  get sweep(): Effect.Effect<never> {
    const { idleWithinMs, returnWithinMs } = this.#settings
    return Effect.sync(() => {
      const now = this.#services.now()
      for (const responder of this.#proven) {
        if (responder.silentMs(now) >= idleWithinMs) responder.end("the client is silent")
      }
      this.#sessions.sweep(now)
    }).pipe(Effect.delay(Math.min(idleWithinMs, returnWithinMs) / sweepsPerLimit), Effect.forever)
  }

  /**
   * Takes no more calls, lets those that are running end and be answered within `closeWithinMs`,
   * then ends all connections.
   */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isClosing = true
      const idle = this.#running === 0 ? Effect.void : Deferred.await(this.#isIdle)
      return Effect.timeoutOption(idle, this.#settings.closeWithinMs)
    }).pipe(
      Effect.andThen(
        Effect.sync(() => {
          for (const { end } of this.#unproven.values()) end("the server was closed")
          for (const responder of this.#proven) responder.end("the server was closed")
          this.#sessions.close()
        })
      )
    )
  }

  /** Takes a call, unless the server is being closed. */
  #take(to: Dispatching, session: ClientSession, incoming: Incoming): void {
    if (this.#isClosing) return
    this.#running++
    serve(to, session, incoming)
  }

  readonly #ended = (): void => {
    this.#running--
    if (this.#isClosing && this.#running === 0) Deferred.doneUnsafe(this.#isIdle, Effect.void)
  }

  /** Makes room for one more connection: among those that have proven nothing, the oldest goes. */
  #makeRoom(host: string): void {
    const { maxUnproven, maxUnprovenPerHost } = this.#settings
    const isSameHost = (served: Served): boolean => served.host === host
    const ofHost = [...this.#unproven.values()].filter(isSameHost).length
    if (ofHost >= maxUnprovenPerHost) this.#endOldest(isSameHost)
    else if (this.#unproven.size >= maxUnproven) this.#endOldest(() => true)
  }

  #endOldest(isMeant: (served: Served) => boolean): void {
    for (const [request, served] of this.#unproven) {
      if (!isMeant(served)) continue
      // At once: its end takes a while, and the next newcomer ends the next one.
      this.#unproven.delete(request)
      return served.end("a newer connection took its place")
    }
  }

  /** One connection, from its request to its end. */
  #accept(request: ConnectRequest): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { host } = request.peer
      if (this.#isClosing || !this.#settings.hears(host)) return yield* request.reject()
      this.#makeRoom(host)
      const given = Deferred.makeUnsafe<string>()
      const end = (reason: string) => void Deferred.doneUnsafe(given, Effect.succeed(reason))
      this.#unproven.set(request, { host, end })
      const serving = this.#serve(request).pipe(
        Effect.raceFirst(Deferred.await(given)),
        Effect.scoped,
        Effect.ignore
      )
      return yield* Effect.ensuring(
        Effect.andThen(serving, request.reject()),
        Effect.sync(() => this.#unproven.delete(request))
      )
    })
  }

  /** Serves a connection until it ends, and says why it ended. */
  #serve(request: ConnectRequest) {
    return Effect.gen({ self: this }, function* () {
      const settings = this.#settings
      const principal = yield* settings.admit(request.peer.host, request.privateData).pipe(
        Effect.timeout(settings.admitWithinMs),
        Effect.catchCause(() => Effect.undefined)
      )
      if (principal === undefined) return "refused"
      const peer = ConnectionData.decode(request.privateData)
      const session = this.#sessions.of(principal, peer.extension)
      const said = this.#said(session)
      const ground = this.#ground.last
      const { closed, responder } = this.#responderOf(session, request, peer, said, ground)
      // In the same turn, so that the session is not forgotten for another client.
      session.connections.add(responder)
      yield* Effect.addFinalizer(() => closed)
      yield* session.isStored
      const { port, queuePair } = yield* openPort(ground, depthsOf(settings), responder)
      if (!responder.attach(port)) return "the first Receive was not accepted"
      const connection = yield* request
        .accept({ queuePair, privateData: ConnectionData.encode(said), rnrRetries: 0 })
        .pipe(Effect.timeout(settings.acceptWithinMs))
      const expire = Effect.sync(() => {
        if (!responder.isProved) responder.end("no valid call came")
      })
      yield* Effect.forkScoped(Effect.delay(expire, settings.unprovenWithinMs))
      return yield* Effect.raceFirst(Deferred.await(responder.ended), connection.disconnected)
    })
  }

  #said({ incarnation }: ClientSession): ConnectionData.ConnectionData {
    const { inlineBytes: bytes } = this.#settings
    return {
      sendBytes: bytes,
      receiveBytes: bytes,
      remoteInvalidate: false,
      extension: { instance: incarnation, reverseCalls: 0 }
    }
  }

  #responderOf(
    session: ClientSession,
    request: ConnectRequest,
    peer: ConnectionData.ConnectionData,
    said: ConnectionData.ConnectionData,
    { pool }: Ground
  ): { readonly responder: Responder; readonly closed: Effect.Effect<void> } {
    const { maxBytesPerConnection, maxConnections, maxReverseCalls, programs } = this.#settings
    const { now, parts, remoteInvalidate, run } = this.#services
    const thresholds = ConnectionData.thresholds(peer, said)
    const path: ReversePath = {
      limit: Math.min(peer.extension?.reverseCalls ?? 0, maxReverseCalls),
      maxBytes: thresholds.replyBytes,
      send: (message) => responder.call(message)
    }
    const dispatching: Dispatching = {
      programs,
      handlers: this.#handlers,
      ended: this.#ended,
      run,
      proved: () => {
        if (!this.#unproven.delete(request)) return
        // A client that names itself has one connection.
        if (peer.extension !== undefined) session.endOlder(responder)
        // At once: the end of a connection takes a while.
        for (const older of this.#proven) if (older.isOver) this.#proven.delete(older)
        if (this.#proven.size >= maxConnections) return responder.end("there is no room")
        responder.isProved = true
        this.#proven.add(responder)
        session.reverse?.open(path)
      }
    }
    const responder: Responder = parts.responder({
      thresholds,
      share: pool.share(maxBytesPerConnection),
      maxCallBytes: this.#settings.maxCallBytes,
      mayInvalidate: peer.remoteInvalidate && remoteInvalidate,
      credits: () => {
        session.cache.granted(this.#credits)
        return this.#credits
      },
      answered: (message) => session.reverse?.answered(path, message) === true,
      turn: () => session.reverse?.flush(),
      unreachable: (xid) => session.addUnreachable(xid),
      take: (incoming) => this.#take(dispatching, session, incoming),
      later: (act) => void run(Effect.delay(Effect.sync(act), refillEvery)),
      run
    })
    const closed = Effect.sync(() => {
      responder.end("closed")
      this.#proven.delete(responder)
      session.reverse?.lost(path)
      this.#sessions.lost(session, responder, now())
    })
    return { responder, closed }
  }
}

/** The sweeps within the shorter of two limits: neither is passed by more than a quarter. */
const sweepsPerLimit = 4

/** Serves programs until the Scope closes. It serves on when its device is lost and comes back. */
export const make = Effect.fnUntraced(function* (
  options: ServerOptions
): Effect.fn.Return<
  RpcServer,
  SettingsConflict | PeersRefused | DeviceOpenError | CreateError | ListenError | JournalError,
  Verbs | Scope.Scope
> {
  const settings = yield* resolve(options)
  const verbs = yield* Verbs
  const { backlog, completions, hears, memoryBytes } = settings
  const host = settings.host === "*" ? undefined : settings.host
  const opening = verbs.open(settings.device || undefined, { host, admits: hears })
  const ground = yield* ReopeningGround.make(opening, { completions, memoryBytes })
  yield* validateDepths(ground.last, depthsOf(settings), ["maxCredits", "maxSegments"])
  const crypto = yield* WebCrypto.WebCrypto
  const clock = yield* Clock.Clock
  const rules = yield* Parts
  const sessions = yield* Sessions.make(settings, { Cache: rules.Cache, crypto })
  const run = yield* FiberSet.makeRuntime()
  const listenAt = ({ device }: Ground, port: number) => device.listen({ host, port, backlog })
  const listener = yield* listenAt(ground.last, settings.port)
  const server = new RpcServer(listener.address, settings, ground, {
    parts: rules,
    run,
    remoteInvalidate: verbs.capabilities.remoteInvalidate,
    now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
    sessions
  })
  yield* Effect.addFinalizer(() => server.close)
  yield* Effect.forkScoped(server.sweep)
  const again = Effect.flatMap(ground.usable, (found) => listenAt(found, listener.address.port))
  // A try to open a lost device again costs little.
  const relisten = Effect.retry(again, Schedule.spaced("1 second"))
  const serveAgain = Effect.scoped(Effect.flatMap(relisten, (found) => server.run(found)))
  yield* Effect.forkScoped(Effect.andThen(server.run(listener), Effect.forever(serveAgain)))
  return server
})

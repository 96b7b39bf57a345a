/**
 * The endpoints of one NIC, by the path of their peers.
 *
 * A store is bounded. Unknown peers do not fill it: an acknowledgement without a connection creates
 * nothing, and `admit` checks an offer first.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import assert from "node:assert/strict"
import { checkRanges } from "../../native/io/settingRanges.ts"
import type { SettingsRefused } from "../../native/io/PoolError.ts"
import { instanceOf } from "../../schema/Epoch.ts"
import type { Gid } from "../../schema/Gid.ts"
import type { MailboxFull, Stopped } from "../kernel/ActorError.ts"
import type { Journal } from "../kernel/Journal.ts"
import * as Supervisor from "../kernel/Supervisor.ts"
import * as Endpoint from "./Endpoint.ts"
import { EndpointError } from "./EndpointError.ts"
import type { EndReason } from "./EndpointEvent.ts"
import { initial, instanceIn, type State } from "./EndpointState.ts"
import type { AskedBy } from "../link/BoundedStore.ts"
import {
  type Acknowledgement,
  type Farewell,
  Handshakes,
  type Offer,
  Rejected
} from "./Handshake.ts"
import type { Link } from "./internal/link.ts"
import { type Leaving, makeLeaving } from "./internal/disconnectNotices.ts"
import { Meter } from "./internal/meter.ts"
import {
  type Bounds,
  hasEnded,
  type Spawn,
  spawnedAt,
  StoreEntries,
  type StoreEntry
} from "./internal/storeEntries.ts"
import { ranges } from "./internal/settings.ts"
import { watch } from "./internal/watching.ts"
import type { Nic } from "../rdma/Nic.ts"
import type { ReadyLink } from "./ReadyLink.ts"

/** Why no link could be opened. */
export type OpenLinkError = EndpointError | MailboxFull | Stopped | Supervisor.SpawnError

/** Handles the handshakes of peers, independent of the transport. */
export interface Reception {
  /** A caller is authenticated if it has proven by a certificate that it is a peer. */
  readonly takeOffer: (offer: Offer, isAuthenticated?: boolean) => Effect.Effect<Offer, Rejected>
  readonly takeAcknowledgement: (ack: Acknowledgement) => Effect.Effect<void, Rejected>
  readonly takeFarewell: (farewell: Farewell) => Effect.Effect<void>
}

export interface Options {
  readonly nic: Nic
  readonly rules?: Partial<Omit<Endpoint.EndpointSettings, "path">> | undefined
  /** Endpoints at the same time. Default 65536, or what the device's queue pairs allow. */
  readonly capacity?: number | undefined
  /**
   * Endpoints that offers of peers have created and that this side has not used. At the limit one
   * that is not in use is evicted, or the offer is refused. Default 1024: many times the peers of
   * one machine in large clusters, and about 300 MB of queue pairs.
   */
  readonly answered?: number | undefined
  /**
   * Milliseconds for a peer to confirm that it has restarted, see `takeOffer`. Default 2 s: less
   * than the peer waits for the answer to its offer.
   */
  readonly confirmWithinMs?: number | undefined
  /** Which endpoint is evicted when the store is full. Default `"sieve"`. */
  readonly eviction?: "sieve" | "fifo" | undefined
  /**
   * Evicted endpoints that may still be draining; at this limit no further one is evicted. Default
   * 64: draining takes milliseconds, so more of them means that something hangs.
   */
  readonly retiring?: number | undefined
  /** Called with each link that has become ready, whichever side opened it. */
  readonly onReady?: ((link: ReadyLink) => void) | undefined
  /** Whether a peer may connect. Default: every peer may. */
  readonly admit?: ((peer: string) => boolean) | undefined
}

export interface EndpointStore extends Reception {
  /** Opens a ready link to a peer. Makes one attempt, or joins the one that is under way. */
  readonly open: (peer: string) => Effect.Effect<ReadyLink, OpenLinkError>
  /** Gives up a link whose work failed, or that is not needed any more. */
  readonly retire: (link: ReadyLink, reason: EndReason, detail: string) => Effect.Effect<void>
  /** State of the endpoint towards a peer; `Idle` if there is none. */
  readonly stateOf: (peer: string) => Effect.Effect<State>
  readonly size: number
}

/** Defaults of `capacity`, `retiring` and `answered`. */
const [MOST_ENDPOINTS, MOST_RETIRING, MOST_ANSWERED] = [65_536, 64, 1_024]
/** Default of `confirmWithinMs`. */
const defaultConfirmWithinMs = 2_000

const boundsOf = (
  { answered = MOST_ANSWERED, capacity = MOST_ENDPOINTS, nic, retiring = MOST_RETIRING }: Options,
  queuePairs: number
): Bounds => {
  const possible = Math.floor(nic.device.info.limits.queuePairs / queuePairs)
  return { answered, retiring, capacity: Math.min(capacity, possible) }
}

class Store implements EndpointStore {
  readonly #options: Options
  readonly #handshakes: typeof Handshakes.Service
  readonly #leaving: Leaving
  readonly #entries: StoreEntries
  readonly #repeatAfterMs: number

  constructor(
    options: Options,
    handshakes: typeof Handshakes.Service,
    leaving: Leaving,
    entries: StoreEntries,
    repeatAfterMs: number
  ) {
    this.#repeatAfterMs = repeatAfterMs
    this.#options = options
    this.#handshakes = handshakes
    this.#leaving = leaving
    this.#entries = entries
  }

  get size(): number {
    return this.#entries.size
  }

  open(peer: string): Effect.Effect<ReadyLink, OpenLinkError> {
    const open = Effect.fnUntraced({ self: this }, function* (this: Store, entry: StoreEntry) {
      const endpoint = yield* Fiber.join(entry.spawning)
      // The peer of the attempt that was joined may have become silent since.
      const again = Effect.delay(Effect.ignore(endpoint.tell.Insist()), this.#repeatAfterMs)
      yield* Effect.raceFirst(endpoint.ask.Open(), Effect.forever(again))
      assert.ok(entry.link !== undefined, "an endpoint that is ready has a link")
      return entry.link
    })
    return this.#use(peer, "local", open)
  }

  retire({ epoch, peer }: ReadyLink, reason: EndReason, detail: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const entry = this.#entries.get(peer)
      return entry === undefined
        ? Effect.void
        : this.#leaving.retire(entry.spawning, { epoch, reason, detail })
    })
  }

  stateOf(peer: string): Effect.Effect<State> {
    return Effect.suspend(() => {
      const entry = this.#entries.get(peer)
      if (entry === undefined || hasEnded(entry)) return Effect.succeed(initial)
      return Effect.orElseSucceed(
        Effect.flatMap(Fiber.join(entry.spawning), ({ state }) => state),
        () => initial
      )
    })
  }

  /**
   * Takes a peer's offer. An offer of a new process instance may be forged. It is taken if the
   * caller is authenticated, or if the process at the peer's path says that it is this instance, or
   * does not answer.
   */
  takeOffer(offer: Offer, isAuthenticated = false): Effect.Effect<Offer, Rejected> {
    const { admit, nic } = this.#options
    const { from, to } = offer
    if (to !== nic.path) return this.#reject("wrong-path", `${to} is another NIC`)
    // A NIC that talks to itself makes no offer.
    if (from === to) return this.#reject("wrong-path", `${from} is this NIC itself`)
    if (admit?.(offer.from) === false) {
      return this.#reject("not-admitted", `${offer.from} may not connect`)
    }
    const take = Effect.fnUntraced({ self: this }, function* (this: Store, entry: StoreEntry) {
      const { ask, state } = yield* Fiber.join(entry.spawning)
      const { newest } = yield* state
      const isNew = newest !== undefined && instanceIn(offer) !== instanceOf(newest)
      const isConfirmed = isNew && (isAuthenticated || (yield* this.#confirms(offer)))
      return yield* ask.TakeOffer({ ...offer, isConfirmed })
    })
    return Effect.catch(this.#use(offer.from, "peer", take), (error) => this.#toReject(error))
  }

  /** Whether the process at the path of an offer confirms it; false if no process answers. */
  #confirms(offer: Offer): Effect.Effect<boolean, Rejected> {
    const { confirmWithinMs = defaultConfirmWithinMs } = this.#options
    return this.#handshakes.instanceAt(offer.from).pipe(
      Effect.timeout(confirmWithinMs),
      Effect.matchEffect({
        // It is gone, or cannot be called from here: its successor need not wait for it.
        onFailure: () => Effect.succeed(false),
        onSuccess: (instance) =>
          instance === instanceIn(offer)
            ? Effect.succeed(true)
            : this.#reject("stale", `the process at ${offer.from} has not made this offer`)
      })
    )
  }

  takeAcknowledgement(ack: Acknowledgement): Effect.Effect<void, Rejected> {
    return Effect.suspend(() => {
      const entry = this.#entries.get(ack.from)
      if (entry === undefined || ack.to !== this.#options.nic.path) {
        return this.#reject("unconnected", "acknowledgement of no connection")
      }
      return Fiber.join(entry.spawning).pipe(
        Effect.flatMap(({ ask }) => ask.TakeAcknowledgement(ack)),
        Effect.catch((error) => this.#toReject(error))
      )
    })
  }

  takeFarewell(farewell: Farewell): Effect.Effect<void> {
    return Effect.suspend(() => {
      const entry = this.#entries.get(farewell.from)
      if (entry === undefined || farewell.to !== this.#options.nic.path) return Effect.void
      return Fiber.join(entry.spawning).pipe(
        Effect.flatMap(({ ask }) => ask.TakeFarewell(farewell)),
        // An epoch that has ended needs no notice.
        Effect.ignore
      )
    })
  }

  /** Notes the link of an endpoint's new epoch. */
  readonly onLink = (link: Link): void => {
    const entry = this.#entries.get(link.peer)
    if (entry !== undefined) entry.link = link
  }

  /** Ends all epochs whose port has changed, except those whose GID the port still has. */
  retireAll(
    why: { readonly reason: EndReason; readonly detail: string },
    kept: ReadonlySet<Gid> = new Set()
  ): Effect.Effect<void> {
    const retire = Effect.fnUntraced({ self: this }, function* (this: Store, entry: StoreEntry) {
      // An actor that is still being spawned has no epoch.
      const state = yield* spawnedAt(entry)?.state ?? Effect.succeed(initial)
      if (state._tag === "Idle") return
      // Before its queue pairs are created, it is not known which GID it will have.
      if (state._tag !== "CreatingQueuePairs" && kept.has(state.own.gid)) return
      yield* this.#leaving.retire(entry.spawning, { epoch: state.epoch, ...why })
    })
    return Effect.forEach(this.#entries.all, retire, { discard: true })
  }

  /** Ends all endpoints, and notifies peers within a short deadline. */
  get close(): Effect.Effect<void> {
    const why = { reason: "retired", detail: "the endpoints have ended" } as const
    return Effect.andThen(this.retireAll(why), this.#leaving.said)
  }

  #use<A, E>(
    peer: string,
    by: AskedBy,
    use: (entry: StoreEntry) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | EndpointError> {
    const local = this.#options.nic.path
    const orFull = (limit: number) => {
      const detail = `all ${limit} endpoints are connecting or in use`
      return new EndpointError({ local, peer, reason: { _tag: "StoreFull", detail, limit } })
    }
    return this.#entries.use(peer, by, orFull, use)
  }

  #reject(reason: Rejected["reason"], text: string): Effect.Effect<never, Rejected> {
    return Effect.fail(new Rejected({ by: this.#options.nic.path, reason, text }))
  }

  /** The answer to a peer names the reason, and no internals. */
  #toReject(error: Rejected | OpenLinkError): Effect.Effect<never, Rejected> {
    if (error._tag === "Rejected") return Effect.fail(error)
    return this.#reject("busy", "no endpoint can be had now")
  }
}

/** Makes the store of a NIC. Its endpoints end with the Scope. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<EndpointStore, SettingsRefused, Scope.Scope | Journal | Handshakes> {
  yield* checkRanges(options.rules ?? {}, ranges)
  const { nic } = options
  const scope = yield* Effect.scope
  const context = yield* Effect.context<Journal>()
  const handshakes = yield* Handshakes
  const leaving = yield* makeLeaving(handshakes)
  // A separate Scope, so that endpoints end after the notices are sent, whenever they began. One
  // bad peer must not end the endpoints of all others, and the store never refuses for good.
  const restarts = { max: 5, within: "10 seconds", per: "child" } as const
  const supervisor = yield* Scope.provide(Supervisor.make({ restarts }), yield* Scope.fork(scope))
  const rules = { ...Endpoint.defaults, ...options.rules, path: nic.path }
  const onLink = (link: Link): void => store.onLink(link)
  const clock = yield* Clock.Clock
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000
  const meter = new Meter(yield* Effect.context<never>(), now)
  const behavior = Endpoint.make({
    nic,
    handshakes,
    rules,
    meter,
    now,
    onLink,
    onReady: options.onReady,
    farewell: leaving.say
  })
  const spawn: Spawn = (peer, after) => {
    const spawned = supervisor.spawn(behavior, Endpoint.idOf(nic.path, peer))
    return Fiber.runIn(Effect.runForkWith(context)(Effect.andThen(after, spawned)), scope)
  }
  const entries = new StoreEntries(
    boundsOf(options, rules.queuePairs),
    options.eviction,
    leaving,
    meter,
    spawn
  )
  const { repeatAfterMs } = rules
  const store = new Store(options, handshakes, leaving, entries, repeatAfterMs)
  yield* Effect.addFinalizer(() => store.close)
  const broken = (detail: string, kept: ReadonlySet<Gid>) =>
    store.retireAll({ reason: "broken", detail }, kept)
  yield* Effect.forkScoped(watch(nic, broken))
  return store
})

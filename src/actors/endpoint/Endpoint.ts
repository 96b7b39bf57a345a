/**
 * One end of an RDMA connection: an actor for each pair of a local and a remote NIC.
 *
 * It creates queue pairs, exchanges offers with its peer, connects the local half, and becomes
 * ready when the peer reports that its half is connected too. Only then is there a `ReadyLink`, and
 * nothing else can send. A deadline always runs while it waits. When an epoch ends, its queue pairs
 * go to error, are drained and destroyed, and only after that does the next one begin.
 */

import * as Effect from "effect/Effect"
import assert from "node:assert/strict"
import type { QueuePair } from "../../native/verbs/QueuePair.ts"
import type { Epoch } from "../../schema/Epoch.ts"
import type * as Actor from "../kernel/Actor.ts"
import * as Behavior from "../kernel/Behavior.ts"
import * as Chaos from "../kernel/Chaos.ts"
import { EndpointEvent } from "./EndpointEvent.ts"
import { evolve, type In, initial, State } from "./EndpointState.ts"
import type { Acknowledgement, Farewell, Handshakes } from "./Handshake.ts"
import * as advancing from "./internal/advancing.ts"
import * as deciding from "./internal/deciding.ts"
import { peerOf } from "./internal/offerAge.ts"
import { drawNonce, halfOf, isOfGid, makeQueuePairs, raise } from "./internal/queuePairSetup.ts"
import { insist, silence } from "./internal/insisting.ts"
import { Link } from "./internal/link.ts"
import type { Meter } from "./internal/meter.ts"
import { commands, type Signal } from "./internal/messages.ts"
import type { EndpointContext } from "./internal/outcomes.ts"
import { peerIn, type EndpointSettings } from "./internal/settings.ts"
import { renameTags } from "./internal/upcasts.ts"
import type { Nic, Place } from "../rdma/Nic.ts"

export { defaults, idOf, type EndpointSettings } from "./internal/settings.ts"

/** Services and settings that all endpoints of a NIC share. */
export interface EndpointServices {
  readonly nic: Nic
  readonly handshakes: typeof Handshakes.Service
  readonly rules: EndpointSettings
  /** Called with the link of each new epoch; it opens when the endpoint is ready. */
  readonly onLink: (link: Link) => void
  /** Notifies a peer that an epoch has ended by itself. */
  readonly farewell: (farewell: Farewell) => void
  readonly meter: Meter
  /** Milliseconds of a monotonic clock: an operator may set the calendar at any time. */
  readonly now: () => number
  /** Called with each link that has opened. */
  readonly onReady?: ((link: Link) => void) | undefined
}

type Self = Behavior.Self<State, (typeof commands)[number], Signal>

/** Trace span of one call to a peer. Its stack would name this file alone, at a price. */
const spanOf = ({ from, half, to }: Acknowledgement) => ({
  attributes: { "handfast.local": from, "handfast.peer": to, "handfast.epoch": half.epoch },
  captureStackTrace: false
})

/** Resources of one epoch. */
interface Held {
  /** Address of the local port that the peer gets. */
  readonly place: Place
  readonly queuePairs: ReadonlyArray<QueuePair>
  readonly link: Link
  /** Whether `onReady` was called with the link. */
  isAnnounced: boolean
}

class Reactions {
  readonly #services: EndpointServices
  /** True once a peer without an MTU was logged: one warning is enough for a NIC. */
  #isWarned = false
  readonly #held = new Map<Epoch, Held>()

  constructor(services: EndpointServices) {
    this.#services = services
  }

  #peerOf({ id }: Self): string {
    return peerIn(this.#services.rules.path, id)
  }

  /** Makes the queue pairs; they and the link go with the Scope of the epoch. */
  begin({ epoch }: { readonly epoch: Epoch }, { refused }: State, self: Self) {
    const { meter, nic, onLink, rules } = this.#services
    const made = Effect.gen({ self: this }, function* () {
      meter.begin(epoch)
      yield* Effect.addFinalizer(() => Effect.sync(() => meter.end(epoch)))
      const queuePairs = yield* makeQueuePairs(nic, rules)
      const paths = { local: rules.path, peer: this.#peerOf(self) }
      const link = new Link(epoch, paths, queuePairs, self.state)
      const place = yield* nic.placeWithout(refused)
      this.#held.set(epoch, { place, queuePairs, link, isAnnounced: false })
      onLink(link)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          link.release()
          this.#held.delete(epoch)
        })
      )
      const own = halfOf(place, queuePairs, epoch, yield* drawNonce)
      yield* self.signal.HalfMade({ own })
    })
    return Effect.andThen(
      Effect.forkScoped(expire(self, rules.openWithinMs)),
      this.#orFail(self, made)
    )
  }

  /** Connects the local queue pairs. If the peer's half is not known, sends an offer first. */
  goOn(state: State, self: Self) {
    this.#services.meter.note(state)
    if (state._tag === "Offering") return this.call(state, self)
    if (state._tag !== "Connecting") return Effect.void
    const held = this.#held.get(state.epoch)
    assert.ok(held !== undefined, "an epoch whose queue pairs are made holds them")
    const { place, queuePairs } = held
    const raising = raise(place, queuePairs, state.own, state.peer.half).pipe(
      Effect.andThen(self.signal.Raised()),
      Effect.catchIf(isOfGid, ({ message }) => this.#refused(place, message, state, self))
    )
    return this.#orFail(self, raising)
  }

  #refused({ gid }: Place, detail: string, { refused }: State, self: Self) {
    const tried = [...refused, gid]
    return Effect.flatMap(this.#services.nic.placeWithout(tried), ({ gid: next }) =>
      self.signal.GidRefused({ gid, detail, isLast: tried.includes(next) })
    )
  }

  connected(state: State, self: Self) {
    this.#services.meter.note(state)
    const next = state._tag === "AwaitingReadyAck" ? this.wait(state, self) : this.ready(state)
    return Effect.andThen(this.#compareMtu(state), next)
  }

  /** Compares MTUs, which only Handfast's peers name. A NIC drops packets larger than its MTU. */
  #compareMtu(state: State) {
    const peer = peerOf(state)
    if (peer === undefined || peer.half.mtu !== undefined || this.#isWarned) return Effect.void
    this.#isWarned = true
    const { nic, rules } = this.#services
    return Effect.flatMap(
      Effect.orElseSucceed(nic.place, () => undefined),
      (place) =>
        Effect.logWarning(
          `${rules.path} uses an MTU of ${place?.mtu}, and ${peer.from} names none: ` +
            "if they differ, transfers between them fail"
        )
    )
  }

  /**
   * Waits until the peer is ready. A peer that has taken the local offer is notified that the local
   * half is up; for the acknowledgement of any other peer a deadline runs.
   */
  wait(state: State, self: Self) {
    if (state._tag !== "AwaitingReadyAck") return Effect.void
    if (state.call === "taken") return this.#acknowledge(state, self)
    return state.call === "none" ? this.#late(state, self) : Effect.void
  }

  #late(since: In<"AwaitingReadyAck">, self: Self) {
    const { readyWithinMs: millis } = this.#services.rules
    return Effect.delay(self.signal.NotReady({ since, millis }), millis)
  }

  ready(state: State) {
    return Effect.sync(() => {
      this.#services.meter.note(state)
      const held = state._tag === "Idle" ? undefined : this.#held.get(state.epoch)
      if (held === undefined || held.isAnnounced) return
      held.isAnnounced = true
      this.#services.onReady?.(held.link)
    }).pipe(
      // The connection is ready even if the program's callback throws.
      Effect.catchDefect((defect) => Effect.logError("onReady threw", defect))
    )
  }

  #acknowledge(state: In<"AwaitingReadyAck">, self: Self) {
    const { handshakes, rules } = this.#services
    const { own, peer } = state
    const ack = { from: rules.path, to: peer.from, half: own, knows: peer.half.epoch }
    const call = Effect.withSpan(handshakes.acknowledge(ack), "Endpoint.acknowledge", spanOf(ack))
    const silent = silence(() => handshakes.answeredAt(peer.from), rules)
    return insist(call, silent, this.#late(state, self), rules.repeatAfterMs).pipe(
      Effect.matchEffect({
        onSuccess: () => self.signal.AckTaken(),
        onFailure: (error) => self.signal.AckFailed({ error })
      })
    )
  }

  call({ own }: In<"Offering" | "AwaitingReadyAck">, self: Self) {
    const { handshakes, rules } = this.#services
    const offer = {
      from: rules.path,
      to: this.#peerOf(self),
      half: own,
      knows: undefined,
      hasGate: rules.gate === "on"
    }
    const made = Effect.withSpan(handshakes.offer(offer), "Endpoint.offer", spanOf(offer))
    return Effect.matchEffect(made, {
      onSuccess: (offer) => self.signal.Answered({ offer }),
      onFailure: (error) => self.signal.CallFailed({ error })
    })
  }

  #orFail<E, R>(self: Self, effect: Effect.Effect<void, E, R>) {
    return Effect.catch(effect, (error) => self.signal.HalfFailed({ detail: String(error) }))
  }
}

const expire = (self: Self, millis: number) => Effect.delay(self.signal.Expired({ millis }), millis)

/**
 * All events: none is a promise, since no queue pair outlives its process. So no step of a
 * handshake waits for the journal, which keeps what the peer's incarnations were, and the trail.
 */
const writtenBehind = [
  "EpochBegan",
  "GidRefused",
  "OfferCrossed",
  "QueuePairsCreated",
  "OfferExchanged",
  "CallBegan",
  "CallReturned",
  "Connected",
  "BecameReady",
  "EpochEnded"
] as const

/** The behavior of all endpoints of a NIC. The id of an actor is made by `idOf`. */
export const make = (services: EndpointServices) => {
  const { rules } = services
  const reactions = new Reactions(services)
  const at = ({ fresh, id }: Behavior.DecideContext): EndpointContext => ({
    peer: peerIn(rules.path, id),
    now: services.now(),
    fresh
  })
  return Behavior.make("Endpoint", {
    commands,
    signals: Behavior.signals<Signal>(),
    events: EndpointEvent,
    initial,
    epoch: (state) => (state._tag === "Idle" ? undefined : state.epoch),
    decide: {
      Open: (state, _, about) => deciding.open(state, at(about)),
      Insist: deciding.insist,
      TakeOffer: (state, offer, about) => deciding.takeOffer(rules, state, offer, at(about)),
      TakeAcknowledgement: (state, ack) => deciding.takeAcknowledgement(rules, state, ack),
      TakeFarewell: (state, said, about) => deciding.takeFarewell(rules, state, said, at(about)),
      Retire: (state, what, about) => deciding.retire(rules, state, what, at(about)),
      HalfMade: (state, { own }, about) => advancing.halfMade(rules, state, own, at(about)),
      GidRefused: (state, refused, about) => advancing.gidRefused(rules, state, refused, at(about)),
      HalfFailed: (state, { detail }, about) =>
        advancing.halfFailed(rules, state, detail, at(about)),
      Answered: (state, { offer }, about) => advancing.answered(rules, state, offer, at(about)),
      CallFailed: (state, { error }, about) => advancing.callFailed(rules, state, error, at(about)),
      Raised: (state, _, about) => advancing.raised(rules, state, at(about)),
      AckTaken: (state) => advancing.acknowledgementTaken(state),
      AckFailed: (state, { error }, about) =>
        advancing.acknowledgementFailed(rules, state, error, at(about)),
      NotReady: (state, late, about) => advancing.notReady(rules, state, late, at(about)),
      Expired: (state, { millis }, about) => advancing.expired(rules, state, millis, at(about))
    },
    evolve,
    react: {
      EpochBegan: (event, self, state) => reactions.begin(event, state, self),
      GidRefused: (event, self, state) =>
        Effect.andThen(
          Chaos.sometimes("another GID was tried"),
          reactions.begin(event, state, self)
        ),
      QueuePairsCreated: (_, self, state) => reactions.goOn(state, self),
      OfferExchanged: (_, self, state) => reactions.goOn(state, self),
      Connected: (_, self, state) => reactions.connected(state, self),
      BecameReady: (_, _self, state) => reactions.ready(state),
      CallBegan: (_, self, state) =>
        Effect.andThen(
          Chaos.sometimes("a silent peer was called"),
          state._tag === "AwaitingReadyAck" ? reactions.call(state, self) : Effect.void
        ),
      CallReturned: ({ taken }, self, state) =>
        Effect.andThen(
          taken ? Chaos.sometimes("offers crossed") : Effect.void,
          reactions.wait(state, self)
        ),
      EpochEnded: ({ farewell, reason }) =>
        Effect.map(Chaos.sometimes(`an endpoint ended: ${reason}`), () => {
          services.meter.ended(reason)
          if (farewell !== undefined) services.farewell(farewell)
        })
    },
    reconcile: (state, _, about) => deciding.recover(rules, state, at(about)),
    writtenBehind,
    shown: "decided",
    upcasts: [renameTags],
    // An epoch has about ten events; the state holds what is kept of old ones.
    snapshot: { state: State, upcasts: [renameTags], every: 64, deleteEvents: true }
  })
}

/** A running endpoint. */
export type Endpoint = Actor.Of<ReturnType<typeof make>>

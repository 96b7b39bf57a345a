/** A peer that does what a test says, without queue pairs of its own, and a quiet simulation. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Reception } from "../../../src/actors/endpoint/EndpointStore.ts"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import { instanceIn, type State } from "../../../src/actors/endpoint/EndpointState.ts"
import {
  type Acknowledgement,
  type Farewell,
  type Half,
  type Offer,
  Rejected
} from "../../../src/actors/endpoint/Handshake.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { Faults } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { card, type Host, onHost, type Rules } from "./simHosts.ts"

const [own, other] = ["a@sim0", "p@sim0"]

export const no = (reason: Rejected["reason"]) => new Rejected({ by: other, reason, text: reason })

/** A half with queue pairs from `first` on; with an epoch, of our own kind. */
export const half = (first: number, epoch?: string): Half => ({
  queuePairs: [first, first + 1],
  gid: Gid.fromAddress("10.9.9.9")!,
  lid: 0,
  epoch: epoch as Epoch | undefined,
  mtu: epoch === undefined ? undefined : 4096
})

/** The peer `p` of the endpoint of `a`. */
export class Peer implements Reception {
  readonly path = other
  readonly offers: Array<Offer> = []
  readonly acks: Array<Acknowledgement> = []
  readonly farewells: Array<Farewell> = []
  /** The process instance that it says it is: that of its newest offer. */
  instance: string | undefined = undefined
  /** What it answers; the newest function counts. */
  answer: (offer: Offer) => Effect.Effect<Offer, Rejected> = () => Effect.fail(no("busy"))
  parted: Effect.Effect<void> = Effect.void
  acknowledged: (ack: Acknowledgement) => Effect.Effect<void, Rejected> = () => Effect.void

  takeOffer(offer: Offer) {
    this.offers.push(offer)
    return this.answer(offer)
  }

  takeAcknowledgement(ack: Acknowledgement) {
    this.acks.push(ack)
    return this.acknowledged(ack)
  }

  takeFarewell(farewell: Farewell) {
    this.farewells.push(farewell)
    return this.parted
  }

  offer(half: Half, knows?: Epoch, hasGate = true): Offer {
    const offer = { from: other, to: own, half, knows, hasGate }
    this.instance = instanceIn(offer)
    return offer
  }

  /** Answers every offer with this half. */
  answering(half: Half, hasGate = true) {
    this.answer = (offer) => Effect.succeed(this.offer(half, offer.half.epoch, hasGate))
    return this
  }

  ack(half: Half, knows?: Epoch): Acknowledgement {
    return { from: other, to: own, half, knows }
  }
}

export interface Scene {
  readonly fabric: SimFabric
  readonly host: Host
  readonly peer: Peer
  readonly network: SimHandshakes
  /** Where the endpoint towards the peer stands. */
  readonly state: Effect.Effect<State>
  /** Links that have become ready, in their order. */
  readonly links: ReadonlyArray<ReadyLink>
  /** Ends the host in order. */
  readonly end: Effect.Effect<void>
}

/** The endpoint of host `a` and a scripted peer, without faults. */
export const scene = <A, E>(
  play: (scene: Scene) => Effect.Effect<A, E, Scope.Scope>,
  rules: Rules = {},
  { gids = 1, ...how }: { readonly gids?: number; readonly gidIndex?: number } = {}
) =>
  Effect.gen(function* () {
    yield* Faults.heal
    const fabric = yield* SimFabric.make()
    const network = new SimHandshakes()
    const peer = new Peer()
    yield* network.serve(other, peer, () => peer.instance)
    const scope = yield* Scope.fork(yield* Effect.scope)
    const links: Array<ReadyLink> = []
    const onReady = (link: ReadyLink): void => void links.push(link)
    const host = yield* card(network, "a", { rules, onReady }, how).pipe(
      Effect.provide(onHost(fabric, network, "a", gids)),
      Scope.provide(scope)
    )
    const end = Scope.close(scope, Exit.void)
    yield* play({ fabric, host, peer, network, state: host.store.stateOf(other), links, end })
  })

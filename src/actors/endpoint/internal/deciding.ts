/** Decisions of an endpoint about commands of its users and messages of its peer. */
import * as Exit from "effect/Exit"
import type { Epoch } from "../../../schema/Epoch.ts"
import * as Decision from "../../kernel/Decision.ts"
import { EndpointError, reasonOf } from "../EndpointError.ts"
import {
  EpochBegan,
  CallBegan,
  OfferCrossed,
  type EndpointEvent,
  type EndReason,
  OfferExchanged
} from "../EndpointEvent.ts"
import * as Gate from "../../link/Gate.ts"
import { gateOf, type In, type State } from "../EndpointState.ts"
import type { Acknowledgement, Farewell, Offer, Rejected } from "../Handshake.ts"
import { ageOf, isSame, peerOf } from "./offerAge.ts"
import { answerTo, opened } from "./messages.ts"
import {
  answer,
  type EndpointContext,
  type Decided,
  end,
  farewellOf,
  ready,
  rejected,
  replace
} from "./outcomes.ts"
import type { EndpointSettings } from "./settings.ts"

const epochOf = (state: State): Epoch | undefined =>
  state._tag === "Idle" ? undefined : state.epoch

/** Ends the epoch: a queue pair outlives neither its process nor a crash of its actor. */
export const recover = (rules: EndpointSettings, state: State, about: EndpointContext): Decided => {
  const why = { reason: "restarted", detail: "its actor began again" } as const
  const failure = new EndpointError({ local: rules.path, peer: about.peer, reason: reasonOf(why) })
  return Decision.thenSettle(end(rules, state, about, why), opened, Exit.fail(failure))
}

/** Calls a peer that is silent since its offer: it may have died. */
export const insist = (state: State): Decided =>
  state._tag === "AwaitingReadyAck" && state.call === "none"
    ? Decision.persist(new CallBegan())
    : Decision.none

export const open = (state: State, about: EndpointContext) => {
  if (state._tag === "Ready") return Decision.none
  const decision: Decided =
    state._tag === "Idle"
      ? Decision.persist(new EpochBegan({ epoch: about.fresh(), offer: undefined }))
      : insist(state)
  return Decision.thenWait(decision, opened)
}

export const retire = (
  rules: EndpointSettings,
  state: State,
  what: { readonly epoch: Epoch; readonly reason: EndReason; readonly detail: string },
  about: EndpointContext
) => {
  const isMeant = epochOf(state) === what.epoch
  const farewell = isMeant ? farewellOf(rules, state) : undefined
  const decision: Decided = isMeant ? end(rules, state, about, what) : Decision.none
  return Decision.thenReply(decision, () => farewell)
}

/** A notice counts only if it names the present epochs of both sides. */
export const takeFarewell = (
  rules: EndpointSettings,
  state: State,
  { epoch, from, knows }: Farewell,
  about: EndpointContext
): Decided =>
  epochOf(state) === knows && peerOf(state)?.half.epoch === epoch
    ? end(rules, state, about, { reason: "left", detail: `${from} gave the connection up` })
    : Decision.none

/** Begins an epoch with a peer's offer, after the present one if there is one. */
const beginWith = (rules: EndpointSettings, state: State, offer: Offer, about: EndpointContext) => {
  const epoch = about.fresh()
  const began = new EpochBegan({ epoch, offer })
  const decision: Decided =
    state._tag === "Idle" ? Decision.persist(began) : replace(rules, state, began, offer.from)
  return Decision.thenWait(decision, answerTo(epoch))
}

export const takeOffer = (
  rules: EndpointSettings,
  state: State,
  { isConfirmed = false, ...offer }: Offer & { readonly isConfirmed?: boolean },
  about: EndpointContext
) => {
  const offered = offer.half.queuePairs.length
  if (offered !== rules.queuePairs) {
    const text = `${rules.queuePairs} queue pairs wanted, ${offered} offered`
    return Decision.fail(rejected(rules, "incompatible", text))
  }
  const age = ageOf(state, offer, about.now, isConfirmed)
  if (age === "stale") {
    return Decision.fail(rejected(rules, "stale", `${offer.half.epoch} is over`))
  }
  switch (state._tag) {
    case "CreatingQueuePairs":
      if (age === "newer" && state.offer !== undefined) return beginWith(rules, state, offer, about)
      return Decision.persist<EndpointEvent>(new OfferCrossed({ offer })).pipe(
        Decision.thenWait(answerTo(state.opening))
      )
    case "Offering":
      return Decision.persist<EndpointEvent>(new OfferExchanged({ offer, call: "out" })).pipe(
        Decision.thenWait(answerTo(state.opening))
      )
    case "Idle":
      return beginWith(rules, state, offer, about)
    default:
      if (age === "newer") return beginWith(rules, state, offer, about)
      return state._tag === "Connecting"
        ? Decision.thenWait(Decision.none, answerTo(state.opening))
        : takeAgain(rules, state, offer)
  }
}

/** An offer that was taken already. From a peer without a gate, it also means readiness. */
const takeAgain = (
  rules: EndpointSettings,
  state: In<"AwaitingReadyAck" | "Ready">,
  offer: Offer
) => {
  const decision =
    state._tag === "AwaitingReadyAck" && !offer.hasGate
      ? ready("no-gate")
      : (Decision.none as Decided)
  return Decision.thenReply(decision, () => answer(rules, state))
}

export const takeAcknowledgement = (
  rules: EndpointSettings,
  state: State,
  ack: Acknowledgement
): Decision.Decision<EndpointEvent, void, Rejected> => {
  if (state._tag !== "AwaitingReadyAck" && state._tag !== "Ready") {
    return Decision.fail(rejected(rules, "unconnected", "acknowledgement of no connection"))
  }
  const { own, peer } = state
  // Peers that name no epochs are known by their queue pairs alone.
  const epoch = peer.half.epoch === undefined ? own.epoch : ack.knows
  const standing = Gate.standing(gateOf(state), epoch)
  const isMeant = standing !== "other-epoch" && isSame(peer.half, ack.half)
  if (!isMeant) {
    const text = "the acknowledgement belongs to other queue pairs"
    return Decision.fail(rejected(rules, "stale", text))
  }
  if (standing !== "open") return ready("acknowledged")
  // In a crossing the local acknowledgement may be taken first. That of a peer without epochs
  // counts all the same: after it, an offer of the same queue pairs can only be a new one.
  const isNews = peer.half.epoch === undefined && state._tag === "Ready" && state.key === "taken"
  return isNews ? ready("acknowledged") : Decision.none
}

/**
 * Decisions of an endpoint when its effects report. A signal reaches it only in the epoch in which
 * its effect was started, so none of these compares local epochs.
 */
import * as Exit from "effect/Exit"
import * as Gid from "../../../schema/Gid.ts"
import * as Decision from "../../kernel/Decision.ts"
import {
  EpochBegan,
  CallReturned,
  Connected,
  OfferCrossed,
  type EndpointEvent,
  GidRefused,
  QueuePairsCreated,
  OfferExchanged
} from "../EndpointEvent.ts"
import type { In, State } from "../EndpointState.ts"
import type { Half, HandshakeError, Offer } from "../Handshake.ts"
import { ageOf } from "./offerAge.ts"
import { answerTo, opened } from "./messages.ts"
import {
  answer,
  type EndpointContext,
  type Decided,
  end,
  failureOf,
  ready,
  rejected,
  replace
} from "./outcomes.ts"
import type { EndpointSettings } from "./settings.ts"

/** The local queue pairs exist. */
export const halfMade = (
  rules: EndpointSettings,
  state: State,
  own: Half,
  { peer }: EndpointContext
): Decided => {
  if (state._tag !== "CreatingQueuePairs") return Decision.none
  if (peer !== rules.path) return Decision.persist(new QueuePairsCreated({ own }))
  // A NIC that is connected to itself: each queue pair is its own counterpart.
  const offer = { from: peer, to: peer, half: own, knows: own.epoch, hasGate: false }
  return Decision.persist<EndpointEvent>(
    new OfferCrossed({ offer }),
    new QueuePairsCreated({ own })
  )
}

/** The key that opens the gate without an acknowledgement, if there is one. */
const keyOf = (
  { gate, path }: EndpointSettings,
  { peer: { hasGate } }: In<"Connecting">,
  { peer }: EndpointContext
): Connected["key"] => {
  if (peer === path) return "self"
  if (!hasGate) return "no-gate"
  return gate === "off" ? "off" : undefined
}

/** The local half is up. */
export const raised = (rules: EndpointSettings, state: State, about: EndpointContext): Decided => {
  if (state._tag !== "Connecting") return Decision.none
  const key = keyOf(rules, state, about)
  const connected = Decision.persist<EndpointEvent>(new Connected({ at: about.now, key })).pipe(
    Decision.thenSettle(answerTo(state.opening), Exit.succeed(answer(rules, state)))
  )
  return key === undefined ? connected : Decision.thenSettle(connected, opened, Exit.void)
}

/** The peer answered the local offer. */
export const answered = (
  rules: EndpointSettings,
  state: State,
  offer: Offer,
  about: EndpointContext
): Decided => {
  const offered = offer.half.queuePairs.length
  if (state._tag === "Offering") {
    if (offered === rules.queuePairs) {
      return Decision.persist(new OfferExchanged({ offer, call: "taken" }))
    }
    const detail = `${rules.queuePairs} queue pairs wanted, ${offered} answered`
    return end(rules, state, about, { reason: "refused", refusal: "incompatible", detail })
  }
  // The peer's offer came first. If the answer names the same half, nothing changes.
  if (state._tag !== "Connecting" && state._tag !== "AwaitingReadyAck") return Decision.none
  switch (ageOf(state, offer, about.now)) {
    case "same":
      return Decision.persist(new CallReturned({ taken: true }))
    case "stale":
      return Decision.persist(new CallReturned({ taken: false }))
    case "newer": {
      // The peer took the local half for an epoch that it has ended since.
      const began = new EpochBegan({ epoch: about.fresh(), offer: undefined })
      return replace(rules, state, began, offer.from)
    }
  }
}

/** The local offer was not taken. That changes nothing if the peer's offer was. */
export const callFailed = (
  rules: EndpointSettings,
  state: State,
  error: HandshakeError,
  about: EndpointContext
): Decided => {
  if (state._tag === "Offering") return end(rules, state, about, failureOf(error))
  return state._tag === "Connecting" || state._tag === "AwaitingReadyAck"
    ? Decision.persist(new CallReturned({ taken: false }))
    : Decision.none
}

export const acknowledgementTaken = (state: State): Decided =>
  state._tag === "AwaitingReadyAck" ? ready("taken") : Decision.none

/** The acknowledgement failed. If the peer's came first, the endpoint is ready anyway. */
export const acknowledgementFailed = (
  rules: EndpointSettings,
  state: State,
  error: HandshakeError,
  about: EndpointContext
): Decided =>
  state._tag === "AwaitingReadyAck" ? end(rules, state, about, failureOf(error)) : Decision.none

export const halfFailed = (
  rules: EndpointSettings,
  state: State,
  detail: string,
  about: EndpointContext
): Decided => end(rules, state, about, { reason: "local", detail })

/**
 * The device refused the local GID towards this peer. A peer that knows the half with this GID gets
 * a new offer; a peer that waits for an answer gets the new half in it.
 */
export const gidRefused = (
  rules: EndpointSettings,
  state: State,
  {
    gid,
    detail,
    isLast
  }: { readonly gid: Gid.Gid; readonly detail: string; readonly isLast: boolean },
  about: EndpointContext
): Decided => {
  if (state._tag !== "Connecting") return Decision.none
  const tried = [...state.refused, gid]
  if (isLast || tried.length >= rules.gidTries) {
    const all = tried.map(Gid.toAddress).join(", ")
    return end(rules, state, about, { reason: "local", detail: `${detail}; GIDs tried: ${all}` })
  }
  const isUntold = state.call === "none" && about.peer !== rules.path
  const offer = isUntold ? state.peer : undefined
  const next = new GidRefused({ gid, detail, epoch: about.fresh(), offer })
  const decision: Decided = Decision.persist<EndpointEvent>(next)
  if (isUntold) return decision
  const text = "it has to use another GID, and offers that"
  return Decision.thenSettle(
    decision,
    answerTo(state.opening),
    Exit.fail(rejected(rules, "stale", text))
  )
}

/** The peer was not ready in time. A call that began or returned since has another deadline. */
export const notReady = (
  rules: EndpointSettings,
  state: State,
  { millis, since }: { readonly since: State; readonly millis: number },
  about: EndpointContext
): Decided => (state === since ? expired(rules, state, millis, about) : Decision.none)

/** A deadline is over. It counts only while the endpoint is not ready. */
export const expired = (
  rules: EndpointSettings,
  state: State,
  millis: number,
  about: EndpointContext
): Decided => {
  if (state._tag === "Ready") return Decision.none
  const detail = `${state._tag} for ${millis} ms`
  return end(rules, state, about, { reason: "expired", detail })
}

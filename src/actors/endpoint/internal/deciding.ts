/**
 * What an endpoint decides. Signals reach it only in the generation that they were started in, so
 * none of these looks at epochs of its own.
 */
import * as Exit from "effect/Exit"
import type { Epoch } from "../../../schema/Epoch.ts"
import * as Gid from "../../../schema/Gid.ts"
import type { Circumstances } from "../../kernel/Behavior.ts"
import * as Decision from "../../kernel/Decision.ts"
import { OpenFailed } from "../EndpointError.ts"
import {
  BecameReady,
  Began,
  CallReturned,
  Connected,
  Crossed,
  Ended,
  type EndpointEvent,
  type EndReason,
  GidRefused,
  Made,
  PeerKnown
} from "../EndpointEvent.ts"
import type { In, State } from "../EndpointState.ts"
import {
  type Acknowledgement,
  type Farewell,
  type Half,
  type HandshakeError,
  type Offer,
  Rejected,
  type RejectReason
} from "../Handshake.ts"
import type { Defects } from "./defects.ts"
import { ageOf, isSame, peerOf } from "./generations.ts"
import { answerTo, opened } from "./messages.ts"
import type { Rules } from "./rules.ts"

type Decided = Decision.Decision<EndpointEvent>

const epochOf = (state: State): Epoch | undefined =>
  state._tag === "Idle" ? undefined : state.epoch

const rejected = ({ path }: Rules, reason: RejectReason, text: string): Rejected =>
  new Rejected({ by: path, reason, text })

/** The own half as the peer gets to know it. */
const answer = (rules: Rules, { own, peer }: In<"Raising" | "Waiting" | "Ready">): Offer => ({
  from: rules.path,
  to: peer.from,
  half: own,
  knows: peer.half.epoch,
  hasGate: rules.gate === "on"
})

/** What the peer is told at a generation's end, if it knows of it, and names its own ones. */
const farewellOf = ({ path }: Rules, state: State): Farewell | undefined => {
  if (state._tag !== "Raising" && state._tag !== "Waiting" && state._tag !== "Ready") {
    return undefined
  }
  const { epoch, peer } = state
  const isUnheard = state._tag === "Raising" && state.call === "none"
  if (isUnheard || peer.half.epoch === undefined || peer.from === path) return undefined
  return { from: path, to: peer.from, epoch, knows: peer.half.epoch }
}

/** Ends that the peer may not know of, and that nobody else decides. */
const untold: ReadonlySet<EndReason> = new Set(["local", "expired"])

/** Ends a generation, and tells everybody who waited for it. */
const end = (
  rules: Rules,
  state: State,
  { id }: Circumstances,
  { detail, reason }: { readonly reason: EndReason; readonly detail: string }
): Decided => {
  if (state._tag === "Idle") return Decision.none
  const failure = new OpenFailed({ local: rules.path, peer: id, reason, detail })
  const farewell = untold.has(reason) ? farewellOf(rules, state) : undefined
  return Decision.persist<EndpointEvent>(new Ended({ reason, detail, farewell })).pipe(
    Decision.thenSettle(opened, Exit.fail(failure)),
    Decision.thenSettle(answerTo(state.opening), Exit.fail(rejected(rules, "failed", detail)))
  )
}

/** A queue pair does not outlive its process, nor a crash of its actor. */
export const recover = (rules: Rules, state: State, about: Circumstances): Decided => {
  const why = { reason: "restarted", detail: "its actor began again" } as const
  const failure = new OpenFailed({ local: rules.path, peer: about.id, ...why })
  return Decision.thenSettle(end(rules, state, about, why), opened, Exit.fail(failure))
}

export const open = (state: State, about: Circumstances) => {
  if (state._tag === "Ready") return Decision.none
  const decision: Decided =
    state._tag === "Idle"
      ? Decision.persist(new Began({ epoch: about.fresh(), offer: undefined }))
      : Decision.none
  return Decision.thenWait(decision, opened)
}

export const retire = (
  rules: Rules,
  state: State,
  what: { readonly epoch: Epoch; readonly reason: EndReason; readonly detail: string },
  about: Circumstances
) => {
  const isMeant = epochOf(state) === what.epoch
  const farewell = isMeant ? farewellOf(rules, state) : undefined
  const decision: Decided = isMeant ? end(rules, state, about, what) : Decision.none
  return Decision.thenReply(decision, () => farewell)
}

/** It counts only for the generation that both sides mean. */
export const takeFarewell = (
  rules: Rules,
  state: State,
  { epoch, from, knows }: Farewell,
  about: Circumstances
): Decided =>
  epochOf(state) === knows && peerOf(state)?.half.epoch === epoch
    ? end(rules, state, about, { reason: "left", detail: `${from} gave the connection up` })
    : Decision.none

/** Begins a generation with a peer's offer, after the one that there may be. */
const beginWith = (rules: Rules, state: State, offer: Offer, about: Circumstances) => {
  const epoch = about.fresh()
  const began = new Began({ epoch, offer })
  if (state._tag === "Idle") {
    return Decision.persist<EndpointEvent>(began).pipe(Decision.thenWait(answerTo(epoch)))
  }
  const detail = `${offer.from} has begun a new generation`
  // Who waits to send goes on waiting: the new generation may become ready as well.
  const ended = new Ended({ reason: "replaced", detail, farewell: undefined })
  return Decision.persist<EndpointEvent>(ended, began).pipe(
    Decision.thenSettle(answerTo(state.opening), Exit.fail(rejected(rules, "stale", detail))),
    Decision.thenWait(answerTo(epoch))
  )
}

export const takeOffer = (rules: Rules, state: State, offer: Offer, about: Circumstances) => {
  const offered = offer.half.queuePairs.length
  if (offered !== rules.queuePairs) {
    const text = `${rules.queuePairs} queue pairs wanted, ${offered} offered`
    return Decision.fail(rejected(rules, "incompatible", text))
  }
  const age = ageOf(state, offer, about.now)
  if (age === "stale") {
    return Decision.fail(rejected(rules, "stale", `${offer.half.epoch} is over`))
  }
  switch (state._tag) {
    case "Making":
      if (age === "newer" && state.offer !== undefined) return beginWith(rules, state, offer, about)
      return Decision.persist<EndpointEvent>(new Crossed({ offer })).pipe(
        Decision.thenWait(answerTo(state.opening))
      )
    case "Calling":
      return Decision.persist<EndpointEvent>(new PeerKnown({ offer, call: "out" })).pipe(
        Decision.thenWait(answerTo(state.opening))
      )
    case "Idle":
      return beginWith(rules, state, offer, about)
    default:
      if (age === "newer") return beginWith(rules, state, offer, about)
      return state._tag === "Raising"
        ? Decision.thenWait(Decision.none, answerTo(state.opening))
        : takeAgain(rules, state, offer)
  }
}

/** An offer that was taken already. From a peer that knows no gate, it stands for readiness. */
const takeAgain = (rules: Rules, state: In<"Waiting" | "Ready">, offer: Offer) => {
  const decision =
    state._tag === "Waiting" && !offer.hasGate ? ready("no-gate") : (Decision.none as Decided)
  return Decision.thenReply(decision, () => answer(rules, state))
}

const ready = (key: BecameReady["key"]): Decided =>
  Decision.persist<EndpointEvent>(new BecameReady({ key })).pipe(
    Decision.thenSettle(opened, Exit.void)
  )

export const takeAcknowledgement = (
  rules: Rules,
  state: State,
  ack: Acknowledgement,
  defects: Defects
): Decision.Decision<EndpointEvent, void, Rejected> => {
  if (state._tag !== "Waiting" && state._tag !== "Ready") {
    return Decision.fail(rejected(rules, "unconnected", "acknowledgement of no connection"))
  }
  const { own, peer } = state
  const isBound = peer.half.epoch === undefined || ack.knows === own.epoch
  const isMeant = isBound && isSame(peer.half, ack.half)
  if (!isMeant && !defects.unboundAcknowledgement) {
    const text = "the acknowledgement belongs to other queue pairs"
    return Decision.fail(rejected(rules, "stale", text))
  }
  return state._tag === "Ready" ? Decision.none : ready("acknowledged")
}

/** The own queue pairs are there. */
export const halfMade = (rules: Rules, state: State, own: Half, { id }: Circumstances): Decided => {
  if (state._tag !== "Making") return Decision.none
  if (id !== rules.path) return Decision.persist(new Made({ own }))
  // A card that talks to itself: each queue pair is its own counterpart.
  const offer = { from: id, to: id, half: own, knows: own.epoch, hasGate: false }
  return Decision.persist<EndpointEvent>(new Crossed({ offer }), new Made({ own }))
}

/** What opens the gate without an acknowledgement. */
const keyOf = (
  { gate, path }: Rules,
  { peer }: In<"Raising">,
  { id }: Circumstances
): Connected["key"] => {
  if (id === path) return "self"
  if (!peer.hasGate) return "no-gate"
  return gate === "off" ? "off" : undefined
}

/** The own half is up. */
export const raised = (rules: Rules, state: State, about: Circumstances): Decided => {
  if (state._tag !== "Raising") return Decision.none
  const key = keyOf(rules, state, about)
  const connected = Decision.persist<EndpointEvent>(new Connected({ at: about.now, key })).pipe(
    Decision.thenSettle(answerTo(state.opening), Exit.succeed(answer(rules, state)))
  )
  return key === undefined ? connected : Decision.thenSettle(connected, opened, Exit.void)
}

/** The peer answered the own offer. */
export const answered = (
  rules: Rules,
  state: State,
  offer: Offer,
  about: Circumstances
): Decided => {
  const offered = offer.half.queuePairs.length
  if (state._tag === "Calling") {
    if (offered === rules.queuePairs) {
      return Decision.persist(new PeerKnown({ offer, call: "taken" }))
    }
    const detail = `${rules.queuePairs} queue pairs wanted, ${offered} answered`
    return end(rules, state, about, { reason: "refused", detail })
  }
  // The peer's own offer came first. If the answer speaks of the same half, all is well.
  if (state._tag !== "Raising" && state._tag !== "Waiting") return Decision.none
  switch (ageOf(state, offer, about.now)) {
    case "same":
      return Decision.persist(new CallReturned({ taken: true }))
    case "stale":
      return Decision.persist(new CallReturned({ taken: false }))
    case "newer": {
      const detail = `${offer.from} has begun a new generation`
      return end(rules, state, about, { reason: "replaced", detail })
    }
  }
}

/** The own offer was not taken. If the peer's own offer was, that is all the same. */
export const callFailed = (
  rules: Rules,
  state: State,
  error: HandshakeError,
  about: Circumstances
): Decided => {
  if (state._tag === "Calling") return end(rules, state, about, failureOf(error))
  return state._tag === "Raising" || state._tag === "Waiting"
    ? Decision.persist(new CallReturned({ taken: false }))
    : Decision.none
}

const failureOf = (error: HandshakeError) => ({
  reason: error._tag === "Rejected" ? ("refused" as const) : ("unreachable" as const),
  detail: error.message
})

export const acknowledgementTaken = (state: State): Decided =>
  state._tag === "Waiting" ? ready("acknowledged") : Decision.none

/** The peer's own acknowledgement may have come first: then it is ready whatever it said. */
export const acknowledgementFailed = (
  rules: Rules,
  state: State,
  error: HandshakeError,
  about: Circumstances
): Decided =>
  state._tag === "Waiting" ? end(rules, state, about, failureOf(error)) : Decision.none

export const halfFailed = (
  rules: Rules,
  state: State,
  detail: string,
  about: Circumstances
): Decided => end(rules, state, about, { reason: "local", detail })

/**
 * The device does not take the own GID towards this peer. A peer that was offered the half with it
 * is offered another one; one that waits for its answer hears of the other one alone.
 */
export const gidRefused = (
  rules: Rules,
  state: State,
  {
    gid,
    detail,
    isLast
  }: { readonly gid: Gid.Gid; readonly detail: string; readonly isLast: boolean },
  about: Circumstances
): Decided => {
  if (state._tag !== "Raising") return Decision.none
  const tried = [...state.refused, gid]
  if (isLast || tried.length >= rules.gidTries) {
    const all = tried.map(Gid.toAddress).join(", ")
    return end(rules, state, about, { reason: "local", detail: `${detail}; GIDs tried: ${all}` })
  }
  const isUntold = state.call === "none" && about.id !== rules.path
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

/** A deadline is over. It counts only while the endpoint is not ready. */
export const expired = (
  rules: Rules,
  state: State,
  millis: number,
  about: Circumstances
): Decided => {
  if (state._tag === "Ready") return Decision.none
  const detail = `${state._tag} for ${millis} ms`
  return end(rules, state, about, { reason: "expired", detail })
}

/** Outcomes that decisions of an endpoint share: an epoch ends or gets ready. */
import * as Exit from "effect/Exit"
import type { Epoch } from "../../../schema/Epoch.ts"
import * as Decision from "../../kernel/Decision.ts"
import { EndpointError, reasonOf, type Why } from "../EndpointError.ts"
import {
  BecameReady,
  type EpochBegan,
  EpochEnded,
  type EndpointEvent,
  type EndReason
} from "../EndpointEvent.ts"
import type { In, State } from "../EndpointState.ts"
import {
  type Farewell,
  type HandshakeError,
  type Offer,
  Rejected,
  type RejectReason
} from "../Handshake.ts"
import { answerTo, opened } from "./messages.ts"
import type { EndpointSettings } from "./settings.ts"

export type Decided = Decision.Decision<EndpointEvent>

/** Inputs of a decision besides the state and the message. */
export interface EndpointContext {
  /** The path of the peer. */
  readonly peer: string
  /** Milliseconds of the monotonic clock of the process. */
  readonly now: number
  /** Draws an epoch that was never used before. */
  readonly fresh: () => Epoch
}

export const rejected = (
  { path }: EndpointSettings,
  reason: RejectReason,
  text: string
): Rejected => new Rejected({ by: path, reason, text })

/** The offer of the local half that answers the peer's. */
export const answer = (
  rules: EndpointSettings,
  { own, peer }: In<"Connecting" | "AwaitingReadyAck" | "Ready">
): Offer => ({
  from: rules.path,
  to: peer.from,
  half: own,
  knows: peer.half.epoch,
  hasGate: rules.gate === "on"
})

/** The notice to the peer at an epoch's end, if it knows the epoch and names its own. */
export const farewellOf = ({ path }: EndpointSettings, state: State): Farewell | undefined => {
  if (state._tag !== "Connecting" && state._tag !== "AwaitingReadyAck" && state._tag !== "Ready") {
    return undefined
  }
  const { epoch, peer } = state
  const isUnheard = state._tag === "Connecting" && state.call === "none"
  if (isUnheard || peer.half.epoch === undefined || peer.from === path) return undefined
  return { from: path, to: peer.from, epoch, knows: peer.half.epoch }
}

/** Reasons of which the peer may not know, and of which no caller sends a notice. */
const untold: ReadonlySet<EndReason> = new Set(["local", "expired"])

/** Ends an epoch, and settles all replies that waited for it. */
export const end = (
  rules: EndpointSettings,
  state: State,
  { peer }: EndpointContext,
  why: Why
): Decided => {
  if (state._tag === "Idle") return Decision.none
  const { detail, reason } = why
  const failure = new EndpointError({ local: rules.path, peer, reason: reasonOf(why) })
  const farewell = untold.has(reason) ? farewellOf(rules, state) : undefined
  return Decision.persist<EndpointEvent>(new EpochEnded({ reason, detail, farewell })).pipe(
    Decision.thenSettle(opened, Exit.fail(failure)),
    Decision.thenSettle(answerTo(state.opening), Exit.fail(rejected(rules, "failed", detail)))
  )
}

/**
 * Ends an epoch that the peer has replaced, and begins the next one. Callers of `Open` go on
 * waiting, because the next one may become ready as well.
 */
export const replace = (
  rules: EndpointSettings,
  { opening }: Exclude<State, In<"Idle">>,
  began: EpochBegan,
  peer: string
): Decided => {
  const detail = `${peer} has begun a new generation`
  const ended = new EpochEnded({ reason: "replaced", detail, farewell: undefined })
  return Decision.persist<EndpointEvent>(ended, began).pipe(
    Decision.thenSettle(answerTo(opening), Exit.fail(rejected(rules, "stale", detail)))
  )
}

export const failureOf = (error: HandshakeError): Why =>
  error._tag === "Rejected"
    ? { reason: "refused", refusal: error.reason, detail: error.message }
    : { reason: "unreachable", detail: error.message }

export const ready = (key: BecameReady["key"]): Decided =>
  Decision.persist<EndpointEvent>(new BecameReady({ key })).pipe(
    Decision.thenSettle(opened, Exit.void)
  )

/**
 * The events of an endpoint. A queue pair ends with its process, so all of them are written behind:
 * they record what was, and promise nothing.
 */
import * as Schema from "effect/Schema"
import { Epoch } from "../../schema/Epoch.ts"
import { Gid } from "../../schema/Gid.ts"
import { Farewell, Half, Offer } from "./Handshake.ts"

/** An epoch begins. With an offer the peer began it, otherwise this side. */
export class EpochBegan extends Schema.TaggedClass<EpochBegan>()("EpochBegan", {
  epoch: Epoch,
  offer: Schema.UndefinedOr(Offer)
}) {}

/**
 * The device refused the local GID towards this peer. A new epoch tries another one, because the
 * peer may know the old half already. It keeps the peer's offer if the peer does not know that
 * half.
 */
export class GidRefused extends Schema.TaggedClass<GidRefused>()("GidRefused", {
  gid: Gid,
  detail: Schema.String,
  epoch: Epoch,
  offer: Schema.UndefinedOr(Offer)
}) {}

/** The peer's offer came while the local half was still being created. */
export class OfferCrossed extends Schema.TaggedClass<OfferCrossed>()("OfferCrossed", {
  offer: Offer
}) {}

/** The local queue pairs exist. If the peer's half is not known yet, an offer is sent. */
export class QueuePairsCreated extends Schema.TaggedClass<QueuePairsCreated>()(
  "QueuePairsCreated",
  { own: Half }
) {}

/**
 * State of the local offer: none was made, it is under way, or the peer has taken it and waits for
 * the acknowledgement.
 */
export const Call = Schema.Literals(["none", "out", "taken"])

export type Call = typeof Call.Type

/**
 * The peer's half is known, by its answer or its offer. The local queue pairs are now connected to
 * it.
 */
export class OfferExchanged extends Schema.TaggedClass<OfferExchanged>()("OfferExchanged", {
  offer: Offer,
  call: Call
}) {}

/**
 * The peer made an offer and has not acknowledged the answer. Because this side wants to send, it
 * offers the same half to the peer.
 */
export class CallBegan extends Schema.TaggedClass<CallBegan>()("CallBegan", {}) {}

/** The local call returned after the peer's offer had made it unnecessary. */
export class CallReturned extends Schema.TaggedClass<CallReturned>()("CallReturned", {
  /** Whether the peer took the offer; then it waits for the acknowledgement. */
  taken: Schema.Boolean
}) {}

/**
 * Why an endpoint may send: the peer's acknowledgement came, the peer took the local one, the peer
 * has no gate, the peer is the endpoint itself, or the gate is switched off.
 */
export const Key = Schema.Literals(["acknowledged", "taken", "no-gate", "self", "off"])

/** The local half is up. Without a key, the gate is closed. */
export class Connected extends Schema.TaggedClass<Connected>()("Connected", {
  /** Milliseconds of the monotonic clock of the process, whose end no epoch survives. */
  at: Schema.Finite,
  key: Schema.UndefinedOr(Key)
}) {}

/** The acknowledgement came, or was taken: the gate is open. In a crossing it may be both. */
export class BecameReady extends Schema.TaggedClass<BecameReady>()("BecameReady", { key: Key }) {}

/**
 * Why an epoch ended.
 *
 * - `refused`: the peer refused.
 * - `unreachable`: the peer could not be reached.
 * - `local`: a local queue pair could not be created or connected.
 * - `expired`: the peer did not get ready in time.
 * - `replaced`: the peer has begun a new epoch.
 * - `broken`: the connection failed while in use.
 * - `retired`: this side gave it up.
 * - `left`: the peer gave it up, and sent a notice.
 * - `restarted`: the process did not survive.
 */
export const EndReason = Schema.Literals([
  "refused",
  "unreachable",
  "local",
  "expired",
  "replaced",
  "broken",
  "retired",
  "left",
  "restarted"
])

export type EndReason = typeof EndReason.Type

/** The epoch is over: its queue pairs go to error, are drained and destroyed. */
export class EpochEnded extends Schema.TaggedClass<EpochEnded>()("EpochEnded", {
  reason: EndReason,
  detail: Schema.String,
  /** The notice to the peer, unless the caller that gave the epoch up sends it. */
  farewell: Schema.UndefinedOr(Farewell)
}) {}

export const EndpointEvent = Schema.Union([
  EpochBegan,
  GidRefused,
  OfferCrossed,
  QueuePairsCreated,
  OfferExchanged,
  CallBegan,
  CallReturned,
  Connected,
  BecameReady,
  EpochEnded
])

export type EndpointEvent = typeof EndpointEvent.Type

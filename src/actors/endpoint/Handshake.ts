/**
 * What two endpoints tell each other before they may send, whatever the wire says it in.
 *
 * The side that opens makes an *offer*: its half of the connection. The other side takes it, gets
 * its own half up, and answers with an offer of its own. Then the first side gets up, and says so
 * with an *acknowledgement*: only from there on may the other side send.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Epoch } from "../../schema/Epoch.ts"
import { Gid } from "../../schema/Gid.ts"
import { Nonce } from "../../schema/mooncake/Announcement.ts"
import { mtus } from "../../schema/Mtu.ts"

/** One side's half of a connection. */
export const Half = Schema.Struct({
  /** Numbers of the queue pairs; the one at `i` belongs to the peer's one at `i`. */
  queuePairs: Schema.Array(Schema.Int),
  gid: Gid,
  lid: Schema.Int,
  /** The generation that it belongs to; only peers of our own kind tell. */
  epoch: Schema.UndefinedOr(Epoch),
  /** The largest packet that it takes; only peers of our own kind tell. */
  mtu: Schema.UndefinedOr(Schema.Literals(mtus)),
  /** Random digits by which the two ends of a data connection know each other; of our own kind. */
  nonce: Schema.optionalKey(Nonce)
})

export type Half = typeof Half.Type

/** An offer, or the answer to one. */
export const Offer = Schema.Struct({
  /** Path of the side that speaks, `server@nic`. */
  from: Schema.String,
  to: Schema.String,
  half: Half,
  /** The receiver's generation, as far as the side that speaks knows it. */
  knows: Schema.UndefinedOr(Epoch),
  /** Whether it waits for an acknowledgement before it sends, and sends one itself. */
  hasGate: Schema.Boolean
})

export type Offer = typeof Offer.Type

/** Says that the side that opened has its half up. */
export const Acknowledgement = Schema.Struct({
  from: Schema.String,
  to: Schema.String,
  half: Half,
  knows: Schema.UndefinedOr(Epoch)
})

export type Acknowledgement = typeof Acknowledgement.Type

/**
 * Says that a generation is over, so that the peer need not find out by work that fails. It is
 * only said to peers that name their generations, and counts only if both are named right.
 */
export const Farewell = Schema.Struct({
  from: Schema.String,
  to: Schema.String,
  /** The generation that its side has given up. */
  epoch: Epoch,
  /** The receiver's generation that was connected to it. */
  knows: Epoch
})

export type Farewell = typeof Farewell.Type

/**
 * Why a side says no.
 *
 * - `unconnected`: an acknowledgement of nothing.
 * - `stale`: it speaks of a connection that another one has replaced.
 * - `wrong-path`: it is meant for somebody else.
 * - `incompatible`: its half does not fit, for example in the number of queue pairs.
 * - `not-admitted`: this peer may not connect.
 * - `busy`: there is no place for it now.
 * - `failed`: the own half could not be brought up.
 * - `other`: a reason that only the peer knows; see the text.
 */
export const RejectReason = Schema.Literals([
  "unconnected",
  "stale",
  "wrong-path",
  "incompatible",
  "not-admitted",
  "busy",
  "failed",
  "other"
])

export type RejectReason = typeof RejectReason.Type

/** A side said no. */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  /** Who said it. */
  by: Schema.String,
  reason: RejectReason,
  text: Schema.String
}) {
  override get message() {
    return `${this.by} rejected the handshake (${this.reason}): ${this.text}`
  }
}

/** The peer could not be asked, or did not answer in its protocol. */
export class HandshakeFailed extends Schema.TaggedError<HandshakeFailed>()("HandshakeFailed", {
  peer: Schema.String,
  step: Schema.Literals(["resolve", "connect", "answer", "protocol"]),
  detail: Schema.String
}) {
  override get message() {
    return `handshake with ${this.peer} failed (${this.step}): ${this.detail}`
  }
}

export type HandshakeError = HandshakeFailed | Rejected

/**
 * Carries offers, acknowledgements and farewells to peers.
 * Each call is tried once, with a deadline.
 */
export class Handshakes extends Context.Service<
  Handshakes,
  {
    readonly offer: (offer: Offer) => Effect.Effect<Offer, HandshakeError>
    readonly acknowledge: (ack: Acknowledgement) => Effect.Effect<void, HandshakeError>
    readonly farewell: (farewell: Farewell) => Effect.Effect<void, HandshakeError>
    /** The process instance that is at a path; none if it is not of our own kind. */
    readonly instanceAt: (path: string) => Effect.Effect<string | undefined, HandshakeFailed>
  }
>()("handfast/actors/endpoint/Handshakes") {}

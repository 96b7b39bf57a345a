/**
 * Messages that two endpoints exchange before they may send, on any transport.
 *
 * The side that opens sends an *offer*: its half of the connection. The other side takes it,
 * connects its half, and answers with an offer. Then the first side connects its half and sends an
 * *acknowledgement*. The other side may not send before it has that.
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
  /** Numbers of the queue pairs; the one at `i` is connected to the peer's one at `i`. */
  queuePairs: Schema.Array(Schema.Int),
  gid: Gid,
  lid: Schema.Int,
  /** The epoch that the half belongs to; only Handfast's peers name it. */
  epoch: Schema.UndefinedOr(Epoch),
  /** The largest packet that the NIC takes; only Handfast's peers name it. */
  mtu: Schema.UndefinedOr(Schema.Literals(mtus)),
  /** Random digits by which both ends recognise their data connection; only of Handfast's peers. */
  nonce: Schema.optionalKey(Nonce)
})

export type Half = typeof Half.Type

/** An offer, or the answer to one. */
export const Offer = Schema.Struct({
  /** Path of the sender, `server@nic`. */
  from: Schema.String,
  to: Schema.String,
  half: Half,
  /** The receiver's epoch, as far as the sender knows it. */
  knows: Schema.UndefinedOr(Epoch),
  /** Whether the sender waits for an acknowledgement before it sends, and sends one itself. */
  hasGate: Schema.Boolean
})

export type Offer = typeof Offer.Type

/** Tells the peer that the half of the side that opened is up. */
export const Acknowledgement = Schema.Struct({
  from: Schema.String,
  to: Schema.String,
  half: Half,
  knows: Schema.UndefinedOr(Epoch)
})

export type Acknowledgement = typeof Acknowledgement.Type

/**
 * Notifies the peer that an epoch is over, so that it need not learn it from failing work. It is
 * sent only to peers that name their epochs, and counts only if it names both epochs right.
 */
export const Farewell = Schema.Struct({
  from: Schema.String,
  to: Schema.String,
  /** The epoch that the sender has given up. */
  epoch: Epoch,
  /** The receiver's epoch that was connected to it. */
  knows: Epoch
})

export type Farewell = typeof Farewell.Type

/**
 * Why a side refuses.
 *
 * - `unconnected`: an acknowledgement without a connection.
 * - `stale`: it belongs to a connection that another one has replaced.
 * - `wrong-path`: it is meant for another NIC.
 * - `incompatible`: the half does not fit, for example in the number of queue pairs.
 * - `not-admitted`: this peer may not connect.
 * - `busy`: no endpoint is available now.
 * - `failed`: the local queue pairs could not be connected.
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

/** The peer or this side refused the handshake. */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  /** Path of the side that refused. */
  by: Schema.String,
  reason: RejectReason,
  text: Schema.String
}) {
  override get message() {
    return `${this.by} rejected the handshake (${this.reason}): ${this.text}`
  }
}

/** The peer could not be reached, or did not answer in its protocol. */
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
 * Sends offers, acknowledgements and disconnect notices to peers. Each call is tried once, with a
 * deadline.
 */
export class Handshakes extends Context.Service<
  Handshakes,
  {
    readonly offer: (offer: Offer) => Effect.Effect<Offer, HandshakeError>
    readonly acknowledge: (ack: Acknowledgement) => Effect.Effect<void, HandshakeError>
    readonly farewell: (farewell: Farewell) => Effect.Effect<void, HandshakeError>
    /**
     * Calls that the server at a path has answered since this process has had some under way there.
     * While this number grows, a call that waits is not lost: the server is busy with others.
     */
    readonly answeredAt: (path: string) => number
    /** The process instance at a path; undefined if it is not Handfast's. */
    readonly instanceAt: (path: string) => Effect.Effect<string | undefined, HandshakeFailed>
  }
>()("handfast/actors/endpoint/Handshakes") {}

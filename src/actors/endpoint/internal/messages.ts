/** What is said to an endpoint: by its users and peers, and by its own effects. */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import { Epoch } from "../../../schema/Epoch.ts"
import type { Gid } from "../../../schema/Gid.ts"
import * as Decision from "../../kernel/Decision.ts"
import { EndpointError } from "../EndpointError.ts"
import { type Call, EndReason } from "../EndpointEvent.ts"
import {
  Acknowledgement,
  Farewell,
  type Half,
  type HandshakeError,
  Offer,
  Rejected
} from "../Handshake.ts"

/** Answered when the endpoint is ready. Joins an opening that is under way. */
const Open = Rpc.make("Open", { error: EndpointError })

/** A caller of `Open` goes on waiting: a peer that has become silent is called. */
const Insist = Rpc.make("Insist")

/**
 * A peer's offer. Answered when the own half is up. It is confirmed if the process that makes it is
 * known to be the one at the peer's path.
 */
const TakeOffer = Rpc.make("TakeOffer", {
  payload: { ...Offer.fields, isConfirmed: Schema.optionalKey(Schema.Boolean) },
  success: Offer,
  error: Rejected
})

/** A peer says that its half is up. */
const TakeAcknowledgement = Rpc.make("TakeAcknowledgement", {
  payload: Acknowledgement,
  error: Rejected
})

/** A peer says that it has given up its generation. */
const TakeFarewell = Rpc.make("TakeFarewell", { payload: Farewell })

/** Ends a generation, unless another one has begun. Answered with what the peer has to be told. */
const Retire = Rpc.make("Retire", {
  payload: { epoch: Epoch, reason: EndReason, detail: Schema.String },
  success: Schema.UndefinedOr(Farewell)
})

export const commands = [Open, Insist, TakeOffer, TakeAcknowledgement, TakeFarewell, Retire]

export type Signal =
  | { readonly _tag: "HalfMade"; readonly own: Half }
  | { readonly _tag: "Answered"; readonly offer: Offer }
  | { readonly _tag: "CallFailed"; readonly error: HandshakeError }
  | { readonly _tag: "Raised" }
  /** The device does not take the own GID towards this peer; the last one, if there is no other. */
  | {
      readonly _tag: "GidRefused"
      readonly gid: Gid
      readonly detail: string
      readonly isLast: boolean
    }
  /** An own queue pair could not be made or brought up. */
  | { readonly _tag: "HalfFailed"; readonly detail: string }
  | { readonly _tag: "AckTaken" }
  | { readonly _tag: "AckFailed"; readonly error: HandshakeError }
  | { readonly _tag: "Expired"; readonly millis: number }
  /** The peer's half was not up in time, and what became of the own offer when that time began. */
  | { readonly _tag: "NotReady"; readonly millis: number; readonly call: Call }

/** Who waits until the endpoint is ready. */
export const opened = Decision.pending<void, EndpointError>("open")

/** The peer whose offer began an opening, or crossed it; by the opening's first generation. */
export const answerTo = (epoch: Epoch) => Decision.pending<Offer, Rejected>(`answer ${epoch}`)

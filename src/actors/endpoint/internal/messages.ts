/** Messages to an endpoint: commands of its users and peers, and signals of its effects. */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import { Epoch } from "../../../schema/Epoch.ts"
import type { Gid } from "../../../schema/Gid.ts"
import * as Decision from "../../kernel/Decision.ts"
import { EndpointError } from "../EndpointError.ts"
import { EndReason } from "../EndpointEvent.ts"
import type { State } from "../EndpointState.ts"
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
 * A peer's offer. Answered when the local half is up. It is confirmed if the process that makes it
 * is known to be the one at the peer's path.
 */
const TakeOffer = Rpc.make("TakeOffer", {
  payload: { ...Offer.fields, isConfirmed: Schema.optionalKey(Schema.Boolean) },
  success: Offer,
  error: Rejected
})

/** A peer's half is up. */
const TakeAcknowledgement = Rpc.make("TakeAcknowledgement", {
  payload: Acknowledgement,
  error: Rejected
})

/** A peer has given up its epoch. */
const TakeFarewell = Rpc.make("TakeFarewell", { payload: Farewell })

/** Ends an epoch, unless another one has begun. Answered with the notice to the peer. */
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
  /** The device refused the local GID towards this peer; `isLast` if there is no other. */
  | {
      readonly _tag: "GidRefused"
      readonly gid: Gid
      readonly detail: string
      readonly isLast: boolean
    }
  /** A local queue pair could not be created or connected. */
  | { readonly _tag: "HalfFailed"; readonly detail: string }
  | { readonly _tag: "AckTaken" }
  | { readonly _tag: "AckFailed"; readonly error: HandshakeError }
  | { readonly _tag: "Expired"; readonly millis: number }
  /** The peer was not ready in time; `since` is the state in which the wait began. */
  | { readonly _tag: "NotReady"; readonly millis: number; readonly since: State }

/** Callers that wait until the endpoint is ready. */
export const opened = Decision.pending<void, EndpointError>("open")

/** The peer whose offer began an opening, or crossed it; by the opening's first epoch. */
export const answerTo = (epoch: Epoch) => Decision.pending<Offer, Rejected>(`answer ${epoch}`)

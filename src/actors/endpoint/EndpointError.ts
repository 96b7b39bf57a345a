/** Errors of opening an endpoint. */
import * as Schema from "effect/Schema"
import { EndReason } from "./EndpointEvent.ts"
import { RejectReason } from "./Handshake.ts"

/** The endpoint did not get ready. Nothing was sent; a new attempt may be made at once. */
export class OpenFailed extends Schema.TaggedError<OpenFailed>()("OpenFailed", {
  local: Schema.String,
  peer: Schema.String,
  reason: EndReason,
  /** The kind of a refusal. */
  refusal: Schema.optionalKey(RejectReason),
  detail: Schema.String
}) {
  override get message() {
    return `${this.local} has no connection to ${this.peer} (${this.reason}): ${this.detail}`
  }
}

/** Every place of a card's store is taken by an endpoint that is connecting or busy. */
export class StoreFull extends Schema.TaggedError<StoreFull>()("StoreFull", {
  card: Schema.String,
  limit: Schema.Int
}) {
  override get message() {
    return `${this.card}: all ${this.limit} endpoints are connecting or busy`
  }
}

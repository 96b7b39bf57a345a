/** Error of opening an endpoint. `Effect.catchReason` handles one reason of it. */
import * as Schema from "effect/Schema"
import type { EndReason } from "./EndpointEvent.ts"
import { RejectReason } from "./Handshake.ts"

const ended = <Tag extends Capitalize<EndReason>>(tag: Tag) =>
  Schema.TaggedStruct(tag, { detail: Schema.String })

/** The end of the epoch (see `EndReason`), or a store without room. */
export const EndpointErrorReason = Schema.Union([
  Schema.TaggedStruct("Refused", { detail: Schema.String, refusal: RejectReason }),
  ended("Unreachable"),
  ended("Local"),
  ended("Expired"),
  ended("Replaced"),
  ended("Broken"),
  ended("Retired"),
  ended("Left"),
  ended("Restarted"),
  /** Every endpoint of the NIC's store is connecting or in use. */
  Schema.TaggedStruct("StoreFull", { detail: Schema.String, limit: Schema.Int })
])

export type EndpointErrorReason = typeof EndpointErrorReason.Type

/** The endpoint did not become ready. Nothing was sent; a new attempt may be made at once. */
export class EndpointError extends Schema.TaggedError<EndpointError>(
  "handfast/actors/endpoint/EndpointError"
)("EndpointError", {
  local: Schema.String,
  peer: Schema.String,
  reason: EndpointErrorReason
}) {
  override get message() {
    const { _tag, detail } = this.reason
    return `${this.local} has no connection to ${this.peer} (${_tag}): ${detail}`
  }
}

/** How an epoch ended. */
export interface Why {
  readonly reason: EndReason
  /** The kind of a refusal. */
  readonly refusal?: RejectReason
  readonly detail: string
}

const tags = {
  unreachable: "Unreachable",
  local: "Local",
  expired: "Expired",
  replaced: "Replaced",
  broken: "Broken",
  retired: "Retired",
  left: "Left",
  restarted: "Restarted"
} as const

/** The reason of the error that callers get when an epoch ends. */
export const reasonOf = ({ detail, reason, refusal = "other" }: Why): EndpointErrorReason =>
  reason === "refused" ? { _tag: "Refused", detail, refusal } : { _tag: tags[reason], detail }

/**
 * Reasons of rejected handshakes, as the text that is sent and as a value to decide by.
 *
 * Every reason is a text with one of the known beginnings; `detail` is the rest. So no text is
 * lost, also one that only a later Mooncake knows.
 */
import * as Schema from "effect/Schema"

/** The beginning of each reason. None is the beginning of another one. */
const texts = {
  ReceiverPathInvalid: "Invalid peer_nic_path in handshake: ",
  ReceiverNicUnknown: "Local RDMA context not found for handshake NIC: ",
  EndpointUnavailable: "Local RDMA endpoint unavailable for ",
  FreshEndpointUnavailable:
    "Fresh local RDMA endpoint unavailable after retiring stale endpoint for ",
  PathsDiffer: "Invalid argument: peer nic path inconsistency, expect ",
  SenderPathInvalid: "Parse peer nic path failed: ",
  SenderNicUnknown: "Peer nic not found in that server: ",
  AckUnconnected: "Received RDMA ready ACK for unconnected endpoint",
  AckStale: "Received stale RDMA ready ACK with mismatched peer QP numbers",
  QueuePairCount: "QP count mismatch in peer and local endpoints, check MC_MAX_EP_PER_CTX",
  GidInvalid: "Invalid peer GID: ",
  ResetFailed: "Failed to modify QP to RESET: ",
  InitFailed: "Failed to modify QP to INIT, check local context port num: ",
  ReadyToReceiveFailed: "Failed to modify QP to RTR, check mtu, gid, peer lid, peer qp num: ",
  ReadyToSendFailed: "Failed to modify QP to RTS: ",
  CallbackFailed: "Handshake callback failed: ",
  ControlUnsupported: "RDMA control channel is not supported"
} as const

export type KnownReason = keyof typeof texts

const known = Object.keys(texts) as ReadonlyArray<KnownReason>

/** `Unspecified` is the bare `null` of older peers; `Other` keeps an unknown text. */
export const RejectReason = Schema.Union([
  Schema.Struct({ _tag: Schema.Literals(known), detail: Schema.String }),
  Schema.TaggedStruct("Other", { detail: Schema.NonEmptyString }),
  Schema.TaggedStruct("Unspecified", {})
])

export type RejectReason = typeof RejectReason.Type

export const make = (_tag: KnownReason, detail: string = ""): RejectReason => ({ _tag, detail })

/** Parses the text of a reason; `Unspecified` for an empty one. */
export const parse = (text: string): RejectReason => {
  if (text === "") return { _tag: "Unspecified" }
  const tag = known.find((tag) => text.startsWith(texts[tag]))
  return tag === undefined
    ? { _tag: "Other", detail: text }
    : { _tag: tag, detail: text.slice(texts[tag].length) }
}

export const print = (reason: RejectReason): string => {
  if (reason._tag === "Unspecified") return ""
  return reason._tag === "Other" ? reason.detail : texts[reason._tag] + reason.detail
}

/**
 * Converts handshakes to and from Mooncake's messages. Pure.
 *
 * Epochs and MTUs travel in an announcement that Mooncake ignores: a peer without one is Mooncake.
 * A peer that waits for an acknowledgement adds a member for it, with any value.
 */
import * as Result from "effect/Result"
import type { Epoch } from "../../../../schema/Epoch.ts"
import type { Gid } from "../../../../schema/Gid.ts"
import type { Announcement } from "../../../../schema/mooncake/Announcement.ts"
import type { BadNicPath } from "../../../../schema/mooncake/Fault.ts"
import type { Answer, Call } from "../../../../schema/mooncake/Handshake.ts"
import * as NicPath from "../../../../schema/mooncake/NicPath.ts"
import * as Wire from "../../../../schema/mooncake/RejectReason.ts"
import {
  type Acknowledgement,
  type Farewell,
  type Half,
  type Offer,
  Rejected,
  RejectReason
} from "../../Handshake.ts"

/** A request of the active side. */
export type Said =
  | { readonly _tag: "Offer"; readonly said: Offer }
  | { readonly _tag: "Acknowledgement"; readonly said: Acknowledgement }
  | { readonly _tag: "Farewell"; readonly said: Farewell }

interface Named {
  readonly from: string
  readonly to: string
}

const pathsOf = ({ from, to }: Named) =>
  Result.flatMap(NicPath.parse(from), (sender) =>
    Result.map(NicPath.parse(to), (receiver) => ({ sender, receiver }))
  )

const announced = ({ epoch, mtu, nonce }: Half, peer: Epoch | undefined) => {
  if (epoch === undefined || mtu === undefined) return {}
  const handfast: Announcement = {
    epoch,
    mtu,
    ...(peer !== undefined && { peer }),
    ...(nonce !== undefined && { nonce })
  }
  return { handfast }
}

const capability = ({ hasGate }: Offer): "capable" | "absent" => (hasGate ? "capable" : "absent")

/** Encodes a request of the active side. Fails if one of the paths is invalid. */
export const callOf = (message: Said): Result.Result<Call, BadNicPath> =>
  Result.map(pathsOf(message.said), (paths): Call => {
    if (message._tag === "Farewell") {
      const { epoch, knows: peer } = message.said
      return { _tag: "Farewell", ...paths, handfast: { epoch, peer, farewell: true } }
    }
    const { half, knows } = message.said
    const { gid, lid, queuePairs: qpNums } = half
    const local = { ...paths, gid, lid, qpNums, ...announced(half, knows) }
    if (message._tag === "Acknowledgement") return { _tag: "ReadyAck", ...local }
    return { _tag: "Request", ...local, readyAck: capability(message.said) }
  })

const halfOf = (
  { lid, qpNums }: { readonly lid: number; readonly qpNums: ReadonlyArray<number> },
  gid: Gid,
  handfast: Announcement | undefined
): Half => ({
  queuePairs: qpNums,
  gid,
  lid,
  epoch: handfast?.epoch,
  mtu: handfast?.mtu,
  ...(handfast?.nonce !== undefined && { nonce: handfast.nonce })
})

/**
 * Decodes a request on the passive side. Old peers publish their GID in their metadata only:
 * `gidOf` returns it if it is known, because the passive side makes no calls.
 */
export const saidBy = (
  call: Call,
  gidOf: (path: string) => Gid | undefined
): Result.Result<Said, Wire.RejectReason> => {
  const named = { from: NicPath.print(call.sender), to: NicPath.print(call.receiver) }
  if (call._tag === "Farewell") {
    const { epoch, peer: knows } = call.handfast
    return Result.succeed({ _tag: "Farewell", said: { ...named, epoch, knows } })
  }
  const gid = call.gid ?? gidOf(named.from)
  if (gid === undefined) return Result.fail(Wire.make("SenderNicUnknown", named.from))
  const half = halfOf(call, gid, call.handfast)
  const said = { ...named, half, knows: call.handfast?.peer }
  if (call._tag === "ReadyAck") return Result.succeed({ _tag: "Acknowledgement", said })
  const hasGate = call.readyAck === "capable"
  return Result.succeed({ _tag: "Offer", said: { ...said, hasGate } })
}

/** Encodes the answer to an offer. A Mooncake peer gets no members that it does not know. */
export const replyTo = (call: Call, answer: Offer): Answer => {
  const { half, knows } = answer
  const { gid, lid, queuePairs } = half
  const [first, ...more] = queuePairs
  if (first === undefined) return { _tag: "Rejected", reason: Wire.make("CallbackFailed") }
  return {
    _tag: "Reply",
    sender: call.receiver,
    receiver: call.sender,
    gid,
    lid,
    qpNums: [first, ...more],
    readyAck: capability(answer),
    ...(call.handfast !== undefined && announced(half, knows))
  }
}

/** The answer to an offer, if it is one. */
export const offerIn = (answer: Answer): Offer | undefined => {
  if (answer._tag !== "Reply") return undefined
  return {
    from: NicPath.print(answer.sender),
    to: NicPath.print(answer.receiver),
    half: halfOf(answer, answer.gid, answer.handfast),
    knows: answer.handfast?.peer,
    hasGate: answer.readyAck === "capable"
  }
}

/** Meanings of Mooncake's reasons. */
const meanings: Readonly<Record<Wire.KnownReason, RejectReason>> = {
  ReceiverPathInvalid: "wrong-path",
  ReceiverNicUnknown: "wrong-path",
  EndpointUnavailable: "busy",
  FreshEndpointUnavailable: "busy",
  PathsDiffer: "wrong-path",
  SenderPathInvalid: "wrong-path",
  SenderNicUnknown: "incompatible",
  AckUnconnected: "unconnected",
  AckStale: "stale",
  QueuePairCount: "incompatible",
  GidInvalid: "incompatible",
  ResetFailed: "failed",
  InitFailed: "failed",
  ReadyToReceiveFailed: "failed",
  ReadyToSendFailed: "failed",
  CallbackFailed: "failed",
  ControlUnsupported: "other"
}

/** Reasons for which Mooncake has no text are sent by their name. */
const ownText = new RegExp(`^(${RejectReason.literals.join("|")}): (.*)$`, "s")

/** Encodes a rejection. */
export const reasonOf = ({ reason, text }: Rejected, { _tag }: Said): Wire.RejectReason => {
  if (reason === "unconnected") return Wire.make("AckUnconnected")
  if (reason === "incompatible") return Wire.make("QueuePairCount")
  if (reason === "stale" && _tag === "Acknowledgement") return Wire.make("AckStale")
  return { _tag: "Other", detail: `${reason}: ${text}` }
}

/** Decodes a rejection. Old peers give no reason. */
export const rejectedBy = (by: string, reason: Wire.RejectReason): Rejected => {
  if (reason._tag === "Unspecified") {
    return new Rejected({ by, reason: "other", text: "no reason was given" })
  }
  const text = Wire.print(reason)
  if (reason._tag !== "Other") return new Rejected({ by, reason: meanings[reason._tag], text })
  const [, name, words = ""] = ownText.exec(reason.detail) ?? []
  if (name === undefined) return new Rejected({ by, reason: "other", text })
  return new Rejected({ by, reason: name as RejectReason, text: words })
}

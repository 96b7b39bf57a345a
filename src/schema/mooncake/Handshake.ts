/**
 * The messages in connection frames: a request and its reply, the acknowledgement that the active
 * side is ready and the reply to that, a rejection, and a farewell between peers of this library.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Gid } from "../Gid.ts"
import { Announcement, Parting } from "./Announcement.ts"
import type { Body } from "./Body.ts"
import { ReplyIncomplete, type ReplyFault } from "./Fault.ts"
import * as GidText from "./GidText.ts"
import { U16, U32 } from "./internal/integers.ts"
import * as NicPath from "./NicPath.ts"
import * as RejectReason from "./RejectReason.ts"

/** A member of every message that only peers of this library read. */
const announced = { handfast: Schema.optionalKey(Announcement) }

const half = {
  sender: NicPath.NicPath,
  receiver: NicPath.NicPath,
  lid: U16,
  qpNums: Schema.Array(U32),
  ...announced
}

/** Whether the sender knows ready acknowledgements; to one that does not, none may be sent. */
const readyAck = Schema.Literals(["absent", "capable"])

/**
 * The active side's half. Peers before Mooncake 0.3.11 leave out the GID; it is in their metadata.
 */
export const Request = Schema.TaggedStruct("Request", {
  ...half,
  gid: Schema.optionalKey(Gid),
  readyAck
})

/** The active side's half again: it is ready now, so the passive side may send. */
export const ReadyAck = Schema.TaggedStruct("ReadyAck", { ...half, gid: Schema.optionalKey(Gid) })

/**
 * The sender has given up the epoch that it announces. It is written as an acknowledgement of no
 * queue pairs: Mooncake, should it ever get one, rejects that and changes nothing.
 */
export const Farewell = Schema.TaggedStruct("Farewell", {
  sender: NicPath.NicPath,
  receiver: NicPath.NicPath,
  handfast: Parting
})

/** The passive side's half. */
export const Reply = Schema.TaggedStruct("Reply", {
  ...half,
  gid: Gid,
  qpNums: Schema.NonEmptyArray(U32),
  readyAck
})

/** The ready acknowledgement was taken. */
export const AckReply = Schema.TaggedStruct("AckReply", announced)

export const Rejected = Schema.TaggedStruct("Rejected", {
  reason: RejectReason.RejectReason,
  ...announced
})

export const Handshake = Schema.Union([Request, ReadyAck, Farewell, Reply, AckReply, Rejected])

export type Handshake = typeof Handshake.Type

export type Call = typeof Request.Type | typeof ReadyAck.Type | typeof Farewell.Type

export type Answer = typeof Reply.Type | typeof AckReply.Type | typeof Rejected.Type

const empty: NonNullable<Body> = {
  localNicPath: "",
  localGid: "",
  localLid: 0,
  peerNicPath: "",
  qpNums: [],
  replyMsg: "",
  payload: ""
}

const isParting = (handfast: Announcement | Parting): handfast is Parting => "farewell" in handfast

const addition = ({ handfast }: { readonly handfast?: Announcement | Parting }) =>
  handfast === undefined || isParting(handfast) ? {} : { handfast }

/** Interprets a frame on the passive side. For an invalid one, fails with the rejection to send. */
export const readCall = (body: Body): Result.Result<Call, RejectReason.RejectReason> => {
  const { localGid, localLid, localNicPath, peerNicPath, qpNums, readyAck } = body ?? empty
  if (peerNicPath === controlPath) return refused("ControlUnsupported", "")
  const receiver = NicPath.parse(peerNicPath)
  const sender = NicPath.parse(localNicPath)
  const gid = localGid === "" ? undefined : GidText.parse(localGid)
  if (Result.isFailure(receiver)) return refused("ReceiverPathInvalid", peerNicPath)
  if (Result.isFailure(sender)) return refused("SenderPathInvalid", localNicPath)
  if (gid !== undefined && Result.isFailure(gid)) return refused("GidInvalid", localGid)
  const paths = { sender: sender.success, receiver: receiver.success }
  const handfast = body?.handfast
  if (handfast !== undefined && isParting(handfast)) {
    return Result.succeed({ _tag: "Farewell", ...paths, handfast })
  }
  const half = {
    ...paths,
    lid: localLid,
    qpNums,
    ...(gid !== undefined && { gid: gid.success }),
    ...addition(body ?? empty)
  }
  if (readyAck === true) return Result.succeed({ _tag: "ReadyAck", ...half })
  const capability = readyAck === undefined ? "absent" : "capable"
  return Result.succeed({ _tag: "Request", ...half, readyAck: capability })
}

/**
 * The path with which newer Mooncakes request a channel of notifies over RDMA. A Mooncake that is
 * refused sends them over TCP.
 */
const controlPath = "__ctrl__"

/** Characters of the peer's text that a rejection repeats: enough to see the mistake. */
const repeated = 256

const refused = (reason: RejectReason.KnownReason, text: string) =>
  Result.fail(RejectReason.make(reason, text.slice(0, repeated)))

/**
 * Interprets a frame on the active side. An empty reply accepts an acknowledgement, but is no
 * answer to a request: a caller that requested a connection must not take it for one.
 */
export const readAnswer = (body: Body): Result.Result<Answer, ReplyFault> => {
  if (body === null) return Result.succeed({ _tag: "Rejected", reason: { _tag: "Unspecified" } })
  const { localGid, localLid, localNicPath, peerNicPath, qpNums, readyAck, replyMsg } = body
  const added = addition(body)
  if (replyMsg !== "") {
    return Result.succeed({ _tag: "Rejected", reason: RejectReason.parse(replyMsg), ...added })
  }
  const saysNothing = localNicPath + localGid + peerNicPath === "" && qpNums.length === 0
  if (saysNothing && readyAck === undefined) return Result.succeed({ _tag: "AckReply", ...added })
  const [first, ...more] = qpNums
  if (localGid === "" || first === undefined) {
    const gid = localGid === "" ? (["gid"] as const) : []
    const missing = first === undefined ? ([...gid, "qpNums"] as const) : gid
    return Result.fail(new ReplyIncomplete({ missing }))
  }
  const sender = NicPath.parse(localNicPath)
  const receiver = NicPath.parse(peerNicPath)
  const gid = GidText.parse(localGid)
  if (Result.isFailure(sender)) return Result.fail(sender.failure)
  if (Result.isFailure(receiver)) return Result.fail(receiver.failure)
  if (Result.isFailure(gid)) return Result.fail(gid.failure)
  return Result.succeed({
    _tag: "Reply",
    sender: sender.success,
    receiver: receiver.success,
    gid: gid.success,
    lid: localLid,
    qpNums: [first, ...more],
    readyAck: readyAck === undefined ? "absent" : "capable",
    ...added
  })
}

/**
 * The members of a message, as the newest Mooncake writes them. A message without the capability is
 * written as by the last Mooncake that had none.
 */
export const toBody = (message: Handshake): Body => {
  const added = addition(message)
  switch (message._tag) {
    case "Rejected": {
      const { reason } = message
      if (reason._tag === "Unspecified") return null
      return { ...empty, replyMsg: RejectReason.print(reason), ...added }
    }
    case "AckReply":
      return { ...empty, ...added }
    case "Farewell":
      return {
        ...empty,
        localNicPath: NicPath.print(message.sender),
        peerNicPath: NicPath.print(message.receiver),
        readyAck: true,
        handfast: message.handfast
      }
    default: {
      const { gid, lid, qpNums, receiver, sender } = message
      const capable = message._tag === "ReadyAck" || message.readyAck === "capable"
      return {
        localNicPath: NicPath.print(sender),
        localGid: gid === undefined ? "" : GidText.print(gid),
        localLid: lid,
        peerNicPath: NicPath.print(receiver),
        qpNums,
        replyMsg: "",
        ...(capable && { readyAck: message._tag === "ReadyAck", payload: "" }),
        ...added
      }
    }
  }
}

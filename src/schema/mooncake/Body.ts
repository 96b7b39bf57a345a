/**
 * The text of a connection frame, member by member. `Handshake` interprets it.
 *
 * The writer produces the same bytes as Mooncake. The reader accepts what Mooncake accepts, except
 * for texts that crash it: these are `Malformed`.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Announcement from "./Announcement.ts"
import { type BadJson, Malformed, type TextFault } from "./Fault.ts"
import { U16, U32 } from "./internal/integers.ts"
import {
  isObject,
  type Json,
  type JsonObject,
  member,
  parse,
  print,
  printInOrder,
  textOf
} from "./internal/json.ts"

/**
 * Peers before Mooncake 0.3.13 reject with `null`. The other texts are as the peer wrote them:
 * whether they are paths and GIDs is not known yet. Old peers leave out `readyAck` and `payload`.
 */
export const Body = Schema.NullOr(
  Schema.Struct({
    localNicPath: Schema.String,
    localGid: Schema.String,
    localLid: U16,
    peerNicPath: Schema.String,
    qpNums: Schema.Array(U32),
    replyMsg: Schema.String,
    readyAck: Schema.optionalKey(Schema.Boolean),
    payload: Schema.optionalKey(Schema.String),
    handfast: Schema.optionalKey(Schema.Union([Announcement.Announcement, Announcement.Parting]))
  })
)

export type Body = typeof Body.Type

export const encode = (body: Body): string => {
  if (body === null) return print(null)
  return printInOrder({
    [Announcement.key]: body.handfast && Announcement.toJson(body.handfast),
    local_gid: body.localGid,
    local_lid: body.localLid,
    local_nic_path: body.localNicPath,
    payload: body.payload,
    peer_nic_path: body.peerNicPath,
    qp_num: body.qpNums,
    ready_ack: body.readyAck,
    reply_msg: body.replyMsg
  })
}

export const decode = (text: string): Result.Result<Body, TextFault> => {
  const json: Result.Result<Json, BadJson> = parse(text)
  if (Result.isFailure(json)) return Result.fail(json.failure)
  if (json.success === null) return Result.succeed(null)
  if (!isObject(json.success)) return malformed("expected an object")
  return fromObject(json.success)
}

const malformed = (detail: string) => Result.fail(new Malformed({ what: "handshake", detail }))

const fromObject = (object: JsonObject): Result.Result<Body, Malformed> => {
  const localNicPath = textOf(member(object, "local_nic_path"))
  const peerNicPath = textOf(member(object, "peer_nic_path"))
  const replyMsg = textOf(member(object, "reply_msg"))
  const qpNums = qpNumsOf(member(object, "qp_num"))
  if (localNicPath === undefined) return malformed("local_nic_path is no text")
  if (peerNicPath === undefined) return malformed("peer_nic_path is no text")
  if (replyMsg === undefined) return malformed("reply_msg is no text")
  if (qpNums === undefined) return malformed("qp_num holds something else than 32-bit numbers")
  const gid = member(object, "local_gid")
  const payload = member(object, "payload")
  const handfast = Announcement.fromJson(member(object, Announcement.key))
  return Result.succeed({
    localNicPath,
    localGid: typeof gid === "string" ? gid : "",
    localLid: lidOf(member(object, "local_lid")),
    peerNicPath,
    qpNums,
    replyMsg,
    // With any value, the member shows that the peer knows it.
    ...(Object.hasOwn(object, "ready_ack") && { readyAck: member(object, "ready_ack") === true }),
    ...(payload !== undefined && { payload: typeof payload === "string" ? payload : "" }),
    ...(handfast !== undefined && { handfast })
  })
}

const isU32 = (value: number): boolean => value >= 0 && value <= 0xffff_ffff

const lidOf = (value: Json | undefined): number =>
  typeof value === "number" && Number.isInteger(value) && isU32(value) ? value & 0xffff : 0

/** The values of an object, in the order of its keys; other values are an empty list. */
const elementsOf = (value: Json | undefined): ReadonlyArray<Json> => {
  if (Array.isArray(value)) return value
  if (!isObject(value)) return []
  return Object.keys(value)
    .toSorted()
    .map((key) => value[key]!)
}

const qpNumsOf = (value: Json | undefined): ReadonlyArray<number> | undefined => {
  const numbers: Array<number> = []
  for (const element of elementsOf(value)) {
    if (typeof element !== "number" || !isU32(element)) return undefined
    // Fractions are truncated.
    numbers.push(element >>> 0)
  }
  return numbers
}

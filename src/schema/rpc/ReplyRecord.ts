/**
 * The records by which a server remembers, over its lives, what its clients have called and what
 * was answered. Each is the body of one event of a journal.
 */
import * as Schema from "effect/Schema"

const Client = Schema.String
const Xid = Schema.Int
/** Tells a call from others of its XID. */
const Name = Schema.String

/** A client is known from here on, under this incarnation of its server. */
export const Met = Schema.TaggedStruct("Met", {
  client: Client,
  principal: Schema.String,
  incarnation: Schema.Uint8ArrayFromBase64,
  /** What it has called up to this XID is forgotten. */
  mark: Schema.UndefinedOr(Xid),
  /** The server has called it by lower XIDs alone. */
  reverseXid: Xid
})

/** A call is about to be executed. */
export const Begun = Schema.TaggedStruct("Begun", { client: Client, xid: Xid, name: Name })

/** A call was executed, and this is its answer. */
export const Answered = Schema.TaggedStruct("Answered", {
  client: Client,
  xid: Xid,
  name: Name,
  /** Undefined for a call that has no results: see `error`. */
  results: Schema.UndefinedOr(Schema.Uint8ArrayFromBase64),
  error: Schema.Literals(["GarbageArgs", "SystemError"]),
  bulk: Schema.Array(Schema.Struct({ offset: Schema.Int, length: Schema.Int }))
})
export type Answered = typeof Answered.Type

export type Met = typeof Met.Type

/** One record. */
export const ReplyRecord = Schema.Union([Met, Begun, Answered])
export type ReplyRecord = typeof ReplyRecord.Type

const Text = Schema.fromJsonString(Schema.toCodecJson(ReplyRecord))

/** The version of the records that are written. */
export const version = 1

/** Returns the body of a record. */
export const encode = Schema.encodeSync(Text)
/** Reads the body of a record. */
export const decode = Schema.decodeUnknownEffect(Text)

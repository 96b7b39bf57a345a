/** Faults of the input on Mooncake's handshake port. */
import * as Schema from "effect/Schema"

/**
 * The length of a frame is above the limit, or it was written in big-endian order, in which any
 * realistic length is above every limit. Nothing after it can be read: close.
 */
export class FrameTooLong extends Schema.TaggedError<FrameTooLong>()("FrameTooLong", {
  length: Schema.Number,
  limit: Schema.Int
}) {
  override get message() {
    return `a frame of ${this.length} bytes; the limit is ${this.limit}`
  }
}

/** A frame of length zero, without even a type. */
export class FrameEmpty extends Schema.TaggedError<FrameEmpty>()("FrameEmpty", {}) {
  override get message() {
    return "a frame without a type"
  }
}

/** The first byte of a frame is neither a type nor the beginning of a text. */
export class UnknownFrameType extends Schema.TaggedError<UnknownFrameType>()("UnknownFrameType", {
  type: Schema.Int
}) {
  override get message() {
    return `a frame of type ${this.type}`
  }
}

/** The fault that ends the reading of a stream. */
export type FrameFault = FrameTooLong | FrameEmpty | UnknownFrameType

/**
 * The text of a frame is not JSON, not even as leniently as Mooncake reads it. `at` counts UTF-16
 * units from the beginning of the text.
 */
export class BadJson extends Schema.TaggedError<BadJson>()("BadJson", {
  at: Schema.Int,
  expected: Schema.String
}) {
  override get message() {
    return `expected ${this.expected} at character ${this.at}`
  }
}

/** The text is JSON, but not of the form that its frame's type demands. */
export class Malformed extends Schema.TaggedError<Malformed>()("Malformed", {
  what: Schema.Literals(["handshake", "segment", "notify", "probe"]),
  detail: Schema.String
}) {
  override get message() {
    return `not a ${this.what}: ${this.detail}`
  }
}

/** Why the text of a frame could not be read. */
export type TextFault = BadJson | Malformed

/**
 * A text that is not `server@nic`, or whose server is not `host`, `host:port` or `[address]:port`.
 */
export class BadNicPath extends Schema.TaggedError<BadNicPath>()("BadNicPath", {
  text: Schema.String
}) {
  override get message() {
    return `not a path of a NIC: ${JSON.stringify(this.text)}`
  }
}

/** A text that is not sixteen bytes in hex with a colon between. */
export class BadGid extends Schema.TaggedError<BadGid>()("BadGid", { text: Schema.String }) {
  override get message() {
    return `not a GID: ${JSON.stringify(this.text)}`
  }
}

/** A reply that is no rejection, but lacks data for a connection. */
export class ReplyIncomplete extends Schema.TaggedError<ReplyIncomplete>()("ReplyIncomplete", {
  missing: Schema.Array(Schema.Literals(["gid", "qpNums"]))
}) {
  override get message() {
    return `a reply without ${this.missing.join(" and ")}`
  }
}

/** Why a reply cannot be used. */
export type ReplyFault = BadNicPath | BadGid | ReplyIncomplete

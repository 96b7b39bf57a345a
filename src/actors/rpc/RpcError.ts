/** Why a remote procedure call has no result. */
import * as Schema from "effect/Schema"

/**
 * The responder refused the call, or answered what cannot be used.
 *
 * - `program-unavailable`, `program-mismatch`, `procedure-unavailable`, `garbage-args`,
 *   `system-error`, `denied`: what the responder's RPC layer says.
 * - `chunks-refused`: the responder could not use the chunks of the call, or had no room for its
 *   reply. It says nothing about whether the call was executed.
 * - `malformed-reply`: the reply is no RPC message; the call may have been executed.
 * - `not-offered`: the client takes no calls in the reverse direction. It was not sent.
 * - `too-long`: the chunks of the call, or a whole one in the reverse direction, do not fit inline.
 *   It was not sent.
 * - `closed`: the client of a call in the reverse direction did not come back, or the server was
 *   closed. It was not sent.
 * - `version-refused`: the responder does not speak this version of RPC-over-RDMA.
 */
export class CallRefused extends Schema.TaggedError<CallRefused>("handfast/rpc/CallRefused")(
  "CallRefused",
  {
    reason: Schema.Literals([
      "program-unavailable",
      "program-mismatch",
      "procedure-unavailable",
      "garbage-args",
      "system-error",
      "denied",
      "chunks-refused",
      "version-refused",
      "malformed-reply",
      "not-offered",
      "too-long",
      "closed"
    ]),
    procedure: Schema.Int
  }
) {
  override get message() {
    return `procedure ${this.procedure} was refused: ${this.reason}`
  }
}

/**
 * The call may have been executed, once. It was sent, and its responder was replaced or has
 * forgotten it, so sending it again could execute it twice.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>(
  "handfast/rpc/OutcomeUnknown"
)("OutcomeUnknown", { procedure: Schema.Int, detail: Schema.String }) {
  override get message() {
    return `procedure ${this.procedure} may have been executed: ${this.detail}`
  }
}

/** The client was closed. A call that was sent before may have been executed. */
export class ClientClosed extends Schema.TaggedError<ClientClosed>("handfast/rpc/ClientClosed")(
  "ClientClosed",
  { wasSent: Schema.Boolean }
) {
  override get message() {
    return `the client was closed${this.wasSent ? "; the call may have been executed" : ""}`
  }
}

/** Limits that cannot hold together; both settings are named. */
export class SettingsConflict extends Schema.TaggedError<SettingsConflict>(
  "handfast/rpc/SettingsConflict"
)("SettingsConflict", { settings: Schema.Array(Schema.String), detail: Schema.String }) {
  override get message() {
    return `${this.settings.join(" and ")}: ${this.detail}`
  }
}

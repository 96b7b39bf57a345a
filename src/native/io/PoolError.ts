/** Errors of settings, and of the sockets that a pool opens. */
import * as Schema from "effect/Schema"

/** A setting is out of its range. Nothing was started. */
export class SettingsRefused extends Schema.TaggedError<SettingsRefused>()("SettingsRefused", {
  setting: Schema.String,
  value: Schema.Number,
  rule: Schema.String
}) {
  override get message() {
    return `${this.setting} is ${this.value}: it must be ${this.rule}`
  }
}

/** A connection or a listener could not be opened. */
export class SocketOpenError extends Schema.TaggedError<SocketOpenError>()("SocketOpenError", {
  address: Schema.String,
  step: Schema.Literals(["resolve", "connect", "tls", "listen", "framer", "worker"]),
  code: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.address}: ${this.step} failed: ${this.detail}`
  }
}

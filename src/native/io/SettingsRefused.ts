/** The error of a pool whose settings do not go together. */
import * as Schema from "effect/Schema"

/** A setting of a pool is out of its range. Nothing was started. */
export class SettingsRefused extends Schema.TaggedError<SettingsRefused>()("SettingsRefused", {
  setting: Schema.String,
  value: Schema.Number,
  rule: Schema.String
}) {
  override get message() {
    return `${this.setting} is ${this.value}: it must be ${this.rule}`
  }
}

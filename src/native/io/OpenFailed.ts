/** Why a connection or a listener could not be opened. */
import * as Schema from "effect/Schema"

/** A connection or a listener could not be opened. */
export class OpenFailed extends Schema.TaggedError<OpenFailed>()("OpenFailed", {
  address: Schema.String,
  step: Schema.Literals(["resolve", "connect", "tls", "listen", "framer", "worker"]),
  code: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.address}: ${this.step} failed: ${this.detail}`
  }
}

/** The Schema of MPA's start-up frames, as `Mpa` reads and writes them. */
import * as Schema from "effect/Schema"
import { privateDataLimit, unlimited } from "./Mpa.ts"

const prefixBytes = 4
const Limit = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: unlimited }))

const Enhanced = Schema.Struct({
  peerToPeer: Schema.Boolean,
  readyBySend: Schema.Boolean,
  readyByWrite: Schema.Boolean,
  readyByRead: Schema.Boolean,
  ird: Limit,
  ord: Limit
})

const bytes = (limit: number) =>
  Schema.Uint8Array.check(Schema.makeFilter((bytes) => bytes.length <= limit))

/** Only revision 2 has the prefix, and it takes its room from the private data. */
const plain = {
  markers: Schema.Boolean,
  crc: Schema.Boolean,
  revision: Schema.Literals([0, 1, 2]),
  enhanced: Schema.Undefined,
  privateData: bytes(privateDataLimit)
}
const prefixed = {
  ...plain,
  revision: Schema.Literal(2),
  enhanced: Enhanced,
  privateData: bytes(privateDataLimit - prefixBytes)
}
const request = { kind: Schema.Literal("request"), reject: Schema.Literal(false) }
const reply = { kind: Schema.Literal("reply"), reject: Schema.Boolean }

export const StartupFrame = Schema.Union([
  Schema.Struct({ ...request, ...plain }),
  Schema.Struct({ ...request, ...prefixed }),
  Schema.Struct({ ...reply, ...plain }),
  Schema.Struct({ ...reply, ...prefixed })
])

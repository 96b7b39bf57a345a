/** GIDs as Mooncake writes them: sixteen bytes in hex, two digits each, with a colon between. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { Gid } from "../Gid.ts"
import { BadGid } from "./Fault.ts"

const shape = /^[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){15}$/i
const longest = 47

const colons = (digits: string): string => {
  let text = digits.slice(0, 2)
  for (let at = 2; at < digits.length; at += 2) text += `:${digits.slice(at, at + 2)}`
  return text
}

export const print = (gid: Gid): string => colons(gid)

const withoutColons = (text: string): string => {
  let digits = ""
  for (let at = 0; at < longest; at += 3) digits += text.slice(at, at + 2)
  return digits
}

const padded = (text: string): string =>
  text
    .split(":")
    .map((byte) => byte.padStart(2, "0"))
    .join("")

const digits = (text: string): string =>
  (text.length === longest ? withoutColons(text) : padded(text)).toLowerCase()

const isText = (text: string): boolean => text.length <= longest && shape.test(text)

/** Bytes with a single digit are accepted, too, as Mooncake accepts them. */
export const parse = (text: string): Result.Result<Gid, BadGid> =>
  isText(text)
    ? Result.succeed(digits(text) as Gid)
    : Result.fail(new BadGid({ text: text.slice(0, 64) }))

export const GidText = Schema.String.check(Schema.makeFilter(isText)).pipe(
  Schema.decodeTo(Gid, SchemaTransformation.transform({ decode: digits, encode: colons }))
)

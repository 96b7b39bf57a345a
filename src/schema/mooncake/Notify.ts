/**
 * The text of a notify frame: a message for the listener of a name. The reply has the same
 * form.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Malformed, type TextFault } from "./Fault.ts"
import { isObject, member, parse, print, textOf } from "./internal/json.ts"

export const Notify = Schema.Struct({ name: Schema.String, message: Schema.String })

export type Notify = typeof Notify.Type

/** The reply to an accepted message. */
export const taken: Notify = { name: "", message: "success" }

export const encode = ({ message, name }: Notify): string => print({ name, notify_msg: message })

export const decode = (text: string): Result.Result<Notify, TextFault> =>
  Result.flatMap(parse(text), (json) => {
    const name = isObject(json) ? textOf(member(json, "name")) : undefined
    const message = isObject(json) ? textOf(member(json, "notify_msg")) : undefined
    return name === undefined || message === undefined
      ? Result.fail(new Malformed({ what: "notify", detail: "expected a name and a text" }))
      : Result.succeed({ name, message })
  })

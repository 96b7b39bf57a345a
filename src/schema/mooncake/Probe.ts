/** The text of a probe frame, which asks whether the peer is alive. Only the reply has a status. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Malformed, type TextFault } from "./Fault.ts"
import { isObject, member, parse, print } from "./internal/json.ts"

export const Probe = Schema.Struct({
  status: Schema.optionalKey(Schema.String),
  /** The process instance that its epochs begin with: a member that Mooncake ignores. */
  instance: Schema.optionalKey(Schema.String)
})

export type Probe = typeof Probe.Type

/** The reply of a living process. */
export const alive: Probe = { status: "success" }

/**
 * Asks for the instance, too. Only such a probe gets it: Mooncake's probes get Mooncake's reply.
 */
export const whoIsThere: Probe = { instance: "" }

export const encode = ({ instance, status }: Probe): string =>
  print({ ...(instance !== undefined && { handfast: { instance } }), status })

export const decode = (text: string): Result.Result<Probe, TextFault> =>
  Result.flatMap(parse(text), (json) => {
    if (!isObject(json)) {
      return Result.fail(new Malformed({ what: "probe", detail: "expected an object" }))
    }
    const status = member(json, "status")
    const ours = member(json, "handfast")
    const instance = isObject(ours) ? member(ours, "instance") : undefined
    return Result.succeed({
      ...(typeof status === "string" && { status }),
      ...(typeof instance === "string" && { instance })
    })
  })

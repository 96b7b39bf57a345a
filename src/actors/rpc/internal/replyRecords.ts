/** Calls and their answers as they are stored. */
import type { Answered } from "../../../schema/rpc/ReplyRecord.ts"
import type { CallName } from "./replyCache.ts"
import type { Answer } from "./session.ts"

export const textOf = ({ bytes, checksum, procedure, program, version }: CallName): string =>
  [program, version, procedure, bytes, checksum].join(".")

export const nameIn = (text: string): CallName => {
  const [program, version, procedure, bytes, checksum] = text.split(".").map(Number)
  return { program, version, procedure, bytes, checksum } as CallName
}

/** Returns the record of an answer. A handler has no other outcome than these three. */
export const answeredRecord = (
  call: Pick<Answered, "client" | "xid" | "name">,
  { bulk, outcome }: Answer
): Answered => ({
  _tag: "Answered",
  ...call,
  results: outcome._tag === "Success" ? outcome.results : undefined,
  error: outcome._tag === "GarbageArgs" ? "GarbageArgs" : "SystemError",
  bulk
})

export const answerOf = ({ bulk, error, results }: Answered): Answer => ({
  outcome: results === undefined ? { _tag: error } : { _tag: "Success", results },
  bulk
})

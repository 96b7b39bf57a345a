/** Answers as they are stored. */
import type { Answered } from "../../../schema/rpc/ReplyRecord.ts"
import type { Answer } from "./serving.ts"

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

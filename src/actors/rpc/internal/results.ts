/** Reads what a responder says of a call. Pure. */
import { copyOf } from "../../../schema/copyBytes.ts"
import * as Result from "effect/Result"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import { CallRefused, OutcomeUnknown } from "../RpcError.ts"
import type { Call, Results } from "./callQueue.ts"

const reasons = {
  ProgramUnavailable: "program-unavailable",
  ProgramMismatch: "program-mismatch",
  ProcedureUnavailable: "procedure-unavailable",
  GarbageArgs: "garbage-args",
  SystemError: "system-error"
} as const

/** Returns the results in an RPC message that answers a call. */
export const readResults = (
  call: Pick<Call, "procedure" | "wasSentAgain">,
  xid: number,
  bytes: Uint8Array
): Results => resultsOf(call, xid, Result.getOrUndefined(RpcMessage.decode(bytes)))

/** Copies the results out of an RPC message; undefined is one that does not parse. */
export const resultsOf = (
  call: Pick<Call, "procedure" | "wasSentAgain">,
  xid: number,
  message: RpcMessage.RpcMessage | undefined
): Results => {
  const { procedure, wasSentAgain } = call
  const refused = (reason: CallRefused["reason"]) =>
    Result.fail(new CallRefused({ reason, procedure }))
  if (message === undefined || message._tag === "Call" || message.xid !== xid) {
    return refused("malformed-reply")
  }
  if (message._tag === "Denied") return refused("denied")
  const { outcome } = message
  if (outcome._tag === "Success") {
    const { results } = outcome
    return Result.succeed(results.length === 0 ? results : copyOf(results, 0, results.length))
  }
  // A cache that has forgotten the first execution can say no more than this.
  if (outcome._tag === "SystemError" && wasSentAgain) {
    const detail = "it was sent again, and the responder does not know what became of it"
    return Result.fail(new OutcomeUnknown({ procedure, detail }))
  }
  return refused(reasons[outcome._tag])
}

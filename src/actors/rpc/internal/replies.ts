/** Reads what a reply says of its call, and checks that it keeps to what the call offered. */
import type { RpcMessage } from "../../../schema/rpc/RpcMessage.ts"
import {
  type ChunkSegment,
  noChunks,
  type RdmaDone,
  type RdmaMsg,
  type RdmaNomsg,
  type RpcRdmaMessage
} from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { Loan } from "../../rdma/RegionPool.ts"
import { CallRefused } from "../RpcError.ts"
import {
  type Answer,
  type Call,
  type Lent,
  nothingLent,
  type Outcome,
  type Results
} from "./callQueue.ts"
import { resultsOf } from "./results.ts"

/** Bytes that a returned chunk claims, or undefined if it is not the one that was offered. */
const claimed = (chunk: ReadonlyArray<ChunkSegment>, loan: Loan): number | undefined => {
  const [segment] = chunk
  if (chunk.length !== 1 || segment === undefined) return undefined
  return segment.handle === loan.key && segment.length <= loan.bytes.length
    ? segment.length
    : undefined
}

const noneWritten: ReadonlyArray<number> = []

/**
 * Reads the chunk lists of a reply, whose message says `results`. Undefined if they name memory
 * that was not offered, in another order, or more of it: the peer is not to be trusted with keys
 * any more.
 */
const readAnswer = (
  whole: RdmaMsg | RdmaNomsg,
  lent: Lent,
  results: Results | undefined
): Answer | undefined => {
  const { xid } = whole
  if (lent === nothingLent && whole.chunks === noChunks && results !== undefined) {
    return { _tag: "Answer", xid, results, replyBytes: 0, writtenBytes: noneWritten }
  }
  const { reads, reply, writes } = whole.chunks
  if (reads.length > 0 || writes.length > lent.writes.length) return undefined
  const writtenBytes: Array<number> = []
  for (const [index, loan] of lent.writes.entries()) {
    const chunk = writes[index]
    const bytes = chunk === undefined ? 0 : claimed(chunk, loan)
    if (bytes === undefined) return undefined
    writtenBytes.push(bytes)
  }
  if (reply !== undefined && lent.reply === undefined) return undefined
  const replyBytes = reply === undefined ? 0 : claimed(reply, lent.reply!)
  if (replyBytes === undefined) return undefined
  // A reply without a message is in the reply chunk.
  if (results === undefined && replyBytes === 0) return undefined
  return { _tag: "Answer", xid, results, replyBytes, writtenBytes }
}

/** The outcome of a call that a message answers; undefined if that breaks what the call offered. */
export const outcomeOf = (
  message: Exclude<RpcRdmaMessage, RdmaDone>,
  rpc: RpcMessage | undefined,
  call: Call,
  lent: Lent
): Outcome | undefined => {
  const { procedure } = call
  const refused = (reason: CallRefused["reason"]): Outcome => ({
    _tag: "Failed",
    failure: new CallRefused({ reason, procedure })
  })
  if (message._tag === "RdmaErrVers") return refused("version-refused")
  if (message._tag === "RdmaErrChunk") return refused("chunks-refused")
  return readAnswer(message, lent, rpc && resultsOf(call, message.xid, rpc))
}

/** Reads what a reply says of its call, and checks that it keeps to what the call offered. */
import type {
  ChunkSegment,
  RdmaMsg,
  RdmaNomsg,
  RpcRdmaMessage
} from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { Loan } from "../../rdma/RegionPool.ts"
import { CallRefused } from "../RpcError.ts"
import type { Answer, Call, Lent } from "./callQueue.ts"

/** Bytes that a returned chunk claims, or undefined if it is not the one that was offered. */
const claimed = (chunk: ReadonlyArray<ChunkSegment>, loan: Loan): number | undefined => {
  const [segment] = chunk
  if (chunk.length !== 1 || segment === undefined) return undefined
  return segment.handle === loan.key && segment.length <= loan.bytes.length
    ? segment.length
    : undefined
}

/**
 * Reads the chunk lists of a reply. Undefined if they name memory that was not offered, in another
 * order, or more of it: the peer is not to be trusted with keys any more.
 */
const readAnswer = (whole: RdmaMsg | RdmaNomsg, lent: Lent): Answer | undefined => {
  const { reads, reply, writes } = whole.chunks
  const message = whole._tag === "RdmaMsg" ? whole.rpc : undefined
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
  if (message === undefined && replyBytes === 0) return undefined
  return { _tag: "Answer", xid: whole.xid, message, replyBytes, writtenBytes }
}

/** Returns how a call ends; undefined if the reply is not to be trusted. */
export const endOf = (
  message: RpcRdmaMessage,
  call: Call,
  lent: Lent
): (() => void) | undefined => {
  const refused = (reason: CallRefused["reason"]) => () =>
    call.fail(new CallRefused({ reason, procedure: call.procedure }))
  switch (message._tag) {
    case "RdmaErrVers":
      return refused("version-refused")
    case "RdmaErrChunk":
      return refused("chunks-refused")
    case "RdmaDone":
      return undefined
    default: {
      const answer = readAnswer(message, lent)
      return answer && (() => call.end(answer))
    }
  }
}

/** The parts of calls and replies that travel in chunks, as a responder reads and writes them. */
import { copyBytes, copyOf } from "../../../schema/copyBytes.ts"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import type * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { Loan } from "../../rdma/RegionPool.ts"
import type { RpcReply } from "./inlineReply.ts"
import type { LocalMemory } from "./outgoing.ts"
import type { Range, ReadPart, ReplyShape, WritePart } from "./planning.ts"

/** A piece of memory to write, and where it goes. */
export interface Write {
  readonly local: LocalMemory
  readonly to: RpcRdmaMessage.ChunkSegment
}

/** The type of an RPC message that is a reply. */
const replyType = 1

/** A message without an RPC message in it is a call too: that is read by the responder. */
export const isCall = (
  message: RpcRdmaMessage.RpcRdmaMessage
): message is RpcRdmaMessage.RdmaMsg | RpcRdmaMessage.RdmaNomsg => {
  if (message._tag === "RdmaNomsg") return true
  if (message._tag !== "RdmaMsg") return false
  const { rpc } = message
  return rpc.length < 8 || new DataView(rpc.buffer, rpc.byteOffset).getUint32(4) !== replyType
}

export const shapeOf = (rpc: RpcReply, bulk: ReadonlyArray<Range>): ReplyShape => {
  if (rpc._tag === "Denied" || rpc.outcome._tag !== "Success") {
    return { head: RpcMessage.encode(rpc), results: new Uint8Array(0), bulk: [] }
  }
  const { results } = rpc.outcome
  const outcome = { _tag: "Success", results: new Uint8Array(0) } as const
  return { head: RpcMessage.encode({ ...rpc, outcome }), results, bulk }
}

/** Copies what is to be written into borrowed memory, one behind the other. */
export const writesOf = ({ bytes: memory, region }: Loan, parts: ReadonlyArray<WritePart>) => {
  let at = 0
  return parts.map(({ bytes, to }): Write => {
    copyBytes(memory, at, bytes, 0, bytes.length)
    at += bytes.length
    return { local: { region, offset: at - bytes.length }, to }
  })
}

/** Segments of one position are one chunk, and lie one behind the other. */
export const partsOf = (
  { bytes: lent }: Loan,
  reads: ReadonlyArray<RpcRdmaMessage.ReadSegment>
): ReadonlyArray<ReadPart> => {
  const parts: Array<ReadPart> = []
  let [start, end] = [0, 0]
  for (const [index, { length, position }] of reads.entries()) {
    end += length
    if (reads[index + 1]?.position === position) continue
    parts.push({ position, bytes: copyOf(lent, start, end) })
    start = end
  }
  return parts
}

/** A reply voids one key of its call; the requester voids the others. */
export const anyKeyOf = ({ reads, reply, writes }: RpcRdmaMessage.ChunkLists): number =>
  reads[0]?.handle ?? writes.flat()[0]?.handle ?? reply?.[0]?.handle ?? 0

/** Encodes calls for the connection instance on which they are sent. */
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { XdrWriter } from "../../../schema/rpc/Xdr.ts"
import type { Loan } from "../../rdma/RegionPool.ts"
import { type Call, nothingLent } from "./callQueue.ts"

/** Names a program. */
export interface ProgramName {
  readonly program: number
  readonly version: number
}

const segmentOf = ({ address, bytes, key }: Loan): RpcRdmaMessage.ChunkSegment => ({
  handle: key,
  length: bytes.length,
  offset: BigInt(address)
})

/** Writes what one Send carries of a call. */
export const writeCall = (
  to: XdrWriter,
  { lent, plan }: Call,
  xid: number,
  credits: number
): void => {
  const { inline, reads } = plan
  if (lent === nothingLent) return writeMessage(to, RpcRdmaMessage.noChunks, inline!, xid, credits)
  const chunks: RpcRdmaMessage.ChunkLists = {
    reads: lent.reads.map((loan, index) =>
      Object.assign(segmentOf(loan), { position: reads[index]!.position })
    ),
    writes: lent.writes.map((loan) => [segmentOf(loan)]),
    reply: lent.reply === undefined ? undefined : [segmentOf(lent.reply)]
  }
  if (inline === undefined) {
    const start = lent.reads[0]!.bytes
    new DataView(start.buffer, start.byteOffset).setUint32(0, xid)
    RpcRdmaMessage.write(to, { _tag: "RdmaNomsg", xid, credits, chunks })
  } else writeMessage(to, chunks, inline, xid, credits)
}

const writeMessage = (
  to: XdrWriter,
  chunks: RpcRdmaMessage.ChunkLists,
  rpc: RpcMessage.Call | Uint8Array,
  xid: number,
  credits: number
): void => {
  RpcRdmaMessage.writeHeader(to, { xid, credits, chunks })
  const at = to.length
  // The XID is drawn when a call is sent.
  if (rpc instanceof Uint8Array) to.raw(rpc).overwrite(at, xid)
  else RpcMessage.write(to, rpc).overwrite(at, xid)
}

/** A call that no program of the user makes. */
export interface ControlCall extends ProgramName {
  readonly procedure: number
  readonly args: Uint8Array
}

/** Writes a call that keeps the connection: it is inline, on every connection. */
export const writeControl = (
  to: XdrWriter,
  call: ControlCall,
  xid: number,
  credits: number
): void => {
  const { authNone } = RpcMessage
  const rpc = { _tag: "Call", xid, ...call, credential: authNone, verifier: authNone } as const
  writeMessage(to, RpcRdmaMessage.noChunks, rpc, xid, credits)
}

/** Encodes calls for the connection instance on which they are sent. */
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { Loan } from "../../rdma/RegionPool.ts"
import type { Call } from "./callQueue.ts"

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

/**
 * Returns what one Send carries of a call. The XID is drawn when a call is sent, so it is written
 * here into the message that was planned, or lent, before.
 */
export const encodeCall = ({ lent, plan }: Call, xid: number, credits: number): Uint8Array => {
  const { inline, reads } = plan
  const start = inline ?? lent.reads[0]!.bytes
  new DataView(start.buffer, start.byteOffset).setUint32(0, xid)
  const chunks: RpcRdmaMessage.ChunkLists = {
    reads: lent.reads.map((loan, index) =>
      Object.assign(segmentOf(loan), { position: reads[index]!.position })
    ),
    writes: lent.writes.map((loan) => [segmentOf(loan)]),
    reply: lent.reply === undefined ? undefined : [segmentOf(lent.reply)]
  }
  const common = { xid, credits, chunks }
  return RpcRdmaMessage.encode(
    inline === undefined
      ? { _tag: "RdmaNomsg", ...common }
      : { _tag: "RdmaMsg", ...common, rpc: inline }
  )
}

/** A call that no program of the user makes. */
export interface ControlCall extends ProgramName {
  readonly procedure: number
  readonly args: Uint8Array
}

/** Returns a call that keeps the connection: it is inline, on every connection. */
export const encodeControl = (call: ControlCall, xid: number, credits: number): Uint8Array => {
  const rpc = RpcMessage.encode({
    _tag: "Call",
    xid,
    ...call,
    credential: RpcMessage.authNone,
    verifier: RpcMessage.authNone
  })
  return RpcRdmaMessage.encode({
    _tag: "RdmaMsg",
    xid,
    credits,
    chunks: RpcRdmaMessage.noChunks,
    rpc
  })
}

/**
 * Shows RPC-over-RDMA messages. Each run of bytes is what one Send carried; an RPC message that is
 * in it is shown with its own fields.
 */

import * as Result from "effect/Result"
import type { DecodedFrame, FrameDecoder } from "../FrameDecoder.ts"
import * as RpcMessage from "./RpcMessage.ts"
import * as RpcRdmaMessage from "./RpcRdmaMessage.ts"

export const make = (): FrameDecoder => ({ decode: (bytes) => [shown(bytes)] })

const shown = (bytes: Uint8Array): DecodedFrame => {
  const read = RpcRdmaMessage.decode(bytes)
  if (Result.isFailure(read)) return { ok: false, error: read.failure }
  const message = read.success
  const encoded = RpcRdmaMessage.encode(message)
  if (message._tag !== "RdmaMsg") {
    return { ok: true, frame: message, bytes: bytes.length, encoded }
  }
  // What a chunk carries is missing here, so a reduced message may not parse; its bytes are shown.
  const rpc = Result.getOrElse(RpcMessage.decode(message.rpc), () => message.rpc)
  return { ok: true, frame: { ...message, rpc }, bytes: bytes.length, encoded }
}

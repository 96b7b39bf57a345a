/** An RPC message that answers a call, in one Send without chunks. */
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { XdrWriter } from "../../../schema/rpc/Xdr.ts"
import type { Writable } from "./outgoing.ts"

/** An RPC message that a responder sends. */
export type RpcReply = RpcMessage.Accepted | RpcMessage.Denied

/** A transport header without chunks. */
const headerBytes = 28
/** The message of a reply that is accepted, without its results. */
const acceptedBytes = 24
/** The longest one that has no results. */
const mostWithoutResults = 32

/** The longest that such a message can be, in bytes; with results, how long it is. */
export const inlineBytesOf = (rpc: RpcReply): number =>
  rpc._tag === "Accepted" && rpc.outcome._tag === "Success"
    ? headerBytes + acceptedBytes + rpc.outcome.results.length
    : headerBytes + mostWithoutResults

export class InlineReply implements Writable {
  readonly xid: number
  readonly rpc: RpcReply
  /** The grant, which is known when the message leaves. */
  credits = 1

  constructor(xid: number, rpc: RpcReply) {
    this.xid = xid
    this.rpc = rpc
  }

  write(to: XdrWriter): void {
    const { credits, rpc, xid } = this
    RpcRdmaMessage.writeHeader(to, { xid, credits, chunks: RpcRdmaMessage.noChunks })
    RpcMessage.write(to, rpc)
  }
}

/** A message whose grant is known when it leaves. */
export class GrantingMessage implements Writable {
  readonly #message: RpcRdmaMessage.RpcRdmaMessage
  credits = 1

  constructor(message: RpcRdmaMessage.RpcRdmaMessage) {
    this.#message = message
  }

  write(to: XdrWriter): void {
    RpcRdmaMessage.write(to, { ...this.#message, credits: this.credits })
  }
}

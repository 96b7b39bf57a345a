/** Reasons why a received RPC-over-RDMA or RPC message cannot be taken. */

import * as Schema from "effect/Schema"

/** Fewer bytes than the procedure's header has. It is discarded without an answer. */
export class HeaderTooShort extends Schema.TaggedError<HeaderTooShort>(
  "handfast/rpc/HeaderTooShort"
)("HeaderTooShort", { bytes: Schema.Int }) {
  override get message() {
    return `${this.bytes} bytes are no RPC-over-RDMA header`
  }
}

/** A version other than 1. A responder answers with the versions that it speaks. */
export class UnknownTransportVersion extends Schema.TaggedError<UnknownTransportVersion>(
  "handfast/rpc/UnknownTransportVersion"
)("UnknownTransportVersion", { xid: Schema.Int, version: Schema.Int }) {
  override get message() {
    return `RPC-over-RDMA version ${this.version}; version 1 is spoken here`
  }
}

/**
 * A header that does not parse, or says what no call and no reply may. A responder answers it with
 * ERR_CHUNK, a requester discards it.
 */
export class HeaderMalformed extends Schema.TaggedError<HeaderMalformed>(
  "handfast/rpc/HeaderMalformed"
)("HeaderMalformed", { xid: Schema.Int, detail: Schema.String }) {
  override get message() {
    return `RPC-over-RDMA message ${this.xid}: ${this.detail}`
  }
}

/** Why a transport header could not be read. */
export type HeaderFault = HeaderTooShort | UnknownTransportVersion | HeaderMalformed

/** An RPC message that does not parse. A call that has an XID can be answered, by GARBAGE_ARGS. */
export class RpcMalformed extends Schema.TaggedError<RpcMalformed>("handfast/rpc/RpcMalformed")(
  "RpcMalformed",
  { detail: Schema.String }
) {
  override get message() {
    return `not an RPC message: ${this.detail}`
  }
}

/** A call of an RPC version other than 2. It is denied with the version that is spoken here. */
export class UnknownRpcVersion extends Schema.TaggedError<UnknownRpcVersion>(
  "handfast/rpc/UnknownRpcVersion"
)("UnknownRpcVersion", { xid: Schema.Int, version: Schema.Int }) {
  override get message() {
    return `RPC version ${this.version}; version 2 is spoken here`
  }
}

/** Why an RPC message could not be read. */
export type RpcFault = RpcMalformed | UnknownRpcVersion

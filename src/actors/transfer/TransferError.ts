/** Errors of transfers. */
import * as Schema from "effect/Schema"
import type { NoDescription } from "../rdma/Directory.ts"

/** A failure on the rail between two NICs, with all known data of that rail. */
export const RailFault = Schema.Struct({
  /** The local NIC, `server@nic`. */
  local: Schema.String,
  localGid: Schema.UndefinedOr(Schema.String),
  /** The local queue pair; 0 if none was connected. */
  queuePair: Schema.Int,
  peer: Schema.String,
  peerGid: Schema.UndefinedOr(Schema.String),
  /** The peer's queue pairs of this rail. */
  peerQueuePairs: Schema.Array(Schema.Int),
  /** The status of the completion, or why there is no connection. */
  status: Schema.String
})

export type RailFault = typeof RailFault.Type

const told = (fault: RailFault | undefined): string => {
  if (fault === undefined) return ""
  const { local, localGid, peer, peerGid, peerQueuePairs, queuePair, status } = fault
  const to = `${peer} (${peerGid ?? "no GID"}, queue pairs ${peerQueuePairs.join(", ") || "none"})`
  return `; ${local} (${localGid ?? "no GID"}, queue pair ${queuePair}) to ${to}: ${status}`
}

/** An invalid request: nothing was posted. */
export class InvalidTransfer extends Schema.TaggedError<InvalidTransfer>()("InvalidTransfer", {
  peer: Schema.String,
  /** The index of the operation; undefined if it is about all of them. */
  operation: Schema.UndefinedOr(Schema.Int),
  detail: Schema.String,
  /**
   * `peer-memory`: the peer's present description has no such memory; it may have it later.
   * `local-memory`: the local memory is not registered with this engine, or no longer.
   */
  lacks: Schema.optionalKey(Schema.Literals(["local-memory", "peer-memory"]))
}) {
  override get message() {
    const where = this.operation === undefined ? "" : `operation ${this.operation}: `
    return `transfer with ${this.peer}: ${where}${this.detail}`
  }
}

/** The peer has reached its limit of waiting transfers. Nothing was posted. */
export class TooManyTransfers extends Schema.TaggedError<TooManyTransfers>()("TooManyTransfers", {
  peer: Schema.String,
  limit: Schema.Int
}) {
  override get message() {
    return `${this.peer} has ${this.limit} transfers under way, no more may wait`
  }
}

/** A transfer ended before all of it had moved. Nothing of it is posted any more. */
export class TransferFailed extends Schema.TaggedError<TransferFailed>()("TransferFailed", {
  peer: Schema.String,
  /**
   * - `deadline`: its time was over.
   * - `cancelled`: its caller was interrupted.
   * - `peer-unreachable`: no rail to the peer worked for so long, or has not recovered from that.
   * - `attempts-exhausted`: one slice has failed in each of its attempts.
   * - `refused`: the peer's description, or the remote or the local NIC, does not allow it.
   * - `no-such-memory`: the peer's memory is not there any more.
   * - `peer-memory-replaced`: memory that held a part of it is not there any more. The caller chose
   *   to fail then, or it has happened too often.
   * - `memory-released`: the local memory was released during the transfer.
   * - `closed`: the engine ended.
   */
  reason: Schema.Literals([
    "deadline",
    "cancelled",
    "peer-unreachable",
    "attempts-exhausted",
    "refused",
    "no-such-memory",
    "peer-memory-replaced",
    "memory-released",
    "closed"
  ]),
  /** Bytes that moved, and bytes of the whole. */
  moved: Schema.Int,
  bytes: Schema.Int,
  /** The first 64 operations that did not move as a whole. */
  unfinished: Schema.Array(Schema.Int),
  detail: Schema.String,
  fault: Schema.UndefinedOr(RailFault)
}) {
  override get message() {
    const { bytes, detail, fault, moved, peer, reason } = this
    const what = `transfer with ${peer} (${reason}) after ${moved} of ${bytes} bytes`
    return `${what}: ${detail}${told(fault)}`
  }
}

export type TransferError = InvalidTransfer | TooManyTransfers | TransferFailed | NoDescription

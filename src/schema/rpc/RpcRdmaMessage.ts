/**
 * The transport header of RPC-over-RDMA version 1 (RFC 8166, 4): who grants how many credits, and
 * the chunks, memory of the requester, in which parts of an RPC message travel by RDMA.
 *
 * One RDMA Send carries one message. Results hold views of the bytes that were read.
 */

import * as Result from "effect/Result"
import {
  type HeaderFault,
  HeaderMalformed,
  HeaderTooShort,
  UnknownTransportVersion
} from "./RpcRdmaFault.ts"
import { XdrReader, XdrWriter } from "./Xdr.ts"

/** A piece of registered memory of the requester: its key, its length in bytes and its address. */
export interface ChunkSegment {
  readonly handle: number
  readonly length: number
  readonly offset: bigint
}

/**
 * A piece that the responder reads. Pieces of one position are one chunk; the position is where
 * its bytes belong in the RPC message before reduction, and 0 means that they are all of it.
 */
export interface ReadSegment extends ChunkSegment {
  readonly position: number
}

/** The three chunk lists of a message. */
export interface ChunkLists {
  readonly reads: ReadonlyArray<ReadSegment>
  /** Each chunk is for one result; a chunk without segments asks for that result inline. */
  readonly writes: ReadonlyArray<ReadonlyArray<ChunkSegment>>
  /** Memory for a reply that does not fit inline. */
  readonly reply: ReadonlyArray<ChunkSegment> | undefined
}

const none: ReadonlyArray<never> = []

/** No chunk at all. */
export const noChunks: ChunkLists = { reads: none, writes: none, reply: undefined }

interface Common {
  readonly xid: number
  /** Credits that a call asks for, or that a reply grants. */
  readonly credits: number
}

/** A call or a reply, reduced by what its chunks carry. */
export interface RdmaMsg extends Common {
  readonly _tag: "RdmaMsg"
  readonly chunks: ChunkLists
  readonly rpc: Uint8Array
}

/** A call or a reply that a chunk carries as a whole. */
export interface RdmaNomsg extends Common {
  readonly _tag: "RdmaNomsg"
  readonly chunks: ChunkLists
}

/** An obsolete message, which every receiver discards. */
export interface RdmaDone extends Common {
  readonly _tag: "RdmaDone"
}

/** The responder does not speak the call's version, which is repeated in `version`. */
export interface RdmaErrVers extends Common {
  readonly _tag: "RdmaErrVers"
  readonly version: number
  readonly low: number
  readonly high: number
}

/** The responder could not read the call's header or use its chunks. */
export interface RdmaErrChunk extends Common {
  readonly _tag: "RdmaErrChunk"
}

/** The content of one Send. */
export type RpcRdmaMessage = RdmaMsg | RdmaNomsg | RdmaDone | RdmaErrVers | RdmaErrChunk

/** The version that is spoken here. */
export const version = 1

const Procedure = { msg: 0, nomsg: 1, msgp: 2, done: 3, error: 4 } as const
const ErrorCode = { version: 1, chunk: 2 } as const

/** XID, version, credits and procedure. */
const fixedBytes = 16
/** With three empty lists. */
const emptyListsBytes = fixedBytes + 12
const segmentBytes = 16

const readSegment = (reader: XdrReader): ChunkSegment => ({
  handle: reader.uint32(),
  length: reader.uint32(),
  offset: reader.uint64()
})

const readChunk = (reader: XdrReader): ReadonlyArray<ChunkSegment> => {
  const count = reader.uint32()
  // Compared before anything is made of it: the count is the peer's.
  if (count > reader.remaining / segmentBytes) {
    reader.failed = true
    return []
  }
  return Array.from({ length: count }, () => readSegment(reader))
}

const readList = <A>(reader: XdrReader, read: (reader: XdrReader) => A): ReadonlyArray<A> => {
  if (!reader.boolean()) return none
  const items: Array<A> = []
  do items.push(read(reader))
  while (reader.boolean())
  return items
}

const readPlaced = (reader: XdrReader): ReadSegment => {
  const position = reader.uint32()
  return { position, ...readSegment(reader) }
}

const readLists = (reader: XdrReader): ChunkLists => {
  const reads = readList(reader, readPlaced)
  const writes = readList(reader, readChunk)
  const reply = reader.boolean() ? readChunk(reader) : undefined
  const isEmpty = reads === none && writes === none && reply === undefined
  return isEmpty ? noChunks : { reads, writes, reply }
}

const hasChunks = ({ reads, reply, writes }: ChunkLists): boolean =>
  reads.length > 0 || writes.length > 0 || reply !== undefined

/** Reads what follows the fixed part of a call or a reply. */
const readBody = (
  common: Common,
  reader: XdrReader,
  hasRpc: boolean
): Result.Result<RpcRdmaMessage, HeaderMalformed> => {
  const { xid } = common
  const malformed = (detail: string) => Result.fail(new HeaderMalformed({ xid, detail }))
  const chunks = readLists(reader)
  if (reader.failed) return malformed("the chunk lists do not parse")
  if (chunks.reads.some(({ position }) => position % 4 !== 0)) {
    return malformed("a position is no multiple of 4")
  }
  if (!hasRpc) {
    return hasChunks(chunks)
      ? Result.succeed({ _tag: "RdmaNomsg", ...common, chunks })
      : malformed("neither a message nor a chunk")
  }
  const isSameXid = reader.remaining >= 4 && reader.peek() === xid
  return isSameXid
    ? Result.succeed({ _tag: "RdmaMsg", xid, credits: common.credits, chunks, rpc: reader.rest() })
    : malformed("the RPC message has another XID")
}

const readError = (
  common: Common,
  reader: XdrReader,
  peerVersion: number
): Result.Result<RpcRdmaMessage, HeaderMalformed> => {
  const code = reader.uint32()
  const message: RpcRdmaMessage | undefined =
    code === ErrorCode.chunk
      ? { _tag: "RdmaErrChunk", ...common }
      : code === ErrorCode.version
        ? {
            _tag: "RdmaErrVers",
            ...common,
            version: peerVersion,
            low: reader.uint32(),
            high: reader.uint32()
          }
        : undefined
  return message === undefined || reader.failed
    ? Result.fail(new HeaderMalformed({ xid: common.xid, detail: "an error without its code" }))
    : Result.succeed(message)
}

/**
 * Reads what one Send carried. Both sides use it: what only one of them may send (chunks to read in
 * a reply, an error in a call) is for the caller to refuse.
 */
export const decode = (bytes: Uint8Array): Result.Result<RpcRdmaMessage, HeaderFault> => {
  const tooShort = () => Result.fail(new HeaderTooShort({ bytes: bytes.length }))
  if (bytes.length < fixedBytes) return tooShort()
  const reader = new XdrReader(bytes)
  const xid = reader.uint32()
  const peerVersion = reader.uint32()
  const common: Common = { xid, credits: reader.uint32() }
  const procedure = reader.uint32()
  // ERR_VERS repeats the version of the call that it refuses.
  if (procedure === Procedure.error) return readError(common, reader, peerVersion)
  if (peerVersion !== version) {
    return Result.fail(new UnknownTransportVersion({ xid, version: peerVersion }))
  }
  switch (procedure) {
    case Procedure.msg:
    case Procedure.nomsg:
      if (bytes.length < emptyListsBytes) return tooShort()
      return readBody(common, reader, procedure === Procedure.msg)
    case Procedure.done:
      return Result.succeed({ _tag: "RdmaDone", ...common })
    default:
      return Result.fail(new HeaderMalformed({ xid, detail: `procedure ${procedure}` }))
  }
}

const writeSegment = (writer: XdrWriter, { handle, length, offset }: ChunkSegment): void => {
  writer.uint32(handle).uint32(length).uint64(offset)
}

const writeChunk = (writer: XdrWriter, chunk: ReadonlyArray<ChunkSegment>): void => {
  writer.uint32(chunk.length)
  for (const segment of chunk) writeSegment(writer, segment)
}

const writeLists = (writer: XdrWriter, { reads, reply, writes }: ChunkLists): void => {
  for (const segment of reads) {
    writer.boolean(true).uint32(segment.position)
    writeSegment(writer, segment)
  }
  writer.boolean(false)
  for (const chunk of writes) writeChunk(writer.boolean(true), chunk)
  writer.boolean(false).boolean(reply !== undefined)
  if (reply !== undefined) writeChunk(writer, reply)
}

const start = (
  writer: XdrWriter,
  { credits, xid }: Common,
  procedure: number,
  spoken = version
): XdrWriter => writer.uint32(xid).uint32(spoken).uint32(credits).uint32(procedure)

/** Writes what goes before the RPC message of an `RdmaMsg`. */
export const writeHeader = (
  writer: XdrWriter,
  message: Omit<RdmaMsg, "_tag" | "rpc">
): XdrWriter => {
  writeLists(start(writer, message, Procedure.msg), message.chunks)
  return writer
}

/** Writes a message. */
export const write = (writer: XdrWriter, message: RpcRdmaMessage): XdrWriter => {
  switch (message._tag) {
    case "RdmaMsg":
      return writeHeader(writer, message).raw(message.rpc)
    case "RdmaNomsg":
      writeLists(start(writer, message, Procedure.nomsg), message.chunks)
      return writer
    case "RdmaDone":
      return start(writer, message, Procedure.done)
    case "RdmaErrVers":
      start(writer, message, Procedure.error, message.version).uint32(ErrorCode.version)
      return writer.uint32(message.low).uint32(message.high)
    case "RdmaErrChunk":
      return start(writer, message, Procedure.error).uint32(ErrorCode.chunk)
  }
}

/** The bytes of a message. */
export const encode = (message: RpcRdmaMessage): Uint8Array<ArrayBuffer> =>
  write(new XdrWriter(), message).bytes()

/**
 * Returns what a responder answers to a header that it could not read: nothing to one that is too
 * short, since its XID is not to be trusted.
 */
export const answerTo = (
  fault: HeaderFault,
  credits: number
): RdmaErrVers | RdmaErrChunk | undefined => {
  switch (fault._tag) {
    case "HeaderTooShort":
      return undefined
    case "UnknownTransportVersion": {
      const { version: called, xid } = fault
      return { _tag: "RdmaErrVers", xid, credits, version: called, low: version, high: version }
    }
    case "HeaderMalformed":
      return { _tag: "RdmaErrChunk", xid: fault.xid, credits }
  }
}

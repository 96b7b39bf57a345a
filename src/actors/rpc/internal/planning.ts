/**
 * Decides how a call or a reply travels: inline, with its bulk data by chunks, or whole by a chunk.
 * Pure: nothing is borrowed and nothing is sent here.
 */
import { copyBytes } from "../../../schema/copyBytes.ts"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import type { ChunkLists, ChunkSegment } from "../../../schema/rpc/RpcRdmaMessage.ts"

/** Bytes of opaque data in arguments or results, without their length and padding. */
export interface Range {
  readonly offset: number
  readonly length: number
}

/** The longest messages that a connection instance carries inline. */
export interface Thresholds {
  readonly callBytes: number
  readonly replyBytes: number
}

/** The least that both ends can do: a plan for it fits every connection. */
export const leastThresholds: Thresholds = { callBytes: 1_024, replyBytes: 1_024 }

/** The bytes of a call's RPC message. */
const callBytesOf = ({ args, credential }: RpcMessage.Call): number =>
  40 + padded(credential.body.length) + args.length

/** A transport header without chunks. */
const headerBytes = 28
/** Bytes of one segment: in a read list, and in a list of write chunks with one segment each. */
const readEntryBytes = 24
const writeEntryBytes = 24
const replyChunkBytes = 20
/** An accepted reply without results, and the longest verifier that may come with it. */
const replyHeaderBytes = 24
const maxVerifierBytes = 400

/** A part of the call that the responder reads. */
export interface ReadPart {
  readonly position: number
  readonly bytes: Uint8Array
}

/** The form in which a call travels. Sizes are in bytes. */
export interface CallPlan {
  /** What it was planned for. */
  readonly thresholds: Thresholds
  /**
   * The message, encoded with its reads taken out if there are any; undefined if it is read as a
   * whole.
   */
  readonly inline: RpcMessage.Call | Uint8Array | undefined
  readonly reads: ReadonlyArray<ReadPart>
  /** A chunk for each bulk result. */
  readonly writes: ReadonlyArray<number>
  /** The chunk for a reply that does not fit inline. */
  readonly reply: number | undefined
  /** The Send that carries the call, and the longest reply that is expected inline. */
  readonly callBytes: number
  readonly replyBytes: number
}

export interface CallShape {
  /** The whole RPC message. */
  readonly rpc: RpcMessage.Call
  /** Bulk data in its arguments. */
  readonly bulkArgs: ReadonlyArray<Range>
  /** The longest results, with their bulk data. */
  readonly maxResultBytes: number
  /** The longest of each bulk result. */
  readonly bulkResults: ReadonlyArray<number>
}

const none: ReadonlyArray<never> = []

const padded = (length: number): number => (length + 3) & ~3

/** What is left of a message without ranges, and their padding. */
const without = (message: Uint8Array, ranges: ReadonlyArray<Range>): ReadonlyArray<Uint8Array> => {
  let at = 0
  const kept: Array<Uint8Array> = []
  for (const { length, offset } of ranges) {
    kept.push(message.subarray(at, offset))
    at = offset + padded(length)
  }
  kept.push(message.subarray(at))
  return kept
}

/** Puts parts one behind the other. */
const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    copyBytes(whole, at, part, 0, part.length)
    at += part.length
  }
  return whole
}

/**
 * Plans a call: inline if it fits, else without its bulk data, else by one chunk. Memory for the
 * reply is offered only if the reply may not fit inline.
 */
export const planCall = (shape: CallShape, thresholds: Thresholds): CallPlan => {
  const { callBytes, replyBytes } = thresholds
  const { bulkArgs, bulkResults, maxResultBytes, rpc } = shape
  const messageBytes = callBytesOf(rpc)
  const wholeReply = headerBytes + replyHeaderBytes + maxResultBytes
  if (wholeReply <= replyBytes && headerBytes + messageBytes <= callBytes) {
    const whole = { reads: none, writes: none, reply: undefined, replyBytes: wholeReply }
    return { ...whole, thresholds, inline: rpc, callBytes: headerBytes + messageBytes }
  }
  const writes = wholeReply <= replyBytes ? none : bulkResults
  const bulkBytes = writes.reduce((sum, bytes) => sum + padded(bytes), 0)
  const reducedReply = wholeReply - bulkBytes + writeEntryBytes * writes.length
  const isLongReply = reducedReply > replyBytes
  const reply = isLongReply ? replyHeaderBytes + maxVerifierBytes + maxResultBytes : undefined
  const fixed = headerBytes + writeEntryBytes * writes.length + (isLongReply ? replyChunkBytes : 0)
  const planned = {
    thresholds,
    writes,
    reply,
    replyBytes: isLongReply ? headerBytes : reducedReply
  }
  if (fixed + messageBytes <= callBytes) {
    return { ...planned, inline: rpc, reads: none, callBytes: fixed + messageBytes }
  }
  const message = RpcMessage.encode(rpc)
  const start = messageBytes - rpc.args.length
  const moved = bulkArgs.map(({ length, offset }) => ({ offset: start + offset, length }))
  const inline = concat(without(message, moved))
  const reducedBytes = fixed + readEntryBytes * bulkArgs.length + inline.length
  if (bulkArgs.length > 0 && reducedBytes <= callBytes) {
    const reads = moved.map(({ length, offset }) => ({
      position: offset,
      bytes: message.subarray(offset, offset + length)
    }))
    return { ...planned, inline, reads, callBytes: reducedBytes }
  }
  const reads = [{ position: 0, bytes: message }]
  return { ...planned, inline: undefined, reads, callBytes: fixed + readEntryBytes }
}

/** Whether all of a call and its reply is inline. */
export const lendsNothing = ({ reads, reply, writes }: CallPlan): boolean =>
  reads.length + writes.length === 0 && reply === undefined

/** Whether a call that was planned for other thresholds can be sent as it is. */
export const fits = (plan: CallPlan, { callBytes, replyBytes }: Thresholds): boolean =>
  plan.callBytes <= callBytes && plan.replyBytes <= replyBytes

/** A piece of a reply that is written into the requester's memory. */
export interface WritePart {
  readonly bytes: Uint8Array
  readonly to: ChunkSegment
}

/** The form in which a reply travels. */
export interface ReplyPlan {
  /** The reduced message; undefined if it is written as a whole. */
  readonly inline: Uint8Array | undefined
  readonly chunks: ChunkLists
  readonly parts: ReadonlyArray<WritePart>
}

/** Cuts bytes over the segments of a chunk; undefined if they do not fit. */
const spread = (bytes: Uint8Array, chunk: ReadonlyArray<ChunkSegment>) => {
  const parts: Array<WritePart> = []
  let at = 0
  const used = chunk.map((segment) => {
    const length = Math.min(segment.length, bytes.length - at)
    const to = { ...segment, length }
    if (length > 0) parts.push({ bytes: bytes.subarray(at, at + length), to })
    at += length
    return to
  })
  return at < bytes.length ? undefined : { parts, used }
}

const unused = (chunk: ReadonlyArray<ChunkSegment>) =>
  chunk.map((segment) => ({ ...segment, length: 0 }))

/** A reply that may be cut: bulk data are ranges of the results. */
export interface ReplyShape {
  /** The message up to its results. */
  readonly head: Uint8Array
  readonly results: Uint8Array
  readonly bulk: ReadonlyArray<Range>
}

/** Plans a reply for the chunks that its call offers; undefined if there is no room for it. */
export const planReply = (
  { bulk, head, results }: ReplyShape,
  offered: ChunkLists,
  maxBytes: number
): ReplyPlan | undefined => {
  const parts: Array<WritePart> = []
  const moved: Array<Range> = []
  const writes: Array<ReadonlyArray<ChunkSegment>> = []
  for (const [index, chunk] of offered.writes.entries()) {
    const range = bulk[index]
    // A chunk without segments asks for the data inline.
    if (range === undefined || chunk.length === 0) {
      writes.push(unused(chunk))
      continue
    }
    const data = results.subarray(range.offset, range.offset + range.length)
    const cut = spread(data, chunk)
    if (cut === undefined) return undefined
    writes.push(cut.used)
    parts.push(...cut.parts)
    moved.push(range)
  }
  const inline = concat([head, ...without(results, moved)])
  const segments = offered.writes.reduce((sum, { length }) => sum + 8 + 16 * length, 0)
  const replySegments = offered.reply === undefined ? 0 : 4 + 16 * offered.reply.length
  const fixed = headerBytes + segments + replySegments
  const reply = offered.reply && unused(offered.reply)
  if (fixed + inline.length <= maxBytes) {
    return { inline, chunks: { reads: [], writes, reply }, parts }
  }
  const whole = offered.reply && spread(inline, offered.reply)
  if (whole === undefined || fixed > maxBytes) return undefined
  const chunks = { reads: [], writes, reply: whole.used }
  return { inline: undefined, chunks, parts: [...parts, ...whole.parts] }
}

/**
 * Puts a reduced call together again: chunk data goes to its position in the whole message.
 * Undefined if the positions are not in order or beyond the message.
 */
export const unreduce = (
  inline: Uint8Array | undefined,
  reads: ReadonlyArray<ReadPart>
): Uint8Array | undefined => {
  const parts: Array<Uint8Array> = []
  let length = 0
  let used = 0
  const add = (part: Uint8Array): void => {
    parts.push(part)
    length += part.length
  }
  for (const { bytes, position } of reads) {
    const kept = position - length
    if (kept < 0 || kept > (inline?.length ?? 0) - used) return undefined
    if (inline !== undefined) add(inline.subarray(used, used + kept))
    used += kept
    add(bytes)
    if (inline !== undefined) add(new Uint8Array(padded(bytes.length) - bytes.length))
  }
  if (inline !== undefined) add(inline.subarray(used))
  return concat(parts)
}

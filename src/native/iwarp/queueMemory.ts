/**
 * The two work queues of a queue pair in shared memory: the main thread posts into them, and the
 * session that holds the connection takes work out, on any thread.
 *
 * So a receive is ready for the peer's next message as soon as the post returns, and posting copies
 * some words and allocates nothing. Results of work come back by the session's events, in order
 * with the end of the connection.
 */
import { copyBytes } from "../../schema/copyBytes.ts"
import type { Opcode, ScatterList, ReceiveRequest, SendRequest } from "../verbs/WorkRequest.ts"
import { waitUntilUnused } from "./quiesce.ts"

/** Words of the head. `epoch` names the connection whose session may use the queues. */
const Head = {
  epoch: 0,
  users: 1,
  kicked: 2,
  sends: 3,
  receives: 4,
  sendPlaces: 5,
  receivePlaces: 6,
  parts: 7,
  inline: 8,
  fetches: 9
} as const
const headWords = 16

const Send = {
  opcode: 0,
  flags: 1,
  parts: 2,
  key: 3,
  high: 4,
  low: 5,
  immediate: 6,
  invalidate: 7,
  bytes: 8
} as const
const Flag = { inline: 1, signalled: 2 } as const
/** Offsets of 64-bit fields, in units of 64 bits. */
const Long = { value: 5, compare: 6 } as const
const sendWords = 14
const receiveWords = 2
const partWords = 6

/** The most reads and atomic operations under way: the limit that Linux's siw sets its peers. */
export const fetchesMax = 128

/** Finds the row of a part's region; -1 if this work may not use it. */
export type RowOf = (
  parts: ScatterList,
  index: number
) => { readonly row: number; generation: number }

const opcodes: ReadonlyArray<Opcode> = [
  "send",
  "send-invalidate",
  "write",
  "write-immediate",
  "read",
  "fetch-add",
  "compare-swap"
]

const isAtomic = (opcode: Opcode): boolean => opcode === "fetch-add" || opcode === "compare-swap"

/** Sizes of the queues. */
export interface QueueSizes {
  readonly sendDepth: number
  readonly receiveDepth: number
  readonly scatterEntries: number
  readonly inlineBytes: number
}

const powerAbove = (places: number): number => 2 ** Math.ceil(Math.log2(Math.max(places, 1)))

/** A request as the session reads it; one object is filled again for each. */
export class PostedSend {
  opcode: Opcode = "send"
  signalled = false
  key = 0
  high = 0
  low = 0
  immediate = 0
  invalidate = 0
  bytes = 0
  value = 0n
  compare = 0n
  /** The bytes of an inline request. */
  inlined: Uint8Array | undefined = undefined
  /** The index of its first part, for `part`. */
  partsAt = 0
  parts = 0
}

/** A part as the session reads it. */
export interface PostedPart {
  row: number
  generation: number
  offset: number
  length: number
}

/** The queues, on either side. */
export class QueueMemory {
  readonly memory: SharedArrayBuffer
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #longs: Float64Array<SharedArrayBuffer>
  readonly #values: BigUint64Array<SharedArrayBuffer>
  readonly #bytes: Uint8Array<SharedArrayBuffer>
  readonly #sendStride: number
  readonly #receiveStride: number
  readonly #sendsAt: number
  /** Users that died before they left. */
  #dead = 0

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    this.#words = new Int32Array(memory)
    this.#longs = new Float64Array(memory)
    this.#values = new BigUint64Array(memory)
    this.#bytes = new Uint8Array(memory)
    const parts = this.#words[Head.parts]!
    this.#receiveStride = receiveWords + parts * partWords
    this.#sendStride = sendWords + parts * partWords + this.#words[Head.inline]! / 4
    this.#sendsAt = headWords + this.#words[Head.receivePlaces]! * this.#receiveStride
  }

  static make(sizes: QueueSizes): QueueMemory {
    const inline = Math.ceil(sizes.inlineBytes / 8) * 8
    const sends = powerAbove(sizes.sendDepth)
    const receives = powerAbove(sizes.receiveDepth)
    const part = sizes.scatterEntries * partWords
    const words =
      headWords + receives * (receiveWords + part) + sends * (sendWords + part + inline / 4)
    const memory = new SharedArrayBuffer(words * 4)
    const head = new Int32Array(memory)
    head[Head.sendPlaces] = sends
    head[Head.receivePlaces] = receives
    head[Head.parts] = sizes.scatterEntries
    head[Head.inline] = inline
    head[Head.fetches] = fetchesMax
    return new QueueMemory(memory)
  }

  /** Reads and atomic operations that may be under way, if the peer takes so many. */
  get isFetch(): number {
    return Atomics.load(this.#words, Head.fetches)
  }

  set isFetch(limit: number) {
    Atomics.store(this.#words, Head.fetches, limit)
  }

  /** Slots of the send queue. */
  get sendPlaces(): number {
    return this.#words[Head.sendPlaces]!
  }

  get receivePlaces(): number {
    return this.#words[Head.receivePlaces]!
  }

  /** Posted so far, as a count that wraps. */
  get sends(): number {
    return Atomics.load(this.#words, Head.sends)
  }

  get receives(): number {
    return Atomics.load(this.#words, Head.receives)
  }

  /** Lets a new connection use the queues; returns its epoch. */
  begin(): number {
    return Atomics.add(this.#words, Head.epoch, 1) + 1
  }

  /** Forbids sessions to use the queues and posted work; false if one is still using them. */
  stop(): boolean {
    Atomics.add(this.#words, Head.epoch, 1)
    return waitUntilUnused(this.#words, Head.users, this.#dead)
  }

  /** Ignores present users, which died with their worker. */
  ignoreDeadUsers(): void {
    this.#dead = Atomics.load(this.#words, Head.users)
  }

  acquire(epoch: number): boolean {
    Atomics.add(this.#words, Head.users, 1)
    if (Atomics.load(this.#words, Head.epoch) === epoch) return true
    this.release()
    return false
  }

  release(): void {
    Atomics.sub(this.#words, Head.users, 1)
  }

  /** Whether the session must be notified of work: it has not been since it last checked. */
  kick(): boolean {
    return Atomics.exchange(this.#words, Head.kicked, 1) === 0
  }

  /** Called when the session checks for work. */
  clearKick(): void {
    Atomics.store(this.#words, Head.kicked, 0)
  }

  postReceive(index: number, { scatterList: parts }: ReceiveRequest, rowOf: RowOf): void {
    const at = headWords + (index & (this.receivePlaces - 1)) * this.#receiveStride
    this.#words[at] = parts.count
    this.#writeParts(at + receiveWords, parts, rowOf)
    Atomics.store(this.#words, Head.receives, (index + 1) | 0)
  }

  /** The number of parts of a receive; they begin at `receiveParts`. */
  receivePartCount(index: number): number {
    return this.#words[headWords + (index & (this.receivePlaces - 1)) * this.#receiveStride]!
  }

  receiveParts(index: number): number {
    return headWords + (index & (this.receivePlaces - 1)) * this.#receiveStride + receiveWords
  }

  postSend(index: number, request: SendRequest, bytes: number, rowOf: RowOf): void {
    const at = this.#sendsAt + (index & (this.sendPlaces - 1)) * this.#sendStride
    const words = this.#words
    const { scatterList: parts } = request
    words[at + Send.opcode] = opcodes.indexOf(request.opcode)
    words[at + Send.flags] =
      (request.inline ? Flag.inline : 0) | (request.signalled ? Flag.signalled : 0)
    words[at + Send.parts] = parts.count
    words[at + Send.key] = request.remoteKey
    words[at + Send.high] = request.remoteHigh
    words[at + Send.low] = request.remoteLow
    words[at + Send.immediate] = request.immediate
    words[at + Send.invalidate] = request.invalidate
    this.#longs[at / 2 + Send.bytes / 2] = bytes
    if (isAtomic(request.opcode)) {
      this.#values[at / 2 + Long.value] = request.value
      this.#values[at / 2 + Long.compare] = request.compare
    }
    if (request.inline) this.#writeInline(this.#inlineAt(at), parts)
    else this.#writeParts(at + sendWords, parts, rowOf)
    Atomics.store(words, Head.sends, (index + 1) | 0)
  }

  readSend(index: number, into: PostedSend): void {
    const at = this.#sendsAt + (index & (this.sendPlaces - 1)) * this.#sendStride
    const words = this.#words
    into.opcode = opcodes[words[at + Send.opcode]!]!
    into.key = words[at + Send.key]! >>> 0
    into.high = words[at + Send.high]! >>> 0
    into.low = words[at + Send.low]! >>> 0
    into.immediate = words[at + Send.immediate]! >>> 0
    into.invalidate = words[at + Send.invalidate]! >>> 0
    into.bytes = this.#longs[at / 2 + Send.bytes / 2]!
    if (isAtomic(into.opcode)) {
      into.value = this.#values[at / 2 + Long.value]!
      into.compare = this.#values[at / 2 + Long.compare]!
    }
    into.partsAt = at + sendWords
    into.parts = words[at + Send.parts]!
    const inlineAt = this.#inlineAt(at)
    const flags = words[at + Send.flags]!
    into.signalled = (flags & Flag.signalled) !== 0
    into.inlined =
      (flags & Flag.inline) !== 0
        ? this.#bytes.subarray(inlineAt, inlineAt + into.bytes)
        : undefined
  }

  /** Part `index` of those that begin at `partsAt`. */
  readPart(partsAt: number, index: number, into: PostedPart): PostedPart {
    const at = partsAt + index * partWords
    into.row = this.#words[at]!
    into.generation = this.#words[at + 1]!
    into.offset = this.#longs[at / 2 + 1]!
    into.length = this.#longs[at / 2 + 2]!
    return into
  }

  #inlineAt(sendAt: number): number {
    return (sendAt + sendWords + this.#words[Head.parts]! * partWords) * 4
  }

  #writeInline(from: number, parts: ScatterList): void {
    let at = from
    for (let index = 0; index < parts.count; index++) {
      const { length, offset, region } = parts.at(index)
      copyBytes(this.#bytes, at, region!.bytes, offset, offset + length)
      at += length
    }
  }

  #writeParts(from: number, parts: ScatterList, rowOf: RowOf): void {
    for (let index = 0; index < parts.count; index++) {
      const at = from + index * partWords
      const part = parts.at(index)
      const { generation, row } = rowOf(parts, index)
      this.#words[at] = row
      this.#words[at + 1] = generation
      this.#longs[at / 2 + 1] = part.offset
      this.#longs[at / 2 + 2] = part.length
    }
  }
}

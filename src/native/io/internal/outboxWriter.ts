/**
 * Publishes a worker's output: whole frames in the chunk pool, records in the ring, with one flush
 * and one doorbell for each turn of the event loop.
 *
 * When there is no room, frames and records wait here in order and their lanes stop reading, so
 * at most one read per lane waits. The main thread rings once it has made room.
 */
import { copyBytes } from "../../../schema/copyBytes.ts"
import type { Doorbell } from "./doorbell.ts"
import { PauseReason, type SocketLane } from "./socketLane.ts"
import { Out, Row, writeRecord } from "./records.ts"
import type { RingProducer } from "./ring.ts"
import type { OpenChunk, ChunkWriter } from "./chunkPool.ts"
import { WakeCoalescer } from "./wakeCoalescer.ts"

/** From `longReadBytes` on a lane reads into a chunk of its own, until reads are short again. */
const longReadBytes = 65_536
const shortReadBytes = 16_384

const encoder = new TextEncoder()

/** Output that found no room. `retry` returns true once it is published. */
interface Waiting {
  readonly lane: SocketLane | undefined
  readonly retry: () => boolean
}

/** The producer of one worker's outbox. */
export class OutboxWriter {
  readonly #ring: RingProducer
  readonly #chunks: ChunkWriter
  readonly #table: Int32Array
  readonly #wakeUps: WakeCoalescer
  /** The chunk into which the frames of all lanes with short reads are packed. */
  #sharedChunk: OpenChunk | undefined
  #waiting: Array<Waiting> = []
  /** Published bytes of the long frame at the head of the waiting output. */
  #partBytesOut = 0
  readonly #pausedLanes = new Set<SocketLane>()
  /** True while a flush at the end of this turn is scheduled. */
  #isFlushScheduled = false
  #isFlushDue = false

  constructor(ring: RingProducer, chunks: ChunkWriter, table: Int32Array, bell: Doorbell) {
    this.#ring = ring
    this.#chunks = chunks
    this.#table = table
    this.#wakeUps = new WakeCoalescer(bell)
  }

  /** Whether nothing waits for room. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** Publishes a record about a lane, or about none (slot -1). */
  record(
    kind: number,
    slot: number,
    generation: number,
    first: number,
    second: number,
    text: string
  ): void {
    this.#wakeUps.urgent()
    this.recordDeferrable(kind, slot, generation, first, second, text)
  }

  /** Publishes a record for which the main thread need not be woken at once. */
  recordDeferrable(
    kind: number,
    slot: number,
    generation: number,
    first: number,
    second: number,
    text: string
  ): void {
    const bytes = text === "" ? undefined : encoder.encode(text)
    const retry = (): boolean => {
      if (!writeRecord(this.#ring, kind, slot, generation, bytes, first, second)) return false
      this.#flushSoon()
      return true
    }
    if (this.#waiting.length > 0 || !retry()) this.#wait({ lane: undefined, retry })
  }

  /** Publishes frames of a lane; pauses its reading when they find no room. */
  frames(lane: SocketLane, bytes: Uint8Array, from: number, ends: Int32Array, count: number): void {
    let done = 0
    if (this.#waiting.length === 0) {
      if (bytes === this.#chunks.memory.bytes) done = this.#inPlace(lane, from, ends, count)
      if (done < count) done = this.#packed(lane, bytes, from, ends, done, count)
    }
    if (done < count) this.#waitWithFrames(lane, bytes, from, ends, done, count)
    else this.#pauseWhenBehind(lane)
    // A long turn: the main thread takes the first of it while the rest is read.
    if (this.#wakeUps.isOverdue) this.flush()
  }

  /** Returns the chunk for the lane's next read, while its reads are long. */
  readInto(lane: SocketLane): OpenChunk | undefined {
    const { chunk } = lane.slot
    if (lane.lastReadBytes >= (chunk === undefined ? longReadBytes : shortReadBytes)) {
      if (chunk !== undefined && chunk.end - chunk.nextByte >= longReadBytes) return chunk
      // A long frame would be copied from chunk to chunk.
      const long = lane.cutBytes * 2 > this.#chunks.memory.shape.chunkBytes
      const next = long ? undefined : this.#openForReading()
      if (next !== undefined) {
        lane.moveInto(next)
        if (chunk !== undefined) this.#chunks.retire(chunk.index)
        return next
      }
    }
    this.#leaveChunk(lane)
    return undefined
  }

  /** Releases the chunk of a lane that has ended. */
  forgetLane(lane: SocketLane): void {
    this.#leaveChunk(lane)
    this.#pausedLanes.delete(lane)
  }

  /** Tries again after a ring: there may be room, and users may have caught up. */
  retry(): void {
    this.#drain()
    if (this.#waiting.length > 0) {
      // Set the waiting flag before the second attempt: otherwise the main thread could make room
      // in between and not ring. It also stands for chunks, which come back with consumed records.
      this.#ring.awaitRoom()
      this.#drain()
    }
    for (const lane of Array.from(this.#pausedLanes)) {
      this.#pausedLanes.delete(lane)
      lane.resume(PauseReason.user)
      this.#pauseWhenBehind(lane)
    }
  }

  /** Makes this turn's records visible, and wakes the main thread if it sleeps and it is time. */
  flush(): void {
    this.#isFlushDue = false
    this.#ring.publish()
    if (!this.#wakeUps.turnEnds()) this.#flushSoon()
  }

  /** A chunk for one lane. Half of the chunks stay free for packing: long readers keep theirs. */
  #openForReading(): OpenChunk | undefined {
    const half = this.#chunks.memory.shape.chunks / 2
    if (this.#chunks.freeChunks <= half) this.#chunks.reclaim()
    return this.#chunks.freeChunks <= half ? undefined : this.#chunks.open()
  }

  /** Takes the lane's chunk away from it. */
  #leaveChunk(lane: SocketLane): void {
    const { chunk } = lane.slot
    if (chunk === undefined) return
    lane.leave(chunk)
    this.#chunks.retire(chunk.index)
  }

  /** Publishes frames that were read straight into the lane's chunk; returns how many. */
  #inPlace(lane: SocketLane, from: number, ends: Int32Array, count: number): number {
    const { chunk } = lane.slot
    if (chunk === undefined || chunk.entryEnd - chunk.nextEntry < count) return 0
    const size = (ends[count - 1] ?? 0) - from
    if (!this.#publish(lane, Out.frames, chunk, chunk.nextEntry, count, from, size)) return 0
    const table = this.#chunks.memory.ends
    for (let i = 0, entry = chunk.nextEntry; i < count; i++) table[entry++] = ends[i] ?? 0
    chunk.nextEntry += count
    return count
  }

  /** Copies frames into the common chunk; returns the first that found no room. */
  #packed(
    lane: SocketLane,
    bytes: Uint8Array,
    from: number,
    ends: Int32Array,
    first: number,
    count: number
  ): number {
    const { memory } = this.#chunks
    let done = first
    let start = done === 0 ? from : (ends[done - 1] ?? 0)
    while (done < count) {
      const length = (ends[done] ?? 0) - start
      if (length > memory.shape.chunkBytes) {
        if (!this.#inParts(lane, bytes, start, length)) return done
        start += length
        done++
        continue
      }
      const chunk = this.#chunkFor(length)
      if (chunk === undefined) return done
      const room = chunk.end - chunk.nextByte + start
      const most = Math.min(count, done + chunk.entryEnd - chunk.nextEntry)
      let last = done + 1
      while (last < most && (ends[last] ?? 0) <= room) last++
      const end = ends[last - 1] ?? 0
      const entries = [chunk.nextEntry, last - done] as const
      if (!this.#publish(lane, Out.frames, chunk, ...entries, chunk.nextByte, end - start))
        return done
      copyBytes(memory.bytes, chunk.nextByte, bytes, start, end)
      const shift = chunk.nextByte - start
      for (let i = done; i < last; i++) memory.ends[chunk.nextEntry++] = (ends[i] ?? 0) + shift
      chunk.nextByte += end - start
      start = end
      done = last
    }
    return done
  }

  /** Copies a frame that exceeds a chunk, part by part; false until its last part is out. */
  #inParts(lane: SocketLane, bytes: Uint8Array, from: number, length: number): boolean {
    while (this.#partBytesOut < length) {
      const chunk = this.#chunkFor(1)
      if (chunk === undefined) return false
      const size = Math.min(chunk.end - chunk.nextByte, length - this.#partBytesOut)
      if (!this.#publish(lane, Out.part, chunk, size, length, chunk.nextByte, size)) return false
      const start = from + this.#partBytesOut
      copyBytes(this.#chunks.memory.bytes, chunk.nextByte, bytes, start, start + size)
      chunk.nextByte += size
      this.#partBytesOut += size
    }
    this.#partBytesOut = 0
    return true
  }

  /** The common chunk with room for a frame of so many bytes. */
  #chunkFor(length: number): OpenChunk | undefined {
    const open = this.#sharedChunk
    if (open !== undefined) {
      if (open.end - open.nextByte >= length && open.nextEntry < open.entryEnd) return open
      this.#chunks.retire(open.index)
    }
    this.#sharedChunk = this.#chunks.open()
    return this.#sharedChunk
  }

  /** Publishes a record of bytes in a chunk; false when the ring has no room. */
  #publish(
    { slot }: SocketLane,
    kind: number,
    chunk: OpenChunk,
    second: number,
    third: number,
    firstByte: number,
    bytes: number
  ): boolean {
    const { generation, index } = slot
    const ring = this.#ring
    const chunkIndex = chunk.index
    if (
      !writeRecord(ring, kind, index, generation, undefined, chunkIndex, second, third, firstByte)
    ) {
      return false
    }
    slot.handedOverBytes = (slot.handedOverBytes + bytes) | 0
    this.#wakeUps.bytes(bytes)
    this.#chunks.published(chunk.index)
    this.#flushSoon()
    return true
  }

  /** Wakes the main thread at the end of this turn, also when nothing was published. */
  wakeSoon(): void {
    this.#wakeUps.urgent()
    this.#flushSoon()
  }

  /** Wakes the main thread for deferrable records that wait. */
  tellDeferred(): void {
    this.#wakeUps.flushDeferred()
  }

  #flushSoon(): void {
    this.#isFlushDue = true
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    setImmediate(() => {
      this.#isFlushScheduled = false
      if (this.#isFlushDue) this.flush()
    })
  }

  #waitWithFrames(
    lane: SocketLane,
    bytes: Uint8Array,
    from: number,
    ends: Int32Array,
    first: number,
    count: number
  ): void {
    const start = first === 0 ? from : (ends[first - 1] ?? 0)
    const copy = bytes.slice(start, ends[count - 1] ?? 0)
    const rest = ends.slice(first, count).map((end) => end - start)
    let done = 0
    lane.pause(PauseReason.handover)
    this.#wait({
      lane,
      retry: () => {
        done = this.#packed(lane, copy, 0, rest, done, rest.length)
        return done === rest.length
      }
    })
  }

  #wait(item: Waiting): void {
    if (this.#waiting.push(item) > 1) return
    this.#wakeUps.urgent()
    this.flush()
    setImmediate(() => this.retry())
  }

  /** Publishes waiting output while it finds room, in order. */
  #drain(): void {
    const waiting = this.#waiting
    let done = 0
    while (done < waiting.length && waiting[done]?.retry() === true) done++
    if (done === 0) return
    this.#wakeUps.urgent()
    this.#waiting = waiting.slice(done)
    const stuck = new Set(this.#waiting.map((item) => item.lane))
    for (const { lane } of waiting.slice(0, done)) {
      if (lane !== undefined && !stuck.has(lane)) lane.resume(PauseReason.handover)
    }
  }

  /** Pauses the reading while the lane's user is behind by more than its limit. */
  #pauseWhenBehind(lane: SocketLane): void {
    const row = lane.slot.index * Row.words
    const limit = lane.receiveBytes
    if (this.#untakenBytes(lane, row) <= limit) return
    lane.pause(PauseReason.user)
    this.#pausedLanes.add(lane)
    Atomics.store(this.#table, row + Row.waiting, 1)
    if (this.#untakenBytes(lane, row) > limit / 2) return
    this.#pausedLanes.delete(lane)
    lane.resume(PauseReason.user)
  }

  #untakenBytes(lane: SocketLane, row: number): number {
    return (lane.slot.handedOverBytes - Atomics.load(this.#table, row + Row.consumed)) | 0
  }
}

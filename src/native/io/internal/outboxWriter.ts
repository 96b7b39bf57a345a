/**
 * The worker's way out: whole frames into the slab, records into the ring, one flush and one
 * doorbell for each turn of the event loop.
 *
 * When there is no room, what wants out waits here in order and its lanes stop reading, so
 * at most one read per lane waits. The main thread rings once it has made room.
 */
import { copyOctets } from "../../../schema/copyBytes.ts"
import type { Doorbell } from "./doorbell.ts"
import { Hold, type HostLane } from "./socketLane.ts"
import { At, Out, putHead, recordWords, Row, wordsFor } from "./records.ts"
import type { RingProducer } from "./ring.ts"
import type { OpenChunk, SlabWriter } from "./chunkPool.ts"
import { Waker } from "./wakeCoalescer.ts"

/** A read so long makes a lane read straight into a chunk of its own, until reads are short. */
const longRead = 65_536
const shortRead = 16_384

const encoder = new TextEncoder()
const noText = new Uint8Array(0)

/** Something that found no room: true once it is out. */
interface Waiting {
  readonly lane: HostLane | undefined
  readonly retry: () => boolean
}

/** What a worker publishes with. */
export class Outlet {
  readonly #ring: RingProducer
  readonly #slab: SlabWriter
  readonly #table: Int32Array
  readonly #waker: Waker
  /** The chunk into which the frames of all lanes with short reads are packed. */
  #pack: OpenChunk | undefined
  #waiting: Array<Waiting> = []
  /** Bytes of the long frame at the head of what waits that are out. */
  #partsOut = 0
  readonly #held = new Set<HostLane>()
  /** The end of this turn flushes; something waits for it. */
  #scheduled = false
  #due = false

  constructor(ring: RingProducer, slab: SlabWriter, table: Int32Array, bell: Doorbell) {
    this.#ring = ring
    this.#slab = slab
    this.#table = table
    this.#waker = new Waker(bell)
  }

  /** Whether everything is out. */
  get empty(): boolean {
    return this.#waiting.length === 0
  }

  /** Publishes a record about a lane, or about none (slot -1). */
  record(kind: number, slot: number, generation: number, a: number, b: number, text: string): void {
    this.#waker.awaited()
    this.news(kind, slot, generation, a, b, text)
  }

  /** Publishes a record that nobody waits for at this moment. */
  news(kind: number, slot: number, generation: number, a: number, b: number, text: string): void {
    const bytes = text === "" ? noText : encoder.encode(text)
    const retry = (): boolean => this.#tryRecord(kind, slot, generation, a, b, bytes)
    if (this.#waiting.length > 0 || !retry()) this.#wait({ lane: undefined, retry })
  }

  /** Publishes frames of a lane; holds its reading when they find no room. */
  frames(lane: HostLane, bytes: Uint8Array, from: number, ends: Int32Array, count: number): void {
    let done = 0
    if (this.#waiting.length === 0) {
      if (bytes === this.#slab.memory.bytes) done = this.#inPlace(lane, from, ends, count)
      if (done < count) done = this.#packed(lane, bytes, from, ends, done, count)
    }
    if (done < count) this.#waitWithFrames(lane, bytes, from, ends, done, count)
    else this.#holdWhenBehind(lane)
    // A long turn: the main thread takes the first of it while the rest is read.
    if (this.#waker.isOverdue) this.flush()
  }

  /** Where the lane's next read goes: straight into a chunk while reads are long. */
  readInto(lane: HostLane): OpenChunk | undefined {
    const { chunk } = lane.place
    if (lane.lastRead >= (chunk === undefined ? longRead : shortRead)) {
      if (chunk !== undefined && chunk.end - chunk.fill >= longRead) return chunk
      // A long frame would be copied from chunk to chunk.
      const long = lane.cutBytes * 2 > this.#slab.memory.shape.chunkBytes
      const next = long ? undefined : this.#openForReading()
      if (next !== undefined) {
        lane.moveInto(next)
        if (chunk !== undefined) this.#slab.retire(chunk.chunk)
        return next
      }
    }
    this.#leaveChunk(lane)
    return undefined
  }

  /** The lane has ended. */
  forget(lane: HostLane): void {
    this.#leaveChunk(lane)
    this.#held.delete(lane)
  }

  /** The main thread rang: there may be room, and users may have caught up. */
  retry(): void {
    this.#drain()
    if (this.#waiting.length > 0) {
      // The wish for a doorbell comes before a last look, so no answer is missed.
      this.#ring.awaitRoom()
      this.#slab.awaitChunk()
      this.#drain()
    }
    for (const lane of Array.from(this.#held)) {
      this.#held.delete(lane)
      lane.unhold(Hold.user)
      this.#holdWhenBehind(lane)
    }
  }

  /** Makes this turn's records visible, and wakes the main thread if it sleeps and it is time. */
  flush(): void {
    this.#due = false
    this.#ring.publish()
    if (!this.#waker.turnEnds()) this.#flushSoon()
  }

  /** A chunk for one lane. Half of the slab is kept for packing: long readers may sit on theirs. */
  #openForReading(): OpenChunk | undefined {
    const half = this.#slab.memory.shape.chunks / 2
    if (this.#slab.freeChunks <= half) this.#slab.reclaim()
    return this.#slab.freeChunks <= half ? undefined : this.#slab.open()
  }

  /** The lane reads into no chunk of its own any more. */
  #leaveChunk(lane: HostLane): void {
    const { chunk } = lane.place
    if (chunk === undefined) return
    lane.leave(chunk)
    this.#slab.retire(chunk.chunk)
  }

  #tryRecord(
    kind: number,
    slot: number,
    generation: number,
    a: number,
    b: number,
    text: Uint8Array
  ): boolean {
    const at = this.#ring.reserve(wordsFor(text.length))
    if (at < 0) return false
    const { words } = this.#ring
    putHead(words, at, kind, slot, generation, a)
    words[at + At.b] = b
    if (text.length > 0) {
      words[at + At.text] = text.length
      new Uint8Array(words.buffer, words.byteOffset).set(text, (at + At.text + 1) * 4)
    }
    this.#flushSoon()
    return true
  }

  /** Publishes frames that were read straight into the lane's chunk; returns how many. */
  #inPlace(lane: HostLane, from: number, ends: Int32Array, count: number): number {
    const { chunk } = lane.place
    if (chunk === undefined || chunk.entryEnd - chunk.entry < count) return 0
    const size = (ends[count - 1] ?? 0) - from
    if (!this.#publish(lane, Out.frames, chunk, chunk.entry, count, from, size)) return 0
    const table = this.#slab.memory.ends
    for (let i = 0, entry = chunk.entry; i < count; i++) table[entry++] = ends[i] ?? 0
    chunk.entry += count
    return count
  }

  /** Copies frames into the common chunk; returns the first that found no room. */
  #packed(
    lane: HostLane,
    bytes: Uint8Array,
    from: number,
    ends: Int32Array,
    first: number,
    count: number
  ): number {
    const { memory } = this.#slab
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
      const room = chunk.end - chunk.fill + start
      const most = Math.min(count, done + chunk.entryEnd - chunk.entry)
      let last = done + 1
      while (last < most && (ends[last] ?? 0) <= room) last++
      const end = ends[last - 1] ?? 0
      const entries = [chunk.entry, last - done] as const
      if (!this.#publish(lane, Out.frames, chunk, ...entries, chunk.fill, end - start)) return done
      copyOctets(memory.bytes, chunk.fill, bytes, start, end)
      const shift = chunk.fill - start
      for (let i = done; i < last; i++) memory.ends[chunk.entry++] = (ends[i] ?? 0) + shift
      chunk.fill += end - start
      start = end
      done = last
    }
    return done
  }

  /** Copies a frame that exceeds a chunk, part by part; false until its last part is out. */
  #inParts(lane: HostLane, bytes: Uint8Array, from: number, length: number): boolean {
    while (this.#partsOut < length) {
      const chunk = this.#chunkFor(1)
      if (chunk === undefined) return false
      const size = Math.min(chunk.end - chunk.fill, length - this.#partsOut)
      if (!this.#publish(lane, Out.part, chunk, size, length, chunk.fill, size)) return false
      const start = from + this.#partsOut
      copyOctets(this.#slab.memory.bytes, chunk.fill, bytes, start, start + size)
      chunk.fill += size
      this.#partsOut += size
    }
    this.#partsOut = 0
    return true
  }

  /** The common chunk with room for a frame of so many bytes. */
  #chunkFor(length: number): OpenChunk | undefined {
    const open = this.#pack
    if (open !== undefined) {
      if (open.end - open.fill >= length && open.entry < open.entryEnd) return open
      this.#slab.retire(open.chunk)
    }
    this.#pack = this.#slab.open()
    return this.#pack
  }

  #publish(
    lane: HostLane,
    kind: number,
    chunk: OpenChunk,
    b: number,
    c: number,
    from: number,
    bytes: number
  ): boolean {
    const at = this.#ring.reserve(recordWords)
    if (at < 0) return false
    const { words } = this.#ring
    const { place } = lane
    putHead(words, at, kind, place.slot, place.generation, chunk.chunk)
    words[at + At.b] = b
    words[at + At.c] = c
    words[at + At.d] = from
    place.handedOver = (place.handedOver + bytes) | 0
    this.#waker.bytes(bytes)
    this.#slab.published(chunk.chunk)
    this.#flushSoon()
    return true
  }

  /** Wakes the main thread at the end of this turn, also when nothing was published. */
  wakeSoon(): void {
    this.#waker.awaited()
    this.#flushSoon()
  }

  /** Tells now what news was held back. */
  hurry(): void {
    this.#waker.hurry()
  }

  #flushSoon(): void {
    this.#due = true
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (this.#due) this.flush()
    })
  }

  #waitWithFrames(
    lane: HostLane,
    bytes: Uint8Array,
    from: number,
    ends: Int32Array,
    first: number,
    count: number
  ): void {
    const start = first === 0 ? from : (ends[first - 1] ?? 0)
    const own = bytes.slice(start, ends[count - 1] ?? 0)
    const rest = ends.slice(first, count).map((end) => end - start)
    let done = 0
    lane.hold(Hold.handover)
    this.#wait({
      lane,
      retry: () => {
        done = this.#packed(lane, own, 0, rest, done, rest.length)
        return done === rest.length
      }
    })
  }

  #wait(item: Waiting): void {
    if (this.#waiting.push(item) > 1) return
    this.#waker.awaited()
    this.flush()
    setImmediate(() => this.retry())
  }

  /** Lets out what finds room, in order. */
  #drain(): void {
    const waiting = this.#waiting
    let done = 0
    while (done < waiting.length && waiting[done]?.retry() === true) done++
    if (done === 0) return
    this.#waker.awaited()
    this.#waiting = waiting.slice(done)
    const stuck = new Set(this.#waiting.map((item) => item.lane))
    for (const { lane } of waiting.slice(0, done)) {
      if (lane !== undefined && !stuck.has(lane)) lane.unhold(Hold.handover)
    }
  }

  /** Holds the reading while the lane's user is behind by more than its limit. */
  #holdWhenBehind(lane: HostLane): void {
    const row = lane.place.slot * Row.words
    const limit = lane.limits.receiveBytes
    if (this.#behind(lane, row) <= limit) return
    lane.hold(Hold.user)
    this.#held.add(lane)
    Atomics.store(this.#table, row + Row.waiting, 1)
    if (this.#behind(lane, row) > limit / 2) return
    this.#held.delete(lane)
    lane.unhold(Hold.user)
  }

  #behind(lane: HostLane, row: number): number {
    return (lane.place.handedOver - Atomics.load(this.#table, row + Row.consumed)) | 0
  }
}

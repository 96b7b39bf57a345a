/**
 * Shared memory in which a worker hands received bytes to the main thread.
 *
 * The worker fills chunks from front to back and publishes ranges of them; the main thread counts
 * each range that it has finished with. A chunk is free again when the worker has retired it and
 * the counts agree, so no message carries it back. Each chunk has a table in which the worker
 * writes where each frame ends.
 */

/** The sizes of a pool; both sides compute their views from them. */
export interface ChunkPoolShape {
  readonly chunks: number
  /** Bytes of one chunk. */
  readonly chunkBytes: number
}

/** One entry for each 64 bytes: a chunk full of shorter frames is retired early. */
const bytesPerEntry = 64

/** The views of a chunk pool. */
export interface ChunkPoolMemory {
  readonly shape: ChunkPoolShape
  readonly bytes: Uint8Array
  readonly ends: Int32Array
  readonly counts: Int32Array
}

/** Bytes of shared memory that a chunk pool needs. */
export const chunkPoolBytes = ({ chunks, chunkBytes }: ChunkPoolShape): number =>
  chunks * chunkBytes + (chunks * chunkBytes * 4) / bytesPerEntry + chunks * 4

/** Creates the views of a chunk pool over shared memory. */
export const mapChunkPool = (buffer: SharedArrayBuffer, shape: ChunkPoolShape): ChunkPoolMemory => {
  const payload = shape.chunks * shape.chunkBytes
  const entries = payload / bytesPerEntry
  return {
    shape,
    bytes: new Uint8Array(buffer, 0, payload),
    ends: new Int32Array(buffer, payload, entries),
    counts: new Int32Array(buffer, payload + entries * 4, shape.chunks)
  }
}

/** The main thread's side: counts what it has finished with. */
export class ChunkReader {
  readonly memory: ChunkPoolMemory

  constructor(memory: ChunkPoolMemory) {
    this.memory = memory
  }

  /** One published range of the chunk is finished with. */
  finish(chunk: number): void {
    Atomics.add(this.memory.counts, chunk, 1)
  }
}

/** A chunk while the worker writes into it. */
export interface OpenChunk {
  readonly index: number
  /** The memory of all chunks. */
  readonly memory: Uint8Array
  /** Offsets in the memory: the next free byte, and the end. */
  nextByte: number
  readonly end: number
  /** Indexes in the table of ends: the next free entry, and the end. */
  nextEntry: number
  readonly entryEnd: number
}

/** A worker's lane in shared memory; unused on the main thread. */
export interface LaneSlot {
  index: number
  generation: number
  /** The chunk that its reads go straight into, while they are long. */
  chunk: OpenChunk | undefined
  /** Bytes handed over, as a count that wraps. */
  handedOverBytes: number
}

/** The worker's side: opens chunks, publishes ranges of them, retires them. */
export class ChunkWriter {
  readonly memory: ChunkPoolMemory
  readonly #published: Int32Array
  readonly #free: Uint8Array
  readonly #retired: Array<number> = []
  #freeChunks: number

  constructor(memory: ChunkPoolMemory) {
    const { chunks } = memory.shape
    this.memory = memory
    this.#published = new Int32Array(chunks)
    this.#free = new Uint8Array(chunks).fill(1)
    this.#freeChunks = chunks
  }

  /** Chunks that are free now, without looking for returned ones. */
  get freeChunks(): number {
    return this.#freeChunks
  }

  /** Opens a free chunk; undefined when there is none. */
  open(): OpenChunk | undefined {
    this.reclaim()
    const chunk = this.#free.indexOf(1)
    return chunk < 0 ? undefined : this.#take(chunk)
  }

  /** Counts a range of the chunk that is handed over. */
  published(chunk: number): void {
    this.#published[chunk] = ((this.#published[chunk] ?? 0) + 1) | 0
  }

  /** Marks a chunk that gets no more writes: it is free once its ranges are finished with. */
  retire(chunk: number): void {
    this.#retired.push(chunk)
  }

  /** Takes back retired chunks with which the main thread has finished. */
  reclaim(): void {
    const retired = this.#retired
    let kept = 0
    for (const chunk of retired) {
      if (Atomics.load(this.memory.counts, chunk) === this.#published[chunk]) {
        this.#free[chunk] = 1
        this.#freeChunks++
      } else retired[kept++] = chunk
    }
    retired.length = kept
  }

  #take(chunk: number): OpenChunk {
    const { chunkBytes } = this.memory.shape
    this.#free[chunk] = 0
    this.#freeChunks--
    const entries = chunkBytes / bytesPerEntry
    return {
      index: chunk,
      memory: this.memory.bytes,
      nextByte: chunk * chunkBytes,
      end: (chunk + 1) * chunkBytes,
      nextEntry: chunk * entries,
      entryEnd: (chunk + 1) * entries
    }
  }
}

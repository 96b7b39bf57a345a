/**
 * The main thread's receiving end of one worker: takes records out of its outbox and frames out of
 * its chunks, and hands them to the lanes and jobs that they name.
 */
import { decodeReason, type OpenFailure } from "./messages.ts"
import type { LaneHandle } from "./laneHandle.ts"
import type { LaneDirectory } from "./laneDirectory.ts"
import type { Opener } from "./openJobs.ts"
import type { OpenJobs } from "./openJobs.ts"
import {
  ClosedRecord,
  FramesRecord,
  Header,
  JobRecord,
  Out,
  PartRecord,
  textAt,
  type WorkerMemory,
  WrittenRecord
} from "./records.ts"
import { RingConsumer } from "./ring.ts"
import { mapChunkPool, ChunkReader, type ChunkPoolShape } from "./chunkPool.ts"

/** Destinations of the records: lanes, open jobs, and the maker of new lanes. */
export interface OutboxTarget {
  readonly lanes: LaneDirectory
  readonly jobs: OpenJobs
  /** Makes the lane of a new connection. */
  readonly admit: (
    slot: number,
    generation: number,
    opener: Opener | undefined,
    peer: string
  ) => LaneHandle
  /** Called when a record of an older lane was dropped. */
  readonly onStaleRecord: () => void
}

/** Records per drain, so that the loop's other work gets its turn. */
const recordsPerTurn = 4096

/** The consumer of one worker's outbox. */
export class OutboxReader {
  readonly #ring: RingConsumer
  readonly #chunks: ChunkReader
  readonly #target: OutboxTarget

  constructor(
    { chunkPool, outbox }: Pick<WorkerMemory, "outbox" | "chunkPool">,
    shape: ChunkPoolShape,
    target: OutboxTarget
  ) {
    this.#ring = new RingConsumer(new Int32Array(outbox))
    this.#chunks = new ChunkReader(mapChunkPool(chunkPool, shape))
    this.#target = target
  }

  /** Whether the worker has published records. */
  poll(): boolean {
    return this.#ring.poll()
  }

  /** Consumes the records that the last `poll` saw, up to the limit of one turn. */
  consume(): void {
    let left = recordsPerTurn
    for (let at = this.#ring.next(); at >= 0; at = left-- > 0 ? this.#ring.next() : -1) {
      this.#consume(at)
    }
  }

  /** Returns the room of consumed records; true when the worker waits for it, or for a chunk. */
  release(): boolean {
    this.#ring.release()
    return this.#ring.takeWaiting()
  }

  #consume(at: number): void {
    const { words } = this.#ring
    const kind = words[at + Header.kind] ?? 0
    const slot = words[at + Header.slot] ?? 0
    const generation = words[at + Header.generation] ?? 0
    if (kind === Out.frames) {
      const { bytes, ends } = this.#chunks.memory
      const firstEntry = words[at + FramesRecord.firstEntry] ?? 0
      const count = words[at + FramesRecord.count] ?? 0
      const firstByte = words[at + FramesRecord.firstByte] ?? 0
      this.#lane(slot, generation)?.frames(bytes, ends, firstEntry, count, firstByte)
      this.#chunks.finish(words[at + FramesRecord.chunk] ?? 0)
    } else if (kind === Out.part) {
      const from = words[at + PartRecord.firstByte] ?? 0
      const to = from + (words[at + PartRecord.bytes] ?? 0)
      const frameBytes = words[at + PartRecord.frameBytes] ?? 0
      this.#lane(slot, generation)?.part(this.#chunks.memory.bytes, from, to, frameBytes)
      this.#chunks.finish(words[at + PartRecord.chunk] ?? 0)
    } else if (kind === Out.written) {
      this.#lane(slot, generation)?.written(words[at + WrittenRecord.bytes] ?? 0)
    } else if (kind === Out.finished) this.#lane(slot, generation)?.finished()
    else if (kind === Out.peerEnded) this.#lane(slot, generation)?.onPeerEnded()
    else if (kind === Out.closed) {
      const code = words[at + ClosedRecord.reason] ?? 0
      const bytes = words[at + ClosedRecord.bytes] ?? 0
      this.#lane(slot, generation)?.ended(decodeReason(code, bytes, textAt(this.#ring, at)))
    } else this.#answerJob(at, kind, slot, generation)
  }

  #answerJob(at: number, kind: number, slot: number, generation: number): void {
    const { words } = this.#ring
    const { admit, jobs } = this.#target
    const job = words[at + JobRecord.job] ?? 0
    const text = textAt(this.#ring, at)
    if (kind === Out.listening) return jobs.listening(job, text, words[at + JobRecord.port] ?? 0)
    if (kind === Out.failed) return jobs.failed(job, JSON.parse(text) as OpenFailure)
    const isAccepted = kind === Out.accepted
    const opener = isAccepted ? jobs.listener(job) : jobs.opened(job)
    const handle = admit(slot, generation, opener, text)
    if (opener === undefined) handle.abort()
    else if (isAccepted) opener.accepted(handle)
    else opener.opened(handle)
  }

  /** The lane of a record; undefined, and counted, when the record is of an older one. */
  #lane(slot: number, generation: number): LaneHandle | undefined {
    const handle = this.#target.lanes.find(slot, generation)
    if (handle === undefined) this.#target.onStaleRecord()
    return handle
  }
}

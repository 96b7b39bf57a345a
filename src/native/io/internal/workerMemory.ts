/**
 * The memory of one worker, shared and private, in the sizes of the pool's settings, and its
 * thread.
 */
import { Worker } from "node:worker_threads"
import { workerModule } from "../workerModule.ts"
import { doorbellBytes } from "./doorbell.ts"
import type { LaneLimits } from "./messages.ts"
import { progressBytes } from "./progress.ts"
import { Row, type WorkerMemory } from "./records.ts"
import { ringBytes } from "./ring.ts"
import { chunkPoolBytes, type ChunkPoolShape } from "./chunkPool.ts"
import type { WorkerStart } from "./worker.ts"

/** Sizes of a worker's shared memory. */
export interface WorkerSizes {
  readonly inboxWords: number
  readonly outboxWords: number
  readonly chunkPool: ChunkPoolShape
  readonly lanes: number
  /** Open jobs that may be out at a time. */
  readonly openJobsMax: number
  /** Limits of a lane whose opener has gone. */
  readonly limits: LaneLimits
}

/**
 * A worker's heap: enough for tens of thousands of sockets, and a small young generation, so that
 * memory of reads and closed sockets outside of the heap is collected early.
 */
const heapLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 1_024 }

const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes)

/** Allocates memory: a worker's successor shares nothing with it. */
export const workerMemory = (sizes: WorkerSizes, mainBell: SharedArrayBuffer): WorkerMemory => ({
  inbox: shared(ringBytes(sizes.inboxWords)),
  outbox: shared(ringBytes(sizes.outboxWords)),
  chunkPool: shared(chunkPoolBytes(sizes.chunkPool)),
  table: shared(sizes.lanes * Row.words * 4),
  progress: shared(progressBytes),
  workerBell: shared(doorbellBytes),
  mainBell
})

/** Starts a worker on its memory. */
export const startWorker = (start: WorkerStart): Worker =>
  new Worker(workerModule(import.meta.url, "worker"), {
    workerData: start,
    name: "handfast-io",
    resourceLimits: heapLimits
  })

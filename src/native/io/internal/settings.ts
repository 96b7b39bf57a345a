/**
 * The settings of a pool, with their defaults and reasons.
 */
import { availableParallelism } from "node:os"
import type { WorkerPoolSettings } from "./workerPool.ts"
import type { LaneLimits } from "./messages.ts"

/** Settings of a pool. Each limit has a default with its reason. */
export interface Settings {
  /**
   * Workers: a fixed number, or bounds within which load decides. 0 keeps everything on the
   * main thread. Default: from 1 to one less than the machine has cores.
   */
  readonly workers?: number | { readonly min: number; readonly max: number }
  /** Bytes that one lane may have unsent. Default 1 MiB. */
  readonly sendBytes?: number
  /**
   * Bytes that one lane may have read and its user not taken. Default 4 MiB: as many as may wait
   * before the main thread is woken; less would stop the reading before that.
   */
  readonly receiveBytes?: number
  /**
   * Bytes that a plain lane reads before others get their turn; the event loop alone would let it
   * read 8 MiB. Default 2 MiB, eight reads: fewer would stop and start the reading so often that
   * this itself costs too much.
   */
  readonly readTurnBytes?: number
  /** Bytes of one write job. Default 64 KiB, the most: what a socket's buffer takes at once. */
  readonly writeJobBytes?: number
  /** Milliseconds for a connection to open, with its TLS handshake. Default 10 s. */
  readonly openWithinMs?: number
  /** Milliseconds after which a peer that takes no bytes ends its lane. Default 30 s. */
  readonly stallAfterMs?: number
  /** Milliseconds for a lane to close in order before it is cut. Default 1 s. */
  readonly closeWithinMs?: number
  /** Milliseconds for a worker to end after it was asked. Default 5 s. */
  readonly stopWithinMs?: number
  /**
   * Milliseconds without progress after which a worker is given up: a new one replaces it, its
   * lanes end with `WorkerCrashed`. Each of its steps, such as a framer's handling of a frame, must
   * be shorter; a lane's `close` and a registration wait for a stuck worker as long. Default 5 s,
   * as `stopWithinMs`: no framer should keep all lanes of its worker waiting longer.
   */
  readonly stuckAfterMs?: number
  /** Bytes of one chunk of a worker's receive memory. Default 256 KiB. */
  readonly chunkBytes?: number
  /** Chunks of a worker's receive memory. Default 64, which is 16 MiB. */
  readonly chunks?: number
  /**
   * 32-bit words of the ring into a worker, a power of two. Default 2^18: frames to send are copied
   * into it.
   */
  readonly inboxWords?: number
  /**
   * 32-bit words of the ring out of a worker, a power of two. Default 2^16: it carries positions of
   * frames, not frames.
   */
  readonly outboxWords?: number
  /** Lanes of one worker. Default 16384. */
  readonly lanesPerWorker?: number
  /** Connects and listens of one worker under way. Default 1024. */
  readonly openJobsMax?: number
  /** Lanes that a listener holds until they are accepted; more are closed. Default 1024. */
  readonly acceptQueueMax?: number
}

/** The limits of each lane of the pool. */
export const limitsOf = (settings: Settings): LaneLimits => ({
  sendBytes: settings.sendBytes ?? 1_048_576,
  receiveBytes: settings.receiveBytes ?? 4_194_304,
  readTurnBytes: settings.readTurnBytes ?? 2_097_152,
  writeJobBytes: settings.writeJobBytes ?? 65_536,
  openWithinMs: settings.openWithinMs ?? 10_000,
  stallAfterMs: settings.stallAfterMs ?? 30_000,
  closeWithinMs: settings.closeWithinMs ?? 1_000
})

/**
 * When workers start and park.
 *
 * Work that arrives at random waits for r / (2 (1 - r)) times its length when the thread is busy
 * for a share r of the time: 1.2 lengths at 0.7, 4.5 at 0.9. So a worker starts when they are busy
 * for more than 0.7 on average, for three samples, which is ten times the start of a worker.
 * Between two workers that load is 0.35 each, far above 0.1, below which one parks; after that, the
 * load of the last one is below 0.2. So neither change causes the other. An idle worker costs
 * memory only, so it has five seconds.
 */
const changes = { startAbove: 0.7, parkBelow: 0.1, busySamples: 3, idleSamples: 50 }

/** Milliseconds between two samples of the load. */
const sampleEveryMs = 100

/** The settings of the pool's workers. */
export const workerPoolSettings = (
  settings: Settings,
  limits: LaneLimits,
  hooks: Pick<WorkerPoolSettings, "clock" | "sampled">
): WorkerPoolSettings => {
  const { workers = { min: 1, max: Math.max(1, availableParallelism() - 1) } } = settings
  const { min, max } = typeof workers === "number" ? { min: workers, max: workers } : workers
  return {
    load: { min, max, ...changes },
    sampleEveryMs,
    stopWithinMs: settings.stopWithinMs ?? 5_000,
    stuckAfterMs: settings.stuckAfterMs ?? 5_000,
    ...hooks,
    sizes: {
      inboxWords: settings.inboxWords ?? 262_144,
      outboxWords: settings.outboxWords ?? 65_536,
      chunkPool: { chunks: settings.chunks ?? 64, chunkBytes: settings.chunkBytes ?? 262_144 },
      lanes: settings.lanesPerWorker ?? 16_384,
      openJobsMax: settings.openJobsMax ?? 1_024,
      limits
    }
  }
}

/**
 * Counts of a lane, and the results of sending on it.
 */

/** Counts of one lane. */
export interface LaneCounts {
  framesReceived: number
  bytesReceived: number
  bytesSent: number
  /** The most bytes that waited to be sent, and to be taken. */
  sendHighWater: number
  receiveHighWater: number
}

export const noCounts = (): LaneCounts => ({
  framesReceived: 0,
  bytesReceived: 0,
  bytesSent: 0,
  sendHighWater: 0,
  receiveHighWater: 0
})

/** Result of `send`. *Full* changed nothing; *closed* means that this side has ended. */
export type SendStatus = "accepted" | "full" | "closed"

/** Cumulative counts of a pool. */
export interface PoolCounts {
  /** Open jobs done on the main thread because no worker had room. */
  fallbacks: number
  /** Records of older lanes that were dropped. */
  stale: number
  workersStarted: number
  workersCrashed: number
  /** Connections that were opened, adopted or accepted. */
  lanesOpened: number
}

/**
 * Present state and cumulative counts of a pool: the counts of all its lanes together, the
 * high-water marks those of the highest.
 */
export interface PoolStats extends PoolCounts, Readonly<LaneCounts> {
  readonly workers: number
  readonly lanes: number
  readonly jobsOut: number
}

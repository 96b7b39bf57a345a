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

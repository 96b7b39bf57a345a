/** How much of everything is moved, by all contestants. */

/** Writes of each size in a run: about a second under emulation. */
export const writes = {
  "64k": [65_536, 600],
  "1m": [1 << 20, 40]
} as const

/** Bytes of a message of which only the trip is measured. */
export const latencyBytes = 8
/** Trips of a run, after as many to warm up. */
export const trips = 2_000
/** As `ib_write_bw` takes: twice its longest write. */
export const memoryBytes = 2 << 20

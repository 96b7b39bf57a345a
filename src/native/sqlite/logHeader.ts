/**
 * The parts of SQLite's write-ahead log that are read before SQLite itself opens it: the header of
 * the log, its frames, and the header of the `-shm` file beside it. The layouts are those of
 * SQLite's documents "Database File Format" (section 4) and "WAL-mode File Format".
 */
import { endianness } from "node:os"

export const logHeaderBytes = 32
export const frameHeaderBytes = 24

const magic = 0x37_7f_06_82
const version = 3_007_000

/** Two running sums over words of 4 bytes. Each frame continues the sums of the one before. */
export type Sums = readonly [number, number]

/** Continues SQLite's checksum over `length` bytes, a multiple of 8. */
export const continueSums = (
  [first, second]: Sums,
  bytes: DataView,
  from: number,
  length: number,
  isLittle: boolean
): Sums => {
  for (let at = from; at < from + length; at += 8) {
    first = (first + bytes.getUint32(at, isLittle) + second) >>> 0
    second = (second + bytes.getUint32(at + 4, isLittle) + first) >>> 0
  }
  return [first, second]
}

/** The header of a log. The salts change whenever the log is restarted. */
export interface LogHeader {
  readonly pageBytes: number
  readonly isLittle: boolean
  readonly salts: Sums
  readonly sums: Sums
}

/** Reads a log's header; undefined if its checksum or a field is wrong. */
export const readLogHeader = (bytes: DataView): LogHeader | undefined => {
  const first = bytes.getUint32(0)
  if ((first & ~1) >>> 0 !== magic || bytes.getUint32(4) !== version) return undefined
  const isLittle = (first & 1) === 0
  const sums = continueSums([0, 0], bytes, 0, 24, isLittle)
  if (sums[0] !== bytes.getUint32(24) || sums[1] !== bytes.getUint32(28)) return undefined
  const pageBytes = bytes.getUint32(8)
  if (pageBytes < 512 || pageBytes > 65_536) return undefined
  return {
    pageBytes,
    isLittle,
    salts: [bytes.getUint32(16), bytes.getUint32(20)],
    sums
  }
}

/** The `-shm` file's record of the log: SQLite writes it after each commit has been synced. */
export interface CommitMark {
  readonly salts: Sums
  /** Frames of the log that were committed. */
  readonly frames: number
  /** Those of them that are in the file, synced. */
  readonly copied: number
}

const markBytes = 48
/** The two copies of the mark, and the number of copied frames. */
export const shmBytes = 2 * markBytes + 4
const isLittleMachine = endianness() === "LE"

/** Reads the header of a `-shm` file, which has two copies; undefined if both are damaged. */
export const readCommitMark = (bytes: DataView): CommitMark | undefined => {
  for (const at of [0, markBytes]) {
    const sums = continueSums([0, 0], bytes, at, 40, isLittleMachine)
    const word = (offset: number) => bytes.getUint32(at + offset, isLittleMachine)
    if (word(0) !== version || sums[0] !== word(40) || sums[1] !== word(44)) continue
    return {
      // The salts are copied from the log's header, so their bytes are in its order.
      salts: [bytes.getUint32(at + 32), bytes.getUint32(at + 36)],
      frames: word(16),
      copied: bytes.getUint32(2 * markBytes, isLittleMachine)
    }
  }
  return undefined
}

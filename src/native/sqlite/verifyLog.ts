/**
 * Distinguishes a torn write-ahead log from a damaged one, before SQLite opens it: SQLite ends its
 * recovery at the first bad frame, and drops later frames without an error.
 *
 * A power loss or a kill tears the last transaction only, because each commit is synced before the
 * next one begins. So these are damage, and everything else is a torn tail:
 *
 * - a header with a wrong checksum: it lies in one sector, and is synced before any frame;
 * - frames of a newer log than the header's;
 * - at or behind the first bad frame, a commit that another frame continues: its checksum goes on
 *   from the commit's, so the commit had succeeded when it was written;
 * - fewer committed frames than the `-shm` file counts. SQLite counts a commit there after its
 *   sync. That file survives a kill, so then every bad frame of a stored event is found. After a
 *   power loss it is older or missing: then damage in the last transaction, or in the last frame
 *   of the one before, looks like a torn transaction, and cannot be told from it;
 * - no log, or one without a header, beside a `-shm` file that counts frames which are not in the
 *   file. That is looked at only if the `-shm` file was changed since the machine has started: what
 *   a power loss leaves of it may be older than a log that was copied, synced and deleted.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, statSync } from "node:fs"
import { uptime } from "node:os"
import { FileRefused } from "./failures.ts"
import {
  type CommitMark,
  continueSums,
  frameHeaderBytes,
  type LogHeader,
  logHeaderBytes,
  readCommitMark,
  readLogHeader,
  shmBytes,
  type Sums
} from "./logHeader.ts"

/** Frames that are read from the file at once. */
const framesAtOnce = 128

/** Calls `use` with a descriptor of a file, and returns undefined if there is no such file. */
const withFile = <A>(path: string, use: (descriptor: number) => A): A | undefined => {
  let descriptor
  try {
    descriptor = openSync(path, "r")
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined
    throw cause
  }
  try {
    return use(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

const readAt = (descriptor: number, at: number, length: number): DataView => {
  const bytes = new Uint8Array(length)
  let filled = 0
  while (filled < length) {
    const count = readSync(descriptor, bytes, filled, length - filled, at + filled)
    if (count === 0) break
    filled += count
  }
  return new DataView(bytes.buffer, 0, filled)
}

interface Frame {
  readonly bytes: DataView
  readonly at: number
  readonly salts: Sums
  readonly sums: Sums
  readonly isCommit: boolean
}

/** The whole frames of a log. */
function* frames(descriptor: number, pageBytes: number): Generator<Frame> {
  const size = frameHeaderBytes + pageBytes
  for (let first = 0; ; first += framesAtOnce) {
    const bytes = readAt(descriptor, logHeaderBytes + first * size, framesAtOnce * size)
    for (let at = 0; at + size <= bytes.byteLength; at += size) {
      const word = (offset: number) => bytes.getUint32(at + offset)
      yield {
        bytes,
        at,
        isCommit: word(4) !== 0,
        salts: [word(8), word(12)],
        sums: [word(16), word(20)]
      }
    }
    if (bytes.byteLength < framesAtOnce * size) return
  }
}

const isEqual = (one: Sums, other: Sums) => one[0] === other[0] && one[1] === other[1]

/** The sums after a frame, if the ones before it are these. */
const sumsAfter = ({ isLittle, pageBytes }: LogHeader, before: Sums, { at, bytes }: Frame) => {
  const sums = continueSums(before, bytes, at, 8, isLittle)
  return continueSums(sums, bytes, at + frameHeaderBytes, pageBytes, isLittle)
}

interface Scan {
  /** Frames up to the last commit that SQLite will find. */
  readonly committed: number
  /** The first frame that is not valid, counted from 1. */
  readonly bad: number
  /** Whether a commit behind the first bad frame had succeeded. */
  readonly hasCommitBehind: boolean
  readonly isNewer: boolean
}

const scan = (descriptor: number, header: LogHeader): Scan => {
  let committed = 0
  let bad = 0
  let count = 0
  // The frame before: whether it is a commit, and whether its checksum continues the one before.
  let isCommit = false
  let isWhole = false
  // The sums before a frame: those that the last frame holds, and those of its content.
  let held = header.sums
  let computed = header.sums
  for (const frame of frames(descriptor, header.pageBytes)) {
    count++
    const isNewer = count === 1 && frame.salts[0] === (header.salts[0] + 1) >>> 0
    if (isNewer) return { committed, bad: 1, hasCommitBehind: false, isNewer }
    const afterHeld = sumsAfter(header, held, frame)
    const afterComputed = held === computed ? afterHeld : sumsAfter(header, computed, frame)
    const continuesHeld = isEqual(afterHeld, frame.sums)
    const continuesComputed = isEqual(afterComputed, frame.sums)
    const isValid = (continuesHeld || continuesComputed) && isEqual(frame.salts, header.salts)
    if (bad === 0 && isValid && frame.isCommit) committed = count
    if (bad === 0 && !isValid) bad = count
    // The flag of a torn frame may be that of an older frame in its place, so it must be summed.
    else if (bad !== 0 && isValid && isCommit && (isWhole || continuesComputed)) {
      return { committed, bad, hasCommitBehind: true, isNewer: false }
    }
    isCommit = frame.isCommit
    isWhole = isValid
    held = frame.sums
    computed = isValid ? held : afterComputed
  }
  return { committed, bad: bad === 0 ? count + 1 : bad, hasCommitBehind: false, isNewer: false }
}

const isZero = ({ buffer, byteLength }: DataView) =>
  new Uint8Array(buffer, 0, byteLength).every((byte) => byte === 0)

const damaged = (log: string, detail: string) =>
  new FileRefused(
    "damaged",
    `the write-ahead log ${log} ${detail}; events that were stored are missing from here on. ` +
      "Restore the journal from a backup, with its log; or, to go on without what is missing, " +
      "keep a copy and open the journal with any SQLite program, which drops the rest of the log"
  )

const readMark = (file: string): CommitMark | undefined =>
  withFile(`${file}-shm`, (descriptor) => {
    const bytes = readAt(descriptor, 0, shmBytes)
    return bytes.byteLength < shmBytes ? undefined : readCommitMark(bytes)
  })

/** Whether the `-shm` file counts frames that are in no file any more. */
const isLogLost = (file: string): boolean => {
  const changedAt = statSync(`${file}-shm`, { throwIfNoEntry: false })?.mtimeMs
  if (changedAt === undefined || changedAt < Date.now() - 1000 * uptime()) return false
  const mark = readMark(file)
  return mark !== undefined && mark.frames > mark.copied
}

/**
 * Throws `FileRefused` if the log beside a journal is damaged. To be called while the journal is
 * locked and not open: closing a descriptor drops this process's locks on the `-shm` file.
 */
export const verifyLog = (file: string) => {
  const log = `${file}-wal`
  const hasHeader = withFile(log, (descriptor) => {
    const bytes = readAt(descriptor, 0, logHeaderBytes)
    if (bytes.byteLength < logHeaderBytes) return false
    // Frames that a killed process wrote but did not sync count as committed once SQLite reads
    // them.
    fsyncSync(descriptor)
    const header = readLogHeader(bytes)
    if (header === undefined) {
      const { size } = fstatSync(descriptor)
      const isUnwritten = size === logHeaderBytes && isZero(bytes)
      if (isUnwritten) return false
      throw damaged(log, "has a header with a wrong checksum")
    }
    const { bad, committed, hasCommitBehind, isNewer } = scan(descriptor, header)
    if (isNewer) throw damaged(log, "has an older header than its frames")
    const mark = readMark(file)
    const isShort =
      mark !== undefined && isEqual(mark.salts, header.salts) && mark.frames > committed
    if (hasCommitBehind || isShort) throw damaged(log, `is damaged at frame ${bad}`)
    return true
  })
  if (hasHeader !== true && isLogLost(file)) throw damaged(log, "is missing or empty")
}

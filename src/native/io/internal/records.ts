/**
 * The records that the rings carry. All start with the same words; some end with a text. A record
 * names its lane by slot and generation, so a record of an earlier lane in the same slot is
 * recognised: the main thread drops it, and the worker completes its jobs without doing them.
 * Records of a job that has no lane have the slot -1.
 */
import { copyBytes } from "../../../schema/copyBytes.ts"
import type { RingConsumer, RingProducer } from "./ring.ts"

/** Words that all records start with. */
export const Header = { kind: 0, slot: 1, generation: 2 } as const

/** Words before the text's length: the header, and up to four fields. */
const recordWords = 7
/** Offset of the text's length; the text follows it. */
const textLengthAt = 7

/** Worker to main thread. */
export const Out = {
  /** Neighbouring frames in a chunk: `FramesRecord`. */
  frames: 1,
  /** The connection of a job is open: `JobRecord`; text: its peer. */
  opened: 2,
  /** A job listens: `JobRecord`; text: the address. */
  listening: 3,
  /** A job has failed: `JobRecord`; text: the failure. */
  failed: 4,
  /** A listener has accepted a connection: `JobRecord`; text: its peer. */
  accepted: 5,
  /** The write job of the lane has completed: `WrittenRecord`. */
  written: 6,
  /** The half-close of the lane has completed. */
  finished: 7,
  peerEnded: 8,
  /** The last record of a lane: `ClosedRecord`; text: its reason, see `encodeReason`. */
  closed: 9,
  /** Part of a frame that is longer than a chunk: `PartRecord`. */
  part: 10
} as const

/** Main thread to worker. */
export const In = {
  /** Text: the bytes. */
  write: 1,
  /** Text: commands for the framer, each behind its length. */
  command: 2,
  finish: 3,
  /** `CloseRecord`. */
  close: 4,
  /** The main thread has released the lane: its slot is free. */
  release: 5,
  /** The lane was accepted: it may read. */
  start: 6
} as const

/** Fields of the records, in the order in which `writeRecord` takes them. */
export const FramesRecord = { chunk: 3, firstEntry: 4, count: 5, firstByte: 6 } as const
export const PartRecord = { chunk: 3, bytes: 4, frameBytes: 5, firstByte: 6 } as const
export const JobRecord = { job: 3, port: 4 } as const
export const WrittenRecord = { bytes: 3 } as const
export const ClosedRecord = { reason: 3, bytes: 4 } as const
export const CloseRecord = { inOrder: 3 } as const

/** Words that a record with so many bytes of text takes. */
export const wordsFor = (textBytes: number): number =>
  textBytes === 0 ? recordWords : recordWords + 1 + ((textBytes + 3) >> 2)

/** Bytes of text that a record of so many words carries. */
export const textBytesOf = (words: number): number => (words - recordWords - 1) * 4

/**
 * Reserves a record in a ring and writes it: its header, up to four fields and its text. Returns
 * false, and changes nothing, when the ring has no room.
 */
export const writeRecord = (
  ring: RingProducer,
  kind: number,
  slot: number,
  generation: number,
  text: Uint8Array | undefined,
  first = 0,
  second = 0,
  third = 0,
  fourth = 0
): boolean => {
  const textBytes = text?.length ?? 0
  const at = ring.reserve(wordsFor(textBytes))
  if (at < 0) return false
  const { words } = ring
  words[at + Header.kind] = kind
  words[at + Header.slot] = slot
  words[at + Header.generation] = generation
  words[at + 3] = first
  words[at + 4] = second
  words[at + 5] = third
  words[at + 6] = fourth
  if (text !== undefined && textBytes > 0) {
    words[at + textLengthAt] = textBytes
    copyBytes(ring.bytes, (at + textLengthAt + 1) * 4, text, 0, textBytes)
  }
  return true
}

/** Returns where the text of a record begins among the ring's bytes. */
export const textFrom = (at: number): number => (at + textLengthAt + 1) * 4

/** Returns where the text of a record ends among the ring's bytes. */
export const textTo = (words: Int32Array, at: number): number =>
  textFrom(at) + (words[at + textLengthAt] ?? 0)

/** The text of the record that the ring gave last; empty without one. */
export const textAt = ({ bytes, length, words }: RingConsumer, at: number): string =>
  length === recordWords ? "" : bytes.toString("utf8", textFrom(at), textTo(words, at))

/** Rows of the table of lanes, one per slot. */
export const Row = {
  /** Bytes that the lane's user has finished with; the main thread writes it. */
  consumed: 0,
  /** When bytes last came, in milliseconds since the pool's origin; the worker writes it. */
  lastReceivedAt: 1,
  /** 1 while the worker pauses the lane's reading until `consumed` grows. */
  waiting: 2,
  words: 4
} as const

/** Adds to the bytes that a lane's user has taken; true when the worker waits for that. */
export const addConsumed = (table: Int32Array, slot: number, bytes: number): boolean => {
  const row = slot * Row.words
  Atomics.store(table, row + Row.consumed, ((table[row + Row.consumed] ?? 0) + bytes) | 0)
  if (Atomics.load(table, row + Row.waiting) === 0) return false
  return Atomics.exchange(table, row + Row.waiting, 0) !== 0
}

/** When bytes of a lane last came, in milliseconds since the pool's origin. */
export const lastReceivedAt = (table: Int32Array, slot: number): number =>
  Atomics.load(table, slot * Row.words + Row.lastReceivedAt)

/** The shared memory of one worker. */
export interface WorkerMemory {
  readonly inbox: SharedArrayBuffer
  readonly outbox: SharedArrayBuffer
  readonly chunkPool: SharedArrayBuffer
  readonly table: SharedArrayBuffer
  readonly progress: SharedArrayBuffer
  readonly workerBell: SharedArrayBuffer
  readonly mainBell: SharedArrayBuffer
}

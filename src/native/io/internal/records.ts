/**
 * The records that the rings carry. All start with the same words; text follows where a record
 * has any. A record of a lane names it by slot and generation, so what belongs to an older lane of
 * the same slot is recognised: the main thread drops it, and the worker answers jobs without doing
 * them. Records of a job that has no lane have the slot -1.
 */
import type { RingConsumer } from "./ring.ts"

/** Word offsets within a record. */
export const At = { kind: 0, slot: 1, generation: 2, a: 3, b: 4, c: 5, d: 6, text: 7 } as const

/** Words before the text's length. */
export const recordWords = 7

/** Worker to main thread. */
export const Out = {
  /** a: chunk, b: first entry of ends, c: count, d: first byte. */
  frames: 1,
  /** a: job; text: peer. */
  opened: 2,
  /** a: job, b: port; text: address. */
  listening: 3,
  /** a: job; text: failure. */
  failed: 4,
  /** a: the listening job; text: peer. */
  accepted: 5,
  /** The write job of the lane has come back; a: its bytes. */
  written: 6,
  /** The half-close of the lane has come back. */
  finished: 7,
  peerEnded: 8,
  /** The last record of a lane; a, b, text: its reason, see `endReason`. */
  closed: 9,
  /** Part of a frame longer than a chunk. a: chunk, b: bytes, c: the frame's bytes, d: first. */
  part: 10
} as const

/** Main thread to worker. */
export const In = {
  /** text: the bytes. */
  write: 1,
  /** text: commands for the framer, each behind its length. */
  command: 2,
  finish: 3,
  /** a: 1 to close in order, 0 at once. */
  close: 4,
  /** The main thread has let go of the lane; its slot is free. */
  release: 5,
  /** The lane was accepted: it may read. */
  start: 6
} as const

/** Words that a record with so many bytes of text takes. */
export const wordsFor = (textBytes: number): number =>
  textBytes === 0 ? recordWords : recordWords + 1 + ((textBytes + 3) >> 2)

/** Bytes of text that a record of so many words carries. */
export const textBytesOf = (words: number): number => (words - recordWords - 1) * 4

/** Writes the words that all records start with. */
export const putHead = (
  words: Int32Array,
  at: number,
  kind: number,
  slot: number,
  generation: number,
  a: number
): void => {
  words[at + At.kind] = kind
  words[at + At.slot] = slot
  words[at + At.generation] = generation
  words[at + At.a] = a
}

/** Rows of the table of lanes, one per slot. */
export const Row = {
  /** Bytes that the lane's user has finished with; the main thread writes it. */
  consumed: 0,
  /** When bytes last came, in milliseconds since the pool's origin; the worker writes it. */
  heard: 1,
  /** 1 while the worker holds the lane's reading until `consumed` grows. */
  waiting: 2,
  words: 4
} as const

/** Adds to what a lane's user has finished with; true when the worker waits to hear of it. */
export const addConsumed = (table: Int32Array, slot: number, bytes: number): boolean => {
  const row = slot * Row.words
  Atomics.store(table, row + Row.consumed, ((table[row + Row.consumed] ?? 0) + bytes) | 0)
  if (Atomics.load(table, row + Row.waiting) === 0) return false
  return Atomics.exchange(table, row + Row.waiting, 0) !== 0
}

/** When bytes of a lane last came, in milliseconds since the pool's origin. */
export const heardAt = (table: Int32Array, slot: number): number =>
  Atomics.load(table, slot * Row.words + Row.heard)

/** The text of the record that the ring gave last; empty without one. */
export const textAt = ({ bytes, length, words }: RingConsumer, at: number): string => {
  if (length === recordWords) return ""
  const from = (at + At.text + 1) * 4
  return bytes.toString("utf8", from, from + (words[at + At.text] ?? 0))
}

/** The shared memory of one worker. */
export interface WorkerMemory {
  readonly inbox: SharedArrayBuffer
  readonly outbox: SharedArrayBuffer
  readonly slab: SharedArrayBuffer
  readonly table: SharedArrayBuffer
  readonly progress: SharedArrayBuffer
  readonly workerBell: SharedArrayBuffer
  readonly mainBell: SharedArrayBuffer
}

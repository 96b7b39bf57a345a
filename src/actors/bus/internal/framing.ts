/** The contract between framer and node. */

/**
 * Longest frame in bytes that a node can be set to take, 64 MiB: a frame is put together in memory
 * of its lane.
 */
export const longestFrameBytes = 67_108_864

/**
 * A byte of the header that has no use on the wire. The framer says in it whether a full frame
 * describes its sender as the full frame before did: nodes repeat 2 KB about themselves in each.
 */
export const repeatedAt = 2_245

const answered = 1
const skipped = 2
const flowing = 3
const missed = 4

const counted = (tag: number, count: number): Uint8Array => {
  const note = Buffer.alloc(5)
  note[0] = tag
  note.writeUInt32BE(count, 1)
  return note
}

/** Notes of the framer to the node, in order with the frames of the link. */
export const Note = {
  /** The next frame is a PING that was answered where it was read. */
  answered: Uint8Array.of(answered),
  /** A part of a frame that is left out has come: its sender is alive. */
  flowing: Uint8Array.of(flowing),
  /** A frame of this length was left out. */
  skipped: (length: number): Uint8Array => counted(skipped, length),
  /** So many publications were left out while the main thread was busy. */
  missed: (count: number): Uint8Array => counted(missed, count),
  /** Bytes of the longest note, which is shorter than the shortest frame. */
  longestBytes: 5,
  isAnswered: (bytes: Uint8Array, from: number): boolean => bytes[from] === answered,
  isSkipped: (bytes: Uint8Array, from: number): boolean => bytes[from] === skipped,
  /** Publications that a note says were missed. */
  missedBy: (bytes: Uint8Array, from: number): number =>
    bytes[from] === missed ? Buffer.from(bytes.buffer, bytes.byteOffset + from).readUInt32BE(1) : 0
} as const

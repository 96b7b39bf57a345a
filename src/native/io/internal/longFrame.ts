/**
 * A frame that is longer than a chunk: it comes in parts, and is put together in memory that it
 * shares with no other lane.
 */
import { copyOctets } from "../../../schema/copyBytes.ts"

/** The frame under way on one lane. */
export class LongFrame {
  readonly bytes: Uint8Array
  #filled = 0

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
  }

  /** Appends a part; true when the frame is whole. */
  append(memory: Uint8Array, from: number, to: number): boolean {
    copyOctets(this.bytes, this.#filled, memory, from, to)
    this.#filled += to - from
    return this.#filled >= this.bytes.length
  }
}

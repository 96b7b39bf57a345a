/**
 * Neighbouring frames of one lane, where they were read.
 */

import { copyOf } from "../../schema/copyBytes.ts"

const none = new Int32Array(0)
const nothing = new Uint8Array(0)

/**
 * A batch of whole frames. One object serves all batches of a lane: it and its bytes are valid
 * during the handler's call; `copy` frames that must live longer.
 */
export class FrameBatch {
  /** The memory in which the frames lie. */
  bytes: Uint8Array = nothing
  count = 0
  #ends: Int32Array = none
  #first = 0
  #from = 0

  /** Returns where frame `index` starts in `bytes`. */
  start(index: number): number {
    return index === 0 ? this.#from : (this.#ends[this.#first + index - 1] ?? 0)
  }

  /** Returns where frame `index` ends in `bytes`. */
  end(index: number): number {
    return this.#ends[this.#first + index] ?? 0
  }

  /** Bytes of all frames together. */
  get byteLength(): number {
    return this.end(this.count - 1) - this.#from
  }

  /** All frames, one after the other, as a view that is valid during the handler's call. */
  get all(): Uint8Array {
    return this.bytes.subarray(this.#from, this.end(this.count - 1))
  }

  /** Copies frame `index`. */
  copy(index: number): Uint8Array {
    return copyOf(this.bytes, this.start(index), this.end(index))
  }

  /** Points the batch at frames; the library calls it before the handler. */
  set(bytes: Uint8Array, ends: Int32Array, first: number, count: number, from: number): this {
    this.bytes = bytes
    this.#ends = ends
    this.#first = first
    this.count = count
    this.#from = from
    return this
  }
}

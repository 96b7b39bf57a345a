/**
 * The bytes that a lane's user has sent and no job has taken yet, in reused buffers.
 *
 * A job takes bytes from the front, of one buffer at most; later bytes go with the next job. No
 * byte is moved within the queue.
 */
import { copyBytes } from "../../../schema/copyBytes.ts"
import { acquireBuffer, largestBuffer, releaseBuffer } from "./buffers.ts"

interface Part {
  readonly buffer: Uint8Array
  start: number
  end: number
}

/** A first-in first-out queue of bytes. */
export class SendQueue {
  readonly #parts: Array<Part> = []
  #length = 0
  readonly #prefix: Uint8Array | undefined

  /** With `commands`, each message is queued with its length in 4 bytes before it. */
  constructor(commands: boolean) {
    this.#prefix = commands ? new Uint8Array(4) : undefined
  }

  get length(): number {
    return this.#length
  }

  append(bytes: Uint8Array): void {
    if (this.#prefix !== undefined) {
      new DataView(this.#prefix.buffer).setUint32(0, bytes.length, true)
      this.#append(this.#prefix)
    }
    this.#append(bytes)
  }

  /** The first bytes, at most so many, as a view that is valid until they are dropped. */
  front(most: number): Uint8Array {
    const { buffer, end, start } = this.#parts[0]!
    return buffer.subarray(start, Math.min(end, start + most))
  }

  /** Drops the first bytes: a job has taken them. */
  drop(bytes: number): void {
    this.#length -= bytes
    for (let left = bytes; left > 0;) {
      const part = this.#parts[0]!
      const dropped = Math.min(left, part.end - part.start)
      part.start += dropped
      left -= dropped
      if (part.start < part.end) return
      this.#parts.shift()
      releaseBuffer(part.buffer)
    }
  }

  #append(bytes: Uint8Array): void {
    this.#length += bytes.length
    for (let at = 0; at < bytes.length;) {
      const part = this.#roomFor(bytes.length - at)
      const taken = Math.min(bytes.length - at, part.buffer.length - part.end)
      copyBytes(part.buffer, part.end, bytes, at, at + taken)
      part.end += taken
      at += taken
    }
  }

  /** The last part if it has room. After a first part that is full, many bytes are expected. */
  #roomFor(bytes: number): Part {
    const last = this.#parts.at(-1)
    if (last !== undefined && last.end < last.buffer.length) return last
    const buffer = acquireBuffer(last === undefined ? bytes : largestBuffer)
    const part = { buffer, start: 0, end: 0 }
    this.#parts.push(part)
    return part
  }
}

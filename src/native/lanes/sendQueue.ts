/**
 * The bytes that a lane's user has sent and no job has taken yet: bounded, in one buffer.
 *
 * A job takes bytes from the front; what is appended later goes with the next job. The
 * front moves by an offset, and bytes are moved only when half of the buffer is spent, so a
 * long queue of short messages costs linear time.
 */
const nothing = new Uint8Array(0)

/** Bytes that an empty queue may keep allocated. */
const keptBytes = 16_384

/** A first-in first-out queue of bytes. */
export class SendQueue {
  #buffer = nothing
  #start = 0
  #end = 0
  /** Bytes of a length before each message when messages are commands, otherwise 0. */
  readonly #prefix: number

  constructor(commands: boolean) {
    this.#prefix = commands ? 4 : 0
  }

  get length(): number {
    return this.#end - this.#start
  }

  append(bytes: Uint8Array): void {
    const at = this.#room(bytes.length + this.#prefix)
    if (this.#prefix > 0) {
      this.#buffer[at] = bytes.length
      this.#buffer[at + 1] = bytes.length >>> 8
      this.#buffer[at + 2] = bytes.length >>> 16
      this.#buffer[at + 3] = bytes.length >>> 24
    }
    this.#buffer.set(bytes, at + this.#prefix)
  }

  /** The first bytes, as a view that is valid until the next call. */
  front(bytes: number): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#start + bytes)
  }

  /** Drops the first bytes: a job has taken them. */
  drop(bytes: number): void {
    this.#start += bytes
    if (this.#start < this.#end) return
    this.#start = this.#end = 0
    if (this.#buffer.length > keptBytes) this.#buffer = nothing
  }

  /** Makes room for so many bytes at the end and returns where they go. */
  #room(bytes: number): number {
    const needed = this.length + bytes
    if (this.#end + bytes > this.#buffer.length) {
      if (needed * 2 <= this.#buffer.length) {
        this.#buffer.copyWithin(0, this.#start, this.#end)
      } else {
        const grown = new Uint8Array(Math.max(1024, needed * 2))
        grown.set(this.#buffer.subarray(this.#start, this.#end))
        this.#buffer = grown
      }
      this.#end -= this.#start
      this.#start = 0
    }
    const at = this.#end
    this.#end += bytes
    return at
  }
}

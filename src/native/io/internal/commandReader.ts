/**
 * Splits the commands of a lane's user, each of which has a length of 4 bytes before it. A command
 * that is longer than a record comes in parts and is assembled in a buffer.
 */
const prefixBytes = 4

/** The receiving end of one lane's commands. */
export class CommandReader {
  readonly #prefix = new Uint8Array(prefixBytes)
  #prefixed = 0
  /** The command that came in part, and how much of it. */
  #partial: Uint8Array | undefined
  #filled = 0

  /** Calls `command` for each command that the bytes complete; the bytes are valid in the call. */
  push(bytes: Uint8Array, command: (bytes: Uint8Array, from: number, to: number) => void): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#partial !== undefined) {
        at = this.#fill(this.#partial, bytes, at)
        if (this.#filled < this.#partial.length) return
        const whole = this.#partial
        this.#partial = undefined
        command(whole, 0, whole.length)
        continue
      }
      this.#prefix[this.#prefixed++] = bytes[at++]!
      if (this.#prefixed < prefixBytes) continue
      this.#prefixed = 0
      const length = new DataView(this.#prefix.buffer).getUint32(0, true)
      if (at + length <= bytes.length) {
        command(bytes, at, at + length)
        at += length
      } else {
        this.#partial = new Uint8Array(length)
        this.#filled = 0
      }
    }
  }

  #fill(partial: Uint8Array, bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + partial.length - this.#filled)
    partial.set(bytes.subarray(at, end), this.#filled)
    this.#filled += end - at
    return end
  }
}

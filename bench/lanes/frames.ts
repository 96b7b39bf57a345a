/**
 * The benches' protocol: frames behind a little-endian 32-bit length that counts itself.
 */
import type { Framer } from "../../src/native/io/Framer.ts"

/** The whole length of the frame at `from`, or 0. */
export const frameLength = (bytes: Uint8Array, from: number, to: number): number =>
  to - from < 4
    ? 0
    : bytes[from]! | (bytes[from + 1]! << 8) | (bytes[from + 2]! << 16) | (bytes[from + 3]! << 24)

/** Frames of `size` bytes, so many that they fill about `bytes`. */
export const framesOf = (size: number, bytes: number): Uint8Array => {
  const count = Math.max(1, Math.floor(bytes / size))
  const block = new Uint8Array(count * size)
  const view = new DataView(block.buffer)
  for (let i = 0; i < count; i++) {
    view.setUint32(i * size, size, true)
    block[i * size + 4] = i
  }
  return block
}

export default {
  maxFrameBytes: 1_048_576,
  open: () => ({ length: frameLength })
} satisfies Framer

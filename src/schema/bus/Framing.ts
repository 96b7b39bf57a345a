/**
 * Finds where a frame ends. A stream that starts with anything but a frame is refused as soon as
 * the bytes show it.
 */
import type { FramingFault } from "./Fault.ts"
import { headerBytes, lightBit, lightHeaderBytes, prefixBytes } from "./Layout.ts"

const signatureBytes = [0x52, 0x43, 0x6d, 0x62]

const uint32At = (bytes: Uint8Array, at: number): number =>
  bytes[at]! * 0x100_0000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!)

/**
 * Returns the length of the frame that starts at `from`, 0 while the bytes up to `to` do not tell
 * it, or what is wrong. The length is the peer's claim: compare it with a limit before memory is
 * taken for it.
 */
export const frameLength = (bytes: Uint8Array, from: number, to: number): number | FramingFault => {
  const seen = Math.min(to - from, signatureBytes.length)
  for (let k = 0; k < seen; k++) {
    if (bytes[from + k] !== signatureBytes[k]) return { _tag: "WrongSignature" }
  }
  if (to - from < 8) return 0
  const length = uint32At(bytes, from + 4)
  const isKnown = to - from >= prefixBytes
  const isLight = isKnown && ((bytes[from + 12]! << 8) & lightBit) !== 0
  const leastBytes = isKnown && !isLight ? headerBytes : lightHeaderBytes
  if (length < leastBytes) return { _tag: "FrameTooShort", length, leastBytes }
  return isKnown ? length : 0
}

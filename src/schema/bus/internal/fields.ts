/** Reads the texts of a frame where they lie. */
import { idBytes } from "../Layout.ts"

/** Whether a node id, forty lower-case hex digits, lies at `at`. */
export const isIdAt = (bytes: Uint8Array, at: number): boolean => {
  for (let k = at; k < at + idBytes; k++) {
    const byte = bytes[k]!
    const isDigit = byte >= 0x30 && byte <= 0x39
    if (!isDigit && (byte < 0x61 || byte > 0x66)) return false
  }
  return true
}

/** Whether nothing but zeros lies in `[from, to)`. */
export const isZero = (bytes: Uint8Array, from: number, to: number): boolean => {
  for (let k = from; k < to; k++) if (bytes[k] !== 0) return false
  return true
}

/** The end of the text that starts at `from`: its NUL, or `to` without one. */
export const textEnd = (bytes: Uint8Array, from: number, to: number): number => {
  let at = from
  while (at < to && bytes[at] !== 0) at++
  return at
}

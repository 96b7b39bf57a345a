/** Whatever comes, as it comes: for a look at what speaks at an address. */
import type { Framer } from "../../../native/io/Framer.ts"

/** Longest piece in bytes. More that has come together is the next piece. */
const maxFrameBytes = 65_536

export default {
  maxFrameBytes,
  open: () => ({ length: (_bytes, from, to) => Math.min(to - from, maxFrameBytes) })
} satisfies Framer

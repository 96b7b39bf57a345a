/** The framer of protocols that cut their stream themselves. See `Framer.bytes`. */
import type { Framer } from "./Framer.ts"

/** The most that one delivery brings: more than one read ever does. */
const maxFrameBytes = 1_048_576

export default {
  maxFrameBytes,
  open: () => ({ length: (_bytes, from, to) => to - from })
} satisfies Framer

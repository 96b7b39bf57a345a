/** The framer of frames with a length prefix. See `Framer.lengthPrefixed`. */
import { type Framer, FrameRefusal, type LengthPrefixedOptions } from "./Framer.ts"

const prefixBytes = 4

/** The largest `maxBodyBytes`: frames of untrusted peers are assembled in memory. */
const mostBodyBytes = 67_108_864

export default {
  maxFrameBytes: prefixBytes + mostBodyBytes,
  open: (_port, options) => {
    const { maxBodyBytes = 1_048_576 } = (options ?? {}) as LengthPrefixedOptions
    if (!(maxBodyBytes >= 0 && maxBodyBytes <= mostBodyBytes)) {
      throw new RangeError(`maxBodyBytes is ${maxBodyBytes}, at most ${mostBodyBytes}`)
    }
    return {
      length: (bytes, from, to) => {
        if (to - from < prefixBytes) return 0
        const low = (bytes[from + 1]! << 16) | (bytes[from + 2]! << 8) | bytes[from + 3]!
        const length = bytes[from]! * 16_777_216 + low
        if (length <= maxBodyBytes) return prefixBytes + length
        throw new FrameRefusal(`a body of ${length} bytes, at most ${maxBodyBytes}`)
      }
    }
  }
} satisfies Framer

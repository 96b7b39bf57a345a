/**
 * Writes bytes that the caller will use again, by a copy in a buffer that is used again too.
 */
import { strict as assert } from "node:assert"
import type { Writable } from "node:stream"
import { copyOctets } from "../../../schema/copyBytes.ts"
import { acquireBuffer, releaseBuffer } from "./buffers.ts"

/** Writes `bytes[from, to)`, at most the largest buffer. */
export const writeCopy = (
  stream: Writable,
  bytes: Uint8Array,
  from: number,
  to: number,
  written: (error: Error | null | undefined) => void
): void => {
  const buffer = acquireBuffer(to - from)
  assert(to - from <= buffer.length)
  copyOctets(buffer, 0, bytes, from, to)
  stream.write(buffer.subarray(0, to - from), (error) => {
    // A write that failed may be under way still.
    if (error == null) releaseBuffer(buffer)
    written(error)
  })
}

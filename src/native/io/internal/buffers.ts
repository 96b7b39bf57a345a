/**
 * Reused buffers of a thread: memory outside of V8's heap costs more to allocate and to collect
 * than to fill, and is freed late.
 */

import { strict as assert } from "node:assert"
import { copyBytes } from "../../../schema/copyBytes.ts"
import type { Connection } from "./platform.ts"
/**
 * A small size and the size of a whole write job. Jobs that take long hold their buffer, so the
 * small ones save memory when many peers hardly read.
 */
const sizes = [4_096, 65_536] as const

/** Bytes of the largest buffer. */
export const largestBuffer = sizes[1]

/** Bytes of each size that a thread keeps. */
const keptBytes = 16_777_216

const kept: Record<number, Array<Uint8Array>> = Object.fromEntries(sizes.map((size) => [size, []]))

/** A buffer of at least so many bytes, or the largest. Its content is not cleared. */
export const acquireBuffer = (bytes: number): Uint8Array => {
  const size = bytes <= sizes[0] ? sizes[0] : sizes[1]
  return kept[size]!.pop() ?? new Uint8Array(size)
}

/** Returns a buffer that nothing reads or writes any more. */
export const releaseBuffer = (buffer: Uint8Array): void => {
  const free = kept[buffer.length]
  if (free !== undefined && free.length * buffer.length < keptBytes) free.push(buffer)
}

/** Writes `bytes[from, to)`, at most the largest buffer. */
export const writeCopy = (
  stream: Pick<Connection, "write">,
  bytes: Uint8Array,
  from: number,
  to: number,
  written: (error: Error | null | undefined) => void
): void => {
  const buffer = acquireBuffer(to - from)
  assert(to - from <= buffer.length)
  copyBytes(buffer, 0, bytes, from, to)
  stream.write(buffer.subarray(0, to - from), (error) => {
    // A failed write may still be under way.
    if (error == null) releaseBuffer(buffer)
    written(error)
  })
}

/** Bytes that are counted at most for one buffer: V8 collects long before. */
const largest = 2 ** 26

export const countGarbage = (bytes: number): void => {
  const maxByteLength = Math.min(bytes, largest)
  new ArrayBuffer(0, { maxByteLength }).resize(maxByteLength)
}

/**
 * Counts shared memory as garbage of this thread.
 *
 * V8 collects when a thread has made enough garbage, and does not count shared memory: a thread
 * that only passes it on would keep all of it for as long as it makes little else. So whoever lets
 * go of shared memory makes garbage of the same size, which takes address space but no memory: its
 * pages are never touched.
 */

/** Bytes that are counted at most for one buffer: V8 collects long before. */
const largest = 2 ** 26

export const countGarbage = (bytes: number): void => {
  const maxByteLength = Math.min(bytes, largest)
  new ArrayBuffer(0, { maxByteLength }).resize(maxByteLength)
}

/**
 * Copies `source[from, to)` to `target` at `at`.
 *
 * `TypedArray.set` copies byte by byte when either side is shared memory and the two are not
 * equally aligned; Node's own copy always moves memory, and needs no view for a part.
 */
export const copyBytes = (
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  to: number
): number => Buffer.prototype.copy.call(source, target, at, from, to)

/** Bytes up to which an array is in V8's heap: Node's copy would first move it out. */
const inHeap = 64

/** Copies `source[from, to)` to new memory. */
export const copyOf = (source: Uint8Array, from: number, to: number): Uint8Array => {
  if (to - from <= inHeap) return Uint8Array.prototype.slice.call(source, from, to)
  const copy = new Uint8Array(to - from)
  copyBytes(copy, 0, source, from, to)
  return copy
}

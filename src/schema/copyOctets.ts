/**
 * Copies `source[from, to)` to `target` at `at`.
 *
 * `TypedArray.set` copies octet by octet when either side is shared memory and the two are not
 * equally aligned; Node's own copy always moves memory, and needs no view for a part.
 */
export const copyOctets = (
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  to: number
): number => Buffer.prototype.copy.call(source, target, at, from, to)

/**
 * Calls between ends of this library that no program sees: a client says which of its calls were
 * interrupted, so that their handlers end and are answered.
 */
/** A transient program number (RFC 5531, 8.1). */
export const control = { program: 0x4866_7374, version: 1, interrupt: 1 } as const

/** XIDs in one call: as many fit inline on every connection. */
export const maxInterrupts = 128

export const encodeInterrupts = (xids: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(4 * (xids.length + 1))
  const view = new DataView(bytes.buffer)
  for (const [index, word] of [xids.length, ...xids].entries()) view.setUint32(4 * index, word)
  return bytes
}

/** Undefined if the bytes are not what a client of this library sends. */
export const decodeInterrupts = (bytes: Uint8Array): ReadonlyArray<number> | undefined => {
  const count = bytes.length / 4 - 1
  if (!Number.isInteger(count) || count < 0 || count > maxInterrupts) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(0) !== count) return undefined
  return Array.from({ length: count }, (_, index) => view.getUint32(4 * (index + 1)))
}

/**
 * Memory that a peer may access by itself, and the translation of its addresses.
 */

/**
 * Memory that a peer may name by an STag. Offsets on the wire start at `base`, which must be a
 * safe integer.
 */
export interface Region {
  readonly base: number
  readonly length: number
  /** The protection domain it belongs to. */
  readonly domain: number
  readonly remoteWrite: boolean
  readonly remoteRead: boolean
  readonly remoteAtomic: boolean
}

const beyondSafe = 0x200000
const twoTo32 = 0x1_0000_0000

/** The results of `locate` for an access outside of the region. */
export const AccessError = { wraps: -1, outside: -2 } as const

/** The offset in a region of `length` bytes at a 64-bit offset, or an `AccessError`. */
export const locate = (region: Region, high: number, low: number, length: number): number => {
  if (high === 0xffffffff && low + length > twoTo32) return AccessError.wraps
  if (high >= beyondSafe) return AccessError.outside
  const at = high * twoTo32 + low - region.base
  return at < 0 || at + length > region.length ? AccessError.outside : at
}

/**
 * The messages of RDMAP that are all header: read requests, atomic requests, and atomic responses
 * (RFC 5040, 4.4; RFC 7306, 5.2).
 */

export interface ReadRequest {
  readonly sinkStag: number
  readonly sinkOffset: bigint
  readonly length: number
  readonly sourceStag: number
  readonly sourceOffset: bigint
}

/**
 * `fetchAdd` adds `data` within the fields that `mask` separates; `compareSwap` stores `data` where
 * `mask` has bits, if the bits of `compareMask` are those of `compare`.
 */
export interface AtomicRequest {
  readonly operation: "fetchAdd" | "compareSwap"
  readonly request: number
  readonly stag: number
  readonly offset: bigint
  readonly data: bigint
  readonly mask: bigint
  readonly compare: bigint
  readonly compareMask: bigint
}

export interface AtomicResponse {
  readonly request: number
  readonly original: bigint
}

export const readRequestBytes = 28

export const atomicRequestBytes = 52

export const atomicResponseBytes = 12

export const immediateBytes = 8

const operations = { fetchAdd: 0, compareSwap: 2 } as const

export const writeReadRequest = (out: DataView, at: number, from: ReadRequest): void => {
  out.setUint32(at, from.sinkStag)
  out.setBigUint64(at + 4, from.sinkOffset)
  out.setUint32(at + 12, from.length)
  out.setUint32(at + 16, from.sourceStag)
  out.setBigUint64(at + 20, from.sourceOffset)
}

export const readReadRequest = (view: DataView, at: number): ReadRequest => ({
  sinkStag: view.getUint32(at),
  sinkOffset: view.getBigUint64(at + 4),
  length: view.getUint32(at + 12),
  sourceStag: view.getUint32(at + 16),
  sourceOffset: view.getBigUint64(at + 20)
})

export const writeAtomicRequest = (out: DataView, at: number, from: AtomicRequest): void => {
  out.setUint32(at, operations[from.operation])
  out.setUint32(at + 4, from.request)
  out.setUint32(at + 8, from.stag)
  out.setBigUint64(at + 12, from.offset)
  out.setBigUint64(at + 20, from.data)
  out.setBigUint64(at + 28, from.mask)
  out.setBigUint64(at + 36, from.compare)
  out.setBigUint64(at + 44, from.compareMask)
}

/** Reads an atomic request; undefined for an unknown operation. */
export const readAtomicRequest = (view: DataView, at: number): AtomicRequest | undefined => {
  const code = view.getUint8(at + 3) & 0x0f
  if (code !== operations.fetchAdd && code !== operations.compareSwap) return undefined
  return {
    operation: code === operations.fetchAdd ? "fetchAdd" : "compareSwap",
    request: view.getUint32(at + 4),
    stag: view.getUint32(at + 8),
    offset: view.getBigUint64(at + 12),
    data: view.getBigUint64(at + 20),
    mask: view.getBigUint64(at + 28),
    compare: view.getBigUint64(at + 36),
    compareMask: view.getBigUint64(at + 44)
  }
}

export const writeAtomicResponse = (out: DataView, at: number, from: AtomicResponse): void => {
  out.setUint32(at, from.request)
  out.setBigUint64(at + 4, from.original)
}

export const readAtomicResponse = (view: DataView, at: number): AtomicResponse => ({
  request: view.getUint32(at),
  original: view.getBigUint64(at + 4)
})

const allBits = 0xffff_ffff_ffff_ffffn

/**
 * The result of an atomic operation on `original`.
 *
 * A bit of a Fetch and Add's mask ends a field: no carry leaves it. With no bit set there is one
 * field of 64 bits.
 */
export const applyAtomic = (original: bigint, from: AtomicRequest): bigint => {
  if (from.operation === "compareSwap") {
    if (((original ^ from.compare) & from.compareMask) !== 0n) return original
    return (original & ~from.mask & allBits) | (from.data & from.mask)
  }
  const within = ~from.mask & allBits
  return (
    (((original & within) + (from.data & within)) ^ ((original ^ from.data) & from.mask)) & allBits
  )
}

/**
 * Registered memory, which work requests may use, and peers by a key.
 *
 * Memory is a `SharedArrayBuffer`, so a worker or a device moves its bytes while the event loop is
 * busy. Several regions may share one buffer, each with separate keys and rights.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * Rights on a region. `local-write`: receives, reads and results of atomic operations may
 * be placed in it; a peer may only write where this side may.
 */
export const Access = Schema.Literals([
  "local-write",
  "remote-write",
  "remote-read",
  "remote-atomic"
])

export type Access = typeof Access.Type

/** The memory to register: new memory, or a part of a buffer. */
export interface Options {
  /** The buffer, or the number of bytes to allocate. */
  readonly memory: SharedArrayBuffer | number
  /** The offset of the region in the buffer. Default 0. */
  readonly offset?: number | undefined
  /** Bytes of the region. Default: up to the end of the buffer. */
  readonly length?: number | undefined
  /** Default: `local-write`. */
  readonly access?: ReadonlyArray<Access> | undefined
}

/**
 * A registered region. It is released with its Scope: later messages of the peer to it are refused,
 * and so is posted work that names it.
 */
export interface Region {
  readonly memory: SharedArrayBuffer
  /** Its offset in `memory`. */
  readonly offset: number
  readonly length: number
  /** The region's bytes. */
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly access: ReadonlyArray<Access>
  /**
   * The address of the first byte for peers; a safe integer. A buffer has one address on all
   * devices of a provider, so this only differs by `offset`.
   */
  readonly address: number
  /** Names the region to the local device. Hard to guess. */
  readonly localKey: number
  /** Names the region to peers, 32 bits, hard to guess. 0 while no peer may access it. */
  readonly remoteKey: number
  /**
   * Draws a new remote key; the old one is void as soon as the provider can void it. For memory
   * that is lent to one peer after the other. Returns 0, and sets no key, if the old one may still
   * be in use: `revoke` then waits until it is not.
   */
  renewKey(): number
  /**
   * Voids the remote key. Once this returns, no peer accesses the region any more: only then may
   * its bytes be used for another peer.
   */
  readonly revoke: Effect.Effect<void>
}

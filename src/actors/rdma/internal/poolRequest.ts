/** Regions of a pool, and requests for them. */
import * as Deferred from "effect/Deferred"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Access, Region } from "../../../native/verbs/Region.ts"

/** The user of borrowed memory: the peer reads it, the peer writes it, or only this side does. */
export type Use = "peer-reads" | "peer-writes" | "local"

/** Rights of peers on a region: one that they read is never written by them. */
export const rights: Record<Use, ReadonlyArray<Access>> = {
  "peer-reads": ["remote-read"],
  "peer-writes": ["local-write", "remote-write"],
  local: ["local-write"]
}

/** Regions of one key are alike. */
export const keyOf = (use: Use, regionBytes: number): string => `${use} ${regionBytes}`

/** A requested piece of memory. */
export interface Want {
  readonly use: Use
  readonly bytes: number
}

/** The limit of one connection, and its use of it. */
export interface Share {
  readonly maxBytes: number
  /** Bytes of the regions that it has borrowed. */
  lentBytes: number
}

/** A registered region and its history. */
export interface Slot {
  readonly region: Region
  readonly use: Use
  readonly scope: Scope.Closeable
  /** The share that borrowed it last, and how many of its bytes that peer may have sent. */
  lastShare: Share | undefined
  dirtyBytes: number
}

/** A piece of a request: with a slot, or with the right to register one, once it is granted. */
export interface Item extends Want {
  /** Bytes of the region. */
  readonly regionBytes: number
  slot: Slot | undefined
}

/** More memory than the pool or the share of the connection will ever lend. */
export class LoanTooLarge extends Schema.TaggedError<LoanTooLarge>("handfast/rdma/LoanTooLarge")(
  "LoanTooLarge",
  { bytes: Schema.Int, limit: Schema.Int }
) {
  override get message() {
    return `${this.bytes} bytes of registered memory wanted; at most ${this.limit} are lent`
  }
}

/**
 * Memory that is granted together, because borrowers could wait for each other's memory for ever.
 */
export class Request<E> {
  readonly share: Share
  readonly items: ReadonlyArray<Item>
  readonly bytes: number
  readonly isGranted = Deferred.makeUnsafe<void, E>()
  evicted: ReadonlyArray<Slot> = []

  constructor(share: Share, items: ReadonlyArray<Item>) {
    this.share = share
    this.items = items
    this.bytes = items.reduce((sum, { regionBytes }) => sum + regionBytes, 0)
  }
}

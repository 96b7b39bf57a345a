/** What a pool keeps of its regions, and of the requests for them. */
import * as Deferred from "effect/Deferred"
import type * as Scope from "effect/Scope"
import type { Region } from "../../../native/verbs/Region.ts"
import type { PoolShare, Use, Want } from "../RegionPool.ts"

/** A registered region and its history. */
export interface Slot {
  readonly region: Region
  readonly use: Use
  readonly scope: Scope.Closeable
  /** The share that borrowed it last, and how many of its bytes may hold what that peer sent. */
  lastShare: PoolShare | undefined
  dirtyBytes: number
}

/** A want of a request: with a slot, or with the right to register one, once it is granted. */
export interface Item extends Want {
  /** Bytes of the region. */
  readonly regionBytes: number
  slot: Slot | undefined
}

/** Memory that is granted together: borrowers that wait for each other's memory would never end. */
export class Request {
  readonly share: PoolShare
  readonly items: ReadonlyArray<Item>
  readonly bytes: number
  readonly isGranted = Deferred.makeUnsafe<void>()
  evicted: ReadonlyArray<Slot> = []

  constructor(share: PoolShare, items: ReadonlyArray<Item>) {
    this.share = share
    this.items = items
    this.bytes = items.reduce((sum, { regionBytes }) => sum + regionBytes, 0)
  }
}

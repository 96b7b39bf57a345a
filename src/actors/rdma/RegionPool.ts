/**
 * Registered memory that is lent to one peer after the other.
 *
 * Registering memory costs some hundred microseconds, a new key less than four. So regions stay
 * registered, and each loan draws a key that no peer had before. A key opens the whole region:
 * regions that peers read are never remote-writable, those that they write are never
 * remote-readable, and a region is cleared before it goes from one peer to another.
 *
 * A share limits the loans of one connection. A request that fits into its share waits for memory
 * in the order of arrival; one that can never fit is refused at once.
 */

import { ok as assert } from "node:assert/strict"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { ProtectionDomain } from "../../native/verbs/Device.ts"
import type { Region } from "../../native/verbs/Region.ts"
import { type CreateError, Released } from "../../native/verbs/VerbsError.ts"
import {
  type Item,
  keyOf,
  LoanTooLarge,
  Request,
  rights,
  type Share,
  type Slot,
  type Use,
  type Want
} from "./internal/poolRequest.ts"

export { LoanTooLarge }
export type { Use, Want }

export interface Settings {
  /** Bytes registered at most. Default 64 MiB: 64 calls of 1 MiB. */
  readonly maxBytes?: number | undefined
  /** Region lengths are powers of two, from this on. Default 4096, a page. */
  readonly minRegionBytes?: number | undefined
}

/** Borrowed memory. It must be returned by `end`, after all posted work that uses it. */
export interface Loan {
  readonly region: Region
  /** The requested bytes; the region may be longer. */
  readonly bytes: Uint8Array<SharedArrayBuffer>
  /** The key for the peer; 0 if only this side uses the memory. */
  readonly key: number
  readonly address: number
  /** Voids the key. Only after that is the content final. Idempotent. */
  readonly revoke: Effect.Effect<void>
  /** Voids the key and draws another one for the same peer. False if the key cannot be voided. */
  readonly renew: Effect.Effect<boolean>
  /** Voids the key and returns the memory. Idempotent. */
  readonly end: Effect.Effect<void>
}

/** The loans of one connection, and their limit. */
export class PoolShare implements Share {
  readonly maxBytes: number
  /** Bytes of the regions that it has borrowed. */
  lentBytes = 0
  readonly #pool: RegionPool

  constructor(pool: RegionPool, maxBytes: number) {
    this.#pool = pool
    this.maxBytes = maxBytes
  }

  /**
   * Borrows memory. Acquire it as a resource (`Effect.acquireUseRelease`): waiting for memory is
   * interruptible even there.
   */
  lend(use: Use, bytes: number): Effect.Effect<Loan, LoanTooLarge | CreateError> {
    return Effect.map(this.lendAll([{ use, bytes }]), ([loan]) => loan!)
  }

  /** Borrows several pieces at once, so that no borrower keeps one while it waits for another. */
  lendAll(
    wants: ReadonlyArray<Want>
  ): Effect.Effect<ReadonlyArray<Loan>, LoanTooLarge | CreateError> {
    return this.#pool.lend(this, wants)
  }
}

type LoanRequest = Request<LoanTooLarge | Released>

export class RegionPool {
  /** Regions whose key could not be voided. They are lent no more. */
  withdrawn = 0
  readonly #domain: ProtectionDomain
  readonly #scope: Scope.Scope
  #maxBytes: number
  readonly #minRegionBytes: number
  readonly #idle = new Map<string, Array<Slot>>()
  /** Requests that wait, in the order of arrival. */
  readonly #waiting: Array<LoanRequest> = []
  #isClosed = false
  #registeredBytes = 0
  #idleBytes = 0

  constructor(domain: ProtectionDomain, scope: Scope.Scope, settings: Settings) {
    const { maxBytes = 64 << 20, minRegionBytes = 4_096 } = settings
    this.#domain = domain
    this.#scope = scope
    this.#maxBytes = maxBytes
    this.#minRegionBytes = minRegionBytes
  }

  /** Makes a pool whose regions live as long as the Scope. */
  static readonly make = (
    domain: ProtectionDomain,
    settings: Settings = {}
  ): Effect.Effect<RegionPool, never, Scope.Scope> =>
    Effect.gen(function* () {
      const scope = yield* Scope.fork(yield* Effect.scope)
      const pool = new RegionPool(domain, scope, settings)
      yield* Effect.addFinalizer(() => Effect.sync(() => pool.#close()))
      return pool
    })

  /** Bytes that are registered, and those of them that are not lent. */
  get usage(): { readonly registeredBytes: number; readonly idleBytes: number } {
    return { registeredBytes: this.#registeredBytes, idleBytes: this.#idleBytes }
  }

  /** Makes the share of a connection. Default: the whole pool. */
  share(maxBytes = this.#maxBytes): PoolShare {
    return new PoolShare(this, Math.min(maxBytes, this.#maxBytes))
  }

  /** Borrows memory for a share. */
  lend(
    share: PoolShare,
    wants: ReadonlyArray<Want>
  ): Effect.Effect<ReadonlyArray<Loan>, LoanTooLarge | CreateError> {
    return Effect.suspend(() => {
      const regionBytes = (bytes: number) =>
        Math.max(this.#minRegionBytes, 2 ** Math.ceil(Math.log2(bytes)))
      const items = wants.map((want) => ({
        ...want,
        regionBytes: regionBytes(want.bytes),
        slot: undefined
      }))
      const request: LoanRequest = new Request(share, items)
      const refused = this.#refusalOf(request)
      if (refused !== undefined) return Effect.fail(refused)
      return Effect.flatMap(this.#lend(request), (loans) =>
        loans === undefined ? this.lend(share, wants) : Effect.succeed(loans)
      )
    })
  }

  /** Why a request can never be granted. */
  #refusalOf({ bytes, share }: LoanRequest): LoanTooLarge | Released | undefined {
    if (this.#isClosed) return new Released({ resource: "region pool", reason: "released" })
    const limit = Math.min(share.maxBytes, this.#maxBytes)
    return bytes > limit ? new LoanTooLarge({ bytes, limit }) : undefined
  }

  /** The regions are about to be released. */
  #close(): void {
    this.#isClosed = true
    this.#grant()
  }

  /** Fulfils one request. Returns undefined if a region that it got had to be withdrawn. */
  #lend(
    request: LoanRequest
  ): Effect.Effect<ReadonlyArray<Loan> | undefined, LoanTooLarge | CreateError> {
    return Effect.uninterruptible(
      Effect.suspend(() => {
        this.#waiting.push(request)
        this.#grant()
        return Effect.interruptible(Deferred.await(request.isGranted)).pipe(
          Effect.onInterrupt(() => Effect.sync(() => this.#cancel(request))),
          Effect.andThen(this.#open(request))
        )
      })
    )
  }

  /**
   * Grants requests in order. A request that waits for its share lets requests of other shares
   * pass; one that waits for the pool does not, so that small requests do not starve a large one.
   */
  #grant(): void {
    const full = new Set<Share>()
    for (let index = 0; index < this.#waiting.length;) {
      const request = this.#waiting[index]!
      const { bytes, share } = request
      const refused = this.#refusalOf(request)
      if (refused !== undefined) {
        this.#waiting.splice(index, 1)
        Deferred.doneUnsafe(request.isGranted, Effect.fail(refused))
        continue
      }
      if (full.has(share) || share.lentBytes + bytes > share.maxBytes) {
        full.add(share)
        index++
        continue
      }
      if (!this.#reserve(request)) return
      this.#waiting.splice(index, 1)
      share.lentBytes += bytes
      Deferred.doneUnsafe(request.isGranted, Effect.void)
    }
  }

  /** Takes idle regions, or makes room to register them. False if there is no room. */
  #reserve(request: LoanRequest): boolean {
    let missingBytes = 0
    for (const item of request.items) {
      item.slot = this.#idle.get(keyOf(item.use, item.regionBytes))?.pop()
      if (item.slot === undefined) missingBytes += item.regionBytes
      else this.#idleBytes -= item.regionBytes
    }
    if (this.#registeredBytes - this.#idleBytes + missingBytes > this.#maxBytes) {
      for (const { slot } of request.items) if (slot !== undefined) this.#putIdle(slot)
      return false
    }
    request.evicted = this.#evict(missingBytes)
    this.#registeredBytes += missingBytes
    return true
  }

  /** Removes idle regions of other sizes or uses until that many bytes can be registered. */
  #evict(bytes: number): ReadonlyArray<Slot> {
    const evicted: Array<Slot> = []
    for (const slots of this.#idle.values()) {
      while (this.#registeredBytes + bytes > this.#maxBytes && slots.length > 0) {
        const slot = slots.pop()!
        this.#registeredBytes -= slot.region.length
        this.#idleBytes -= slot.region.length
        evicted.push(slot)
      }
    }
    assert(this.#registeredBytes + bytes <= this.#maxBytes)
    return evicted
  }

  /** Undoes a request whose borrower was interrupted, before or after the grant. */
  #cancel(request: LoanRequest): void {
    const index = this.#waiting.indexOf(request)
    if (index >= 0) this.#waiting.splice(index, 1)
    else for (const item of request.items) this.#giveBack(item, request.share)
  }

  /** Registers missing regions, and draws a key for each region. */
  #open(request: LoanRequest): Effect.Effect<ReadonlyArray<Loan> | undefined, CreateError> {
    const { evicted, items, share } = request
    const registering = Effect.gen({ self: this }, function* () {
      yield* Effect.forEach(evicted, ({ scope }) => Scope.close(scope, Exit.void))
      for (const item of items) item.slot ??= yield* this.#register(item)
    })
    return registering.pipe(
      Effect.onError(() =>
        Effect.sync(() => {
          for (const item of items) this.#giveBack(item, share)
        })
      ),
      Effect.andThen(() => {
        const loans = items.map((item) => this.#issue(item, share))
        return loans.every((loan) => loan !== undefined)
          ? Effect.succeed(loans)
          : Effect.as(
              Effect.forEach(loans, (loan) => loan?.end ?? Effect.void),
              undefined
            )
      })
    )
  }

  /** Clears bytes of another peer, and draws a key. Undefined if the last key is still open. */
  #issue(item: Item, share: Share): Loan | undefined {
    const slot = item.slot!
    const { region } = slot
    if (slot.lastShare !== share) {
      region.bytes.fill(0, 0, slot.dirtyBytes)
      slot.dirtyBytes = 0
      slot.lastShare = share
    }
    // A peer may write the whole region, this side only the requested bytes.
    const dirtyBytes = item.use === "peer-writes" ? region.length : item.bytes
    slot.dirtyBytes = Math.max(slot.dirtyBytes, dirtyBytes)
    const key = item.use === "local" ? 0 : region.renewKey()
    if (item.use === "local" || key !== 0) return this.#loanOf(slot, item, share, key)
    if (this.#isClosed) {
      this.#giveBack(item, share)
      return undefined
    }
    this.withdrawn++
    this.#maxBytes -= item.regionBytes
    this.#registeredBytes -= item.regionBytes
    share.lentBytes -= item.regionBytes
    this.#grant()
    return undefined
  }

  #loanOf(slot: Slot, item: Item, share: Share, firstKey: number): Loan {
    let [isLent, key] = [true, firstKey]
    const { region } = slot
    const isOurs = Effect.sync(() => isLent && slot.use !== "local")
    const revoke = Effect.uninterruptible(Effect.when(region.revoke, isOurs))
    const renewed = (): boolean => (key = isLent ? region.renewKey() : 0) !== 0
    const giveBack = Effect.sync(() => {
      if (!isLent) return
      isLent = false
      this.#giveBack(item, share)
    })
    return {
      region,
      bytes: region.bytes.subarray(0, item.bytes),
      get key() {
        return key
      },
      address: region.address,
      revoke: Effect.asVoid(revoke),
      renew: Effect.uninterruptible(Effect.map(revoke, renewed)),
      end: Effect.uninterruptible(Effect.andThen(revoke, giveBack))
    }
  }

  #register({ regionBytes, use }: Item): Effect.Effect<Slot, CreateError> {
    return Effect.gen({ self: this }, function* () {
      const scope = yield* Scope.fork(this.#scope)
      const options = { memory: regionBytes, access: rights[use] }
      const region = yield* Scope.provide(this.#domain.register(options), scope)
      return { region, use, scope, lastShare: undefined, dirtyBytes: 0 }
    })
  }

  #giveBack({ regionBytes, slot }: Item, share: Share): void {
    share.lentBytes -= regionBytes
    if (slot === undefined) this.#registeredBytes -= regionBytes
    else this.#putIdle(slot)
    this.#grant()
  }

  #putIdle(slot: Slot): void {
    const { region, use } = slot
    const key = keyOf(use, region.length)
    const slots = this.#idle.get(key)
    if (slots === undefined) this.#idle.set(key, [slot])
    else slots.push(slot)
    this.#idleBytes += region.length
  }
}

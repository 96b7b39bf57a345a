/**
 * Registered memory that is lent to one peer after the other.
 *
 * Registering memory costs some hundred microseconds, a new key less than four. So regions stay
 * registered, and each loan draws a key that no peer had before. What a key opens is the whole
 * region: regions that peers read are never remote-writable, those that they write are never
 * remote-readable, and a region is cleared before it goes from one peer to another.
 *
 * A share bounds what one connection borrows. A request that fits into its share waits for memory
 * in the order of arrival; one that can never fit is refused at once.
 */
import { ok as assert } from "node:assert/strict"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { ProtectionDomain } from "../../native/verbs/Device.ts"
import type { Access, Region } from "../../native/verbs/Region.ts"
import type { CreateError } from "../../native/verbs/VerbsError.ts"

/** Who uses borrowed memory: the peer reads it, the peer writes it, or only this side does. */
export type Use = "peer-reads" | "peer-writes" | "local"

const rights: Record<Use, ReadonlyArray<Access>> = {
  "peer-reads": ["remote-read"],
  "peer-writes": ["local-write", "remote-write"],
  local: ["local-write"]
}

export interface Settings {
  /** Bytes registered at most. Default 64 MiB: 64 calls of 1 MiB. */
  readonly maxBytes?: number | undefined
  /** Regions have a power of two of bytes, from this on. Default 4096, a page. */
  readonly minRegionBytes?: number | undefined
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

/** A registered region and its history. */
interface Slot {
  readonly region: Region
  readonly use: Use
  readonly scope: Scope.Closeable
  /** The share that borrowed it last, and how many of its bytes may hold what that peer sent. */
  lastShare: PoolShare | undefined
  dirtyBytes: number
}

/** Memory that is borrowed. It must be returned by `end`, after all posted work that uses it. */
export interface Loan {
  readonly region: Region
  /** The bytes that were asked for; the region may be longer. */
  readonly octets: Uint8Array<SharedArrayBuffer>
  /** Names the region to the peer; 0 if only this side uses it. */
  readonly key: number
  readonly address: number
  /** Voids the key and returns the memory. Again is harmless. */
  readonly end: Effect.Effect<void>
}

/** A request for memory: with a slot, or with the right to register one, once it is granted. */
class Request {
  readonly share: PoolShare
  readonly use: Use
  readonly bytes: number
  readonly isGranted = Deferred.makeUnsafe<void>()
  slot: Slot | undefined = undefined
  evicted: ReadonlyArray<Slot> = []

  constructor(share: PoolShare, use: Use, bytes: number) {
    this.share = share
    this.use = use
    this.bytes = bytes
  }
}

/** What one connection may borrow. */
export class PoolShare {
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
    return this.#pool.lend(this, use, bytes)
  }
}

export class RegionPool {
  /** Regions whose key could not be made void. They are lent no more. */
  withdrawn = 0
  readonly #domain: ProtectionDomain
  readonly #scope: Scope.Scope
  #maxBytes: number
  readonly #minRegionBytes: number
  readonly #idle = new Map<string, Array<Slot>>()
  /** Requests that wait, in the order of arrival. */
  readonly #waiting: Array<Request> = []
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
    Effect.map(Effect.scope, (scope) => new RegionPool(domain, scope, settings))

  /** Bytes that are registered, and those of them that are not lent. */
  get usage(): { readonly registeredBytes: number; readonly idleBytes: number } {
    return { registeredBytes: this.#registeredBytes, idleBytes: this.#idleBytes }
  }

  /** Makes the share of a connection. Default: as much as there is. */
  share(maxBytes = this.#maxBytes): PoolShare {
    return new PoolShare(this, Math.min(maxBytes, this.#maxBytes))
  }

  /** Borrows memory for a share. */
  lend(
    share: PoolShare,
    use: Use,
    wantedBytes: number
  ): Effect.Effect<Loan, LoanTooLarge | CreateError> {
    return Effect.suspend(() => {
      const bytes = Math.max(this.#minRegionBytes, 2 ** Math.ceil(Math.log2(wantedBytes)))
      const limit = Math.min(share.maxBytes, this.#maxBytes)
      if (bytes > limit) return Effect.fail(new LoanTooLarge({ bytes: wantedBytes, limit }))
      const request = new Request(share, use, bytes)
      return Effect.flatMap(this.#lend(request, wantedBytes), (loan) =>
        loan === undefined ? this.lend(share, use, wantedBytes) : Effect.succeed(loan)
      )
    })
  }

  /** Fulfils one request. Returns undefined if the region that it got had to be withdrawn. */
  #lend(request: Request, wantedBytes: number): Effect.Effect<Loan | undefined, CreateError> {
    return Effect.uninterruptible(
      Effect.suspend(() => {
        this.#waiting.push(request)
        this.#grant()
        return Effect.interruptible(Deferred.await(request.isGranted)).pipe(
          Effect.onInterrupt(() => Effect.sync(() => this.#cancel(request))),
          Effect.andThen(this.#open(request, wantedBytes))
        )
      })
    )
  }

  /**
   * Grants requests in order. One that waits for its share lets requests of other shares pass; one
   * that waits for the pool lets none pass, so that small requests do not starve a large one.
   */
  #grant(): void {
    const full = new Set<PoolShare>()
    for (let index = 0; index < this.#waiting.length;) {
      const request = this.#waiting[index]!
      const { bytes, share } = request
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

  /** Takes an idle region, or makes room to register one. False if there is no room. */
  #reserve(request: Request): boolean {
    const { bytes, use } = request
    const slot = this.#idle.get(`${use} ${bytes}`)?.pop()
    if (slot !== undefined) {
      this.#idleBytes -= bytes
      request.slot = slot
      return true
    }
    if (this.#registeredBytes - this.#idleBytes + bytes > this.#maxBytes) return false
    request.evicted = this.#evict(bytes)
    this.#registeredBytes += bytes
    return true
  }

  /** Takes out idle regions of other sizes or uses until so many bytes can be registered. */
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

  /** The borrower was interrupted, before or after its request was granted. */
  #cancel(request: Request): void {
    const index = this.#waiting.indexOf(request)
    if (index >= 0) this.#waiting.splice(index, 1)
    else this.#giveBack(request.slot, request)
  }

  /** Registers what is missing, clears what another peer used, and draws a key. */
  #open(request: Request, wantedBytes: number): Effect.Effect<Loan | undefined, CreateError> {
    const { bytes, share, slot: idle, use } = request
    const slot = idle === undefined ? this.#register(request) : Effect.succeed(idle)
    return Effect.map(slot, (slot) => {
      const { region } = slot
      if (slot.lastShare !== share) {
        region.bytes.fill(0, 0, slot.dirtyBytes)
        slot.dirtyBytes = 0
        slot.lastShare = share
      }
      // A peer may write all that its key opens, this side only what it has borrowed.
      const dirtyBytes = use === "peer-writes" ? region.length : wantedBytes
      slot.dirtyBytes = Math.max(slot.dirtyBytes, dirtyBytes)
      const key = use === "local" ? 0 : region.renewKey()
      if (use === "local" || key !== 0) return this.#loanOf(slot, request, key, wantedBytes)
      // The last peer may still reach the region.
      this.withdrawn++
      this.#maxBytes -= bytes
      this.#registeredBytes -= bytes
      share.lentBytes -= bytes
      this.#grant()
      return undefined
    })
  }

  #loanOf(slot: Slot, request: Request, key: number, bytes: number): Loan {
    let isLent = true
    const { region } = slot
    const giveBack = Effect.sync(() => {
      if (!isLent) return
      isLent = false
      this.#giveBack(slot, request)
    })
    return {
      region,
      octets: region.bytes.subarray(0, bytes),
      key,
      address: region.address,
      end: Effect.uninterruptible(
        Effect.andThen(slot.use === "local" ? Effect.void : region.revoke, giveBack)
      )
    }
  }

  #register({ bytes, evicted, share, use }: Request): Effect.Effect<Slot, CreateError> {
    const registering = Effect.gen({ self: this }, function* () {
      yield* Effect.forEach(evicted, ({ scope }) => Scope.close(scope, Exit.void))
      const scope = yield* Scope.fork(this.#scope)
      const options = { memory: bytes, access: rights[use] }
      const region = yield* Scope.provide(this.#domain.register(options), scope)
      return { region, use, scope, lastShare: undefined, dirtyBytes: 0 }
    })
    return Effect.onError(registering, () =>
      Effect.sync(() => {
        this.#registeredBytes -= bytes
        share.lentBytes -= bytes
        this.#grant()
      })
    )
  }

  #giveBack(slot: Slot | undefined, { bytes, share, use }: Request): void {
    share.lentBytes -= bytes
    if (slot === undefined) this.#registeredBytes -= bytes
    else {
      const key = `${use} ${bytes}`
      const slots = this.#idle.get(key)
      if (slots === undefined) this.#idle.set(key, [slot])
      else slots.push(slot)
      this.#idleBytes += bytes
    }
    this.#grant()
  }
}

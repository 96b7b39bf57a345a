/**
 * One transfer on its way: what has been handed out of it, what came back, and when it is over.
 *
 * It hands out slices on demand, so a transfer of any size costs no more memory than what is
 * posted of it. Without effects and without time.
 */
import type { PeerBuffer } from "../Directory.ts"
import type { RegisteredMemory } from "../Memory.ts"
import type { Target } from "../Transfer.ts"
import type { RailFault } from "../TransferError.ts"
import { Found, nextLength, type PeerMemory } from "./cutting.ts"
import type { Slice, SlicePool } from "./slice.ts"

/** An operation whose local side has been checked. */
export interface Plan {
  readonly isWrite: boolean
  readonly memory: RegisteredMemory
  /** From the start of the memory. */
  readonly offset: number
  readonly length: number
  readonly target: Target
}

/** Why a job gives out no more slices. */
export interface Stop {
  readonly reason:
    | "deadline"
    | "cancelled"
    | "peer-unreachable"
    | "attempts-exhausted"
    | "refused"
    | "no-such-memory"
    | "memory-released"
    | "closed"
  readonly detail: string
  readonly fault?: RailFault | undefined
}

/** What a job needs of its surroundings. */
export interface Settings {
  readonly sliceBytes: number
  /** Attempts of one slice. */
  readonly attempts: number
}

/** A transfer on its way. */
export class Job {
  readonly plans: ReadonlyArray<Plan>
  readonly bytes: number
  moved = 0
  /** Octets that nobody has posted. */
  waiting: number
  /** Slices that cards have. */
  posted = 0
  stop: Stop | undefined = undefined
  isOver = false
  /** Whether it stands in its peer's round. */
  isQueued = false
  /** Told once, when the last slice is back. */
  onEnd: () => void = () => undefined
  /** Told after each batch of completions that moved something. */
  readonly watchers = new Set<() => void>()
  isNews = false
  readonly #settings: Settings
  /** Octets of each operation that have not moved. */
  readonly #left: Float64Array
  /** Where the last lookup of each operation ended. */
  readonly #found = new Found()
  #foundIn: PeerMemory | undefined = undefined
  /** What has not been handed out yet: from `at` of `operation` on. */
  #operation = 0
  #at = 0
  /** What the peer had told when it first refused a key. */
  #refused: PeerMemory | undefined = undefined
  /** What failed, in the order in which it failed. */
  #failed: Slice | undefined = undefined
  #lastFailed: Slice | undefined = undefined

  constructor(plans: ReadonlyArray<Plan>, settings: Settings) {
    this.plans = plans
    this.#settings = settings
    this.#left = Float64Array.from(plans, ({ length }) => length)
    this.bytes = this.waiting = this.#left.reduce((sum, length) => sum + length, 0)
  }

  /** Whether there is something to hand out. */
  get hasWork(): boolean {
    if (this.stop !== undefined) return false
    return this.#failed !== undefined || this.#operation < this.plans.length
  }

  /** Operations that have not moved as a whole; at most so many. */
  unfinished(most: number): ReadonlyArray<number> {
    const operations: Array<number> = []
    for (let index = 0; index < this.#left.length && operations.length < most; index++) {
      if (this.#left[index]! > 0) operations.push(index)
    }
    return operations
  }

  /**
   * Hands out a slice: one that failed, or the next new one. Nothing if it has none, or if the
   * peer's memory is not what it was: then it stops.
   */
  take(peer: PeerMemory, pool: SlicePool): Slice | undefined {
    if (!this.hasWork) return undefined
    const slice = this.#failed === undefined ? this.#cut(peer, pool) : this.#again(peer, pool)
    if (slice !== undefined) this.waiting -= slice.length
    return slice
  }

  /** The peer's buffer that the next slice is of, if there is one. */
  aim(peer: PeerMemory): PeerBuffer | undefined {
    const { at, operation } = this.#failed ?? { at: this.#at, operation: this.#operation }
    const isThere = this.hasWork && this.#find(peer, operation, at) === undefined
    return isThere ? this.#found.buffer : undefined
  }

  /** Takes back a slice whose work ended well. */
  done({ length, operation }: Slice): void {
    this.moved += length
    this.#left[operation]! -= length
  }

  /** Takes back a slice that nobody tried; it is the next one again. */
  back(slice: Slice): void {
    this.waiting += slice.length
    slice.next = this.#failed
    this.#failed = slice
    this.#lastFailed ??= slice
  }

  /** Takes back a slice that failed. False if it has had all its attempts. */
  failed(slice: Slice, counts: boolean): boolean {
    if (counts) slice.attempts += 1
    if (slice.attempts >= this.#settings.attempts) return false
    this.waiting += slice.length
    if (this.#lastFailed === undefined) this.#failed = slice
    else this.#lastFailed.next = slice
    this.#lastFailed = slice
    slice.next = undefined
    return true
  }

  /**
   * The peer has refused a slice's key, which may have become void since the peer told of it. True
   * if it also refuses what it told after that.
   */
  refused({ told }: Slice): boolean {
    this.#refused ??= told
    return this.#refused !== told
  }

  /** No more slices are handed out. The first reason holds. */
  halt(stop: Stop, pool: SlicePool): void {
    this.stop ??= stop
    this.waiting = 0
    let slice = this.#failed
    this.#failed = this.#lastFailed = undefined
    while (slice !== undefined) {
      const { next } = slice
      pool.give(slice)
      slice = next
    }
  }

  /** Ends the job if nothing of it is left anywhere. */
  settle(): void {
    if (this.isOver || this.posted > 0 || this.hasWork) return
    this.isOver = true
    this.onEnd()
  }

  #cut(peer: PeerMemory, pool: SlicePool): Slice | undefined {
    const plan = this.plans[this.#operation]!
    const slice = pool.take()
    slice.job = this
    slice.operation = this.#operation
    slice.at = this.#at
    slice.length = Math.min(plan.length - this.#at, this.#localRun(plan, this.#at))
    const run = this.#place(slice, peer, pool)
    if (run === undefined) return undefined
    slice.length = nextLength(Math.min(slice.length, run), this.#settings.sliceBytes)
    this.#at += slice.length
    if (this.#at === plan.length) {
      this.#operation += 1
      this.#at = 0
    }
    return slice
  }

  /** The oldest slice that failed. What reaches over a border by now is cut once more. */
  #again(peer: PeerMemory, pool: SlicePool): Slice | undefined {
    const slice = this.#failed!
    this.#failed = slice.next
    if (slice.next === undefined) this.#lastFailed = undefined
    slice.next = undefined
    const run = this.#place(slice, peer, pool)
    if (run === undefined || run >= slice.length) return run === undefined ? undefined : slice
    const rest = pool.take()
    rest.job = this
    rest.operation = slice.operation
    rest.at = slice.at + run
    rest.length = slice.length - run
    rest.attempts = slice.attempts
    this.waiting -= rest.length
    this.back(rest)
    slice.length = run
    return slice
  }

  /** Finds where a slice goes, and how far the peer's memory goes on from there. */
  #place(slice: Slice, peer: PeerMemory, pool: SlicePool): number | undefined {
    const wrong = this.#find(peer, slice.operation, slice.at)
    if (wrong !== undefined) {
      pool.give(slice)
      this.halt({ reason: "no-such-memory", detail: wrong }, pool)
      return undefined
    }
    const { at, buffer, run } = this.#found
    slice.told = peer
    slice.found.buffer = buffer
    slice.found.at = at
    return run
  }

  #find(peer: PeerMemory, operation: number, at: number): string | undefined {
    if (this.#foundIn !== peer) this.#found.buffer = undefined
    this.#foundIn = peer
    return peer.find(this.plans[operation]!.target, at, this.#found)
  }

  #localRun({ memory, offset }: Plan, at: number): number {
    return memory.chunkBytes - ((offset + at) % memory.chunkBytes)
  }
}

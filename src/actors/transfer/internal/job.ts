/**
 * A transfer under way: hands out its slices, takes them back, and decides when it is over.
 *
 * Slices are cut on demand, so a transfer of any size costs no more memory than its posted work.
 * Pure: without effects, and time is a value.
 */
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import type { Target } from "../Transfer.ts"
import type { RailFault } from "../TransferError.ts"
import type { ResolvedSettings } from "./settings.ts"
import { type Buffer, BufferCursor, nextLength, type PeerMemory } from "./slicing.ts"
import type { Slice, SlicePool } from "./slicing.ts"

/** An operation whose local side has been checked. */
export interface CheckedOperation {
  readonly isWrite: boolean
  readonly memory: RegisteredMemory
  /** From the start of the memory. */
  readonly offset: number
  readonly length: number
  readonly target: Target
}

/** Why a job gives out no more slices. */
export interface StopReason {
  readonly reason:
    | "deadline"
    | "cancelled"
    | "peer-unreachable"
    | "attempts-exhausted"
    | "refused"
    | "no-such-memory"
    | "peer-memory-replaced"
    | "memory-released"
    | "closed"
  readonly detail: string
  readonly fault?: RailFault | undefined
}

/** The settings that a job depends on. */
type JobSettings = Pick<ResolvedSettings, "sliceBytes" | "attempts" | "beginnings">

/** Options of the caller of a transfer. */
export interface JobOptions {
  readonly onReplaced: "begin-anew" | "fail"
  /** Whether it has a deadline, so that it needs no other end. */
  readonly hasDeadline: boolean
}

/** A slice that was handed out, and its job. */
export interface JobSlice {
  job: Job | undefined
  slice: Slice | undefined
}

/** A transfer under way. */
export class Job {
  readonly plans: ReadonlyArray<CheckedOperation>
  readonly bytes: number
  moved = 0
  /** Bytes that are not posted. */
  waiting: number
  /** Slices that are posted. */
  posted = 0
  stop: StopReason | undefined = undefined
  isOver = false
  /** True while queued in `Peer.#runQueue`. */
  isQueued = false
  /** The peer's memory that is missing at present, and since when: it may be registered again. */
  lack: { readonly detail: string; readonly since: number } | undefined = undefined
  /** Called once, when the last slice is back. */
  onEnd: () => void = () => undefined
  /** Called after each batch of completions that moved something. */
  readonly watchers = new Set<() => void>()
  hasUnreportedProgress = false
  readonly #settings: JobSettings
  readonly #terms: JobOptions
  /** Bytes of each operation that have not moved. */
  readonly #left: Float64Array
  /** The buffer in which the last lookup of each operation ended. */
  readonly #found = new BufferCursor()
  #foundIn: PeerMemory | undefined = undefined
  /** The next slice to hand out begins at `at` of `operation`. */
  #operation = 0
  #at = 0
  /** The key that the peer last refused, and its description at that time. */
  #refused: { readonly key: string; readonly peerMemory: PeerMemory | undefined } | undefined =
    undefined
  /** Incarnations of the peer's memory that hold a part of what has moved. */
  readonly #holding = new Set<string>()
  /** Its posted slices no longer count: it begins again when the last one is back. */
  #isEmptying = false
  #beginnings = 1
  /** Slices that failed, the oldest first. */
  #failed: Slice | undefined = undefined
  #lastFailed: Slice | undefined = undefined

  constructor(
    plans: ReadonlyArray<CheckedOperation>,
    settings: JobSettings,
    terms: JobOptions = { onReplaced: "begin-anew", hasDeadline: false }
  ) {
    this.plans = plans
    this.#settings = settings
    this.#terms = terms
    this.#left = Float64Array.from(plans, ({ length }) => length)
    this.bytes = this.waiting = this.#left.reduce((sum, length) => sum + length, 0)
  }

  /** Whether there is a slice to hand out. */
  get hasWork(): boolean {
    if (this.stop !== undefined || this.lack !== undefined || this.#isEmptying) return false
    return this.#failed !== undefined || this.#operation < this.plans.length
  }

  /** The indexes of operations that have not moved as a whole, up to a limit. */
  unfinished(most: number): ReadonlyArray<number> {
    const operations: Array<number> = []
    for (let index = 0; index < this.#left.length && operations.length < most; index++) {
      if (this.#left[index]! > 0) operations.push(index)
    }
    return operations
  }

  /**
   * Hands out a slice: one that failed, or the next new one. Undefined if there is none, or if the
   * peer's memory is missing: then the job has a `lack`.
   */
  take(peer: PeerMemory, pool: SlicePool, now = 0): Slice | undefined {
    if (!this.hasWork) return undefined
    const { at, operation } = this.#failed ?? { at: this.#at, operation: this.#operation }
    const detail = this.#find(peer, operation, at)
    if (detail !== undefined) {
      this.lack = { detail, since: now }
      return undefined
    }
    const slice = this.#failed === undefined ? this.#cut(peer, pool) : this.#again(peer, pool)
    this.waiting -= slice.length
    return slice
  }

  /**
   * Handles a new description of the peer's memory. True if memory that holds moved bytes is gone:
   * then it stops, or begins again once none of its slices is posted.
   */
  onPeerMemory(peer: PeerMemory, pool: SlicePool): boolean {
    const gone = [...this.#holding].find((incarnation) => !peer.has(incarnation))
    if (gone === undefined || this.stop !== undefined) return false
    const mayBegin = this.#terms.hasDeadline || this.#beginnings < this.#settings.beginnings
    if (this.#terms.onReplaced === "fail" || !mayBegin) {
      const detail = `the peer's memory was replaced while ${this.moved} bytes were in it`
      this.halt({ reason: "peer-memory-replaced", detail }, pool)
    } else {
      this.#discard(pool)
      this.moved = this.waiting = 0
      this.#holding.clear()
      this.#isEmptying = true
      this.#begin()
    }
    return true
  }

  /** The peer's buffer of the next slice, if there is one. */
  nextBuffer(peer: PeerMemory): Buffer | undefined {
    const { at, operation } = this.#failed ?? { at: this.#at, operation: this.#operation }
    const isThere = this.hasWork && this.#find(peer, operation, at) === undefined
    return isThere ? this.#found.buffer : undefined
  }

  /** Continues if the memory that was missing is there now. */
  recheck(peer: PeerMemory): void {
    const { at, operation } = this.#failed ?? { at: this.#at, operation: this.#operation }
    if (this.#find(peer, operation, at) === undefined) this.lack = undefined
  }

  /** Stops if the peer's memory has been missing for that time, unless there is a deadline. */
  missed(now: number, unreachableAfterMs: number, pool: SlicePool): void {
    if (this.lack === undefined || this.#terms.hasDeadline) return
    const { detail, since } = this.lack
    if (now - since >= unreachableAfterMs) this.halt({ reason: "no-such-memory", detail }, pool)
  }

  /**
   * Takes back a slice whose work succeeded. False if that does not count: the slice is of an
   * earlier beginning, or of memory that the peer no longer describes.
   */
  done(slice: Slice, peer: PeerMemory, pool: SlicePool): boolean {
    const { found, length, operation, peerMemory } = slice
    const { incarnation } = found.buffer!
    const counts = !this.#isEmptying && (peerMemory === peer || peer.has(incarnation))
    if (!counts && !this.#isEmptying && this.stop === undefined) this.requeue(slice)
    else pool.release(slice)
    if (!counts) return false
    this.#holding.add(incarnation)
    this.moved += length
    this.#left[operation]! -= length
    return true
  }

  /** Takes back a slice that was not tried, and makes it the next one. */
  requeue(slice: Slice): void {
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
   * Handles the peer's refusal of a slice's key, which may be older than the peer's memory. True if
   * the peer has described the same key again since an earlier refusal.
   */
  refused({ found, peerMemory }: Slice, remote: number): boolean {
    const { incarnation, keys } = found.buffer!
    const key = `${incarnation} ${keys[remote]}`
    const last = this.#refused
    this.#refused = { key, peerMemory }
    return last !== undefined && last.key === key && last.peerMemory !== peerMemory
  }

  /** Stops handing out slices. The first reason counts. */
  halt(stop: StopReason, pool: SlicePool): void {
    this.stop ??= stop
    this.waiting = 0
    this.#discard(pool)
  }

  #discard(pool: SlicePool): void {
    let slice = this.#failed
    this.#failed = this.#lastFailed = undefined
    while (slice !== undefined) {
      const { next } = slice
      pool.release(slice)
      slice = next
    }
  }

  /**
   * Ends the job if no slice of it is waiting or posted. A job that begins anew does so only when
   * nothing is posted: the result of an earlier read could otherwise arrive last.
   */
  settle(): void {
    if (this.isOver || this.posted > 0) return
    if (this.#isEmptying && this.stop === undefined) this.#begin()
    if (this.stop === undefined && this.moved < this.bytes) return
    this.isOver = true
    this.onEnd()
  }

  /** Whether a slice that comes back belongs to a beginning that is over. */
  get isEmptying(): boolean {
    return this.#isEmptying
  }

  #begin(): void {
    if (this.posted > 0) return
    this.#isEmptying = false
    this.#beginnings += 1
    this.#operation = this.#at = 0
    this.#left.set(this.plans.map(({ length }) => length))
    this.waiting = this.bytes
  }

  #cut(peer: PeerMemory, pool: SlicePool): Slice {
    const plan = this.plans[this.#operation]!
    const slice = pool.acquire()
    slice.operation = this.#operation
    slice.at = this.#at
    slice.length = Math.min(plan.length - this.#at, this.#localRun(plan, this.#at))
    const run = this.#place(slice, peer)
    slice.length = nextLength(Math.min(slice.length, run), this.#settings.sliceBytes)
    this.#at += slice.length
    if (this.#at === plan.length) {
      this.#operation += 1
      this.#at = 0
    }
    return slice
  }

  /** The oldest slice that failed. Cuts it again if it crosses a border of the present memory. */
  #again(peer: PeerMemory, pool: SlicePool): Slice {
    const slice = this.#failed!
    this.#failed = slice.next
    if (slice.next === undefined) this.#lastFailed = undefined
    slice.next = undefined
    const run = this.#place(slice, peer)
    if (run >= slice.length) return slice
    const rest = pool.acquire()
    rest.operation = slice.operation
    rest.at = slice.at + run
    rest.length = slice.length - run
    rest.attempts = slice.attempts
    this.waiting -= rest.length
    this.requeue(rest)
    slice.length = run
    return slice
  }

  /** Places a slice at the last lookup, and returns how far the memory goes on there. */
  #place(slice: Slice, peer: PeerMemory): number {
    const { at, buffer, run } = this.#found
    slice.peerMemory = peer
    slice.found.buffer = buffer
    slice.found.at = at
    return run
  }

  #find(peer: PeerMemory, operation: number, at: number): string | undefined {
    if (this.#foundIn !== peer) this.#found.buffer = undefined
    this.#foundIn = peer
    return peer.find(this.plans[operation]!.target, at, this.#found)
  }

  #localRun({ memory, offset }: CheckedOperation, at: number): number {
    return memory.chunkBytes - ((offset + at) % memory.chunkBytes)
  }
}

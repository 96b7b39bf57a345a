/**
 * The calls of a client that wait to be sent, over all its connection instances.
 *
 * They leave in the order in which they began, so a call that a lost connection gives back goes
 * before newer ones. An XID is drawn when a call is first sent and stays with it; it is not drawn
 * again while the call lives, nor while an interrupted call of that XID is still at the responder.
 */
import { ok as assert } from "node:assert/strict"
import type * as Result from "effect/Result"
import type { Loan, PoolShare } from "../../rdma/RegionPool.ts"
import { type CallRefused, ClientClosed, type OutcomeUnknown } from "../RpcError.ts"
import type { CallPlan } from "./planning.ts"

/** Memory that a call lends to the responder, in the order of its plan. */
export interface Lent {
  /** Of the memory of one device. Undefined if nothing is lent. */
  readonly share: PoolShare | undefined
  readonly reads: ReadonlyArray<Loan>
  readonly writes: ReadonlyArray<Loan>
  readonly reply: Loan | undefined
}

export const nothingLent: Lent = { share: undefined, reads: [], writes: [], reply: undefined }

export const loansOf = ({ reads, reply, writes }: Lent): ReadonlyArray<Loan> =>
  reply === undefined ? [...reads, ...writes] : [...reads, ...writes, reply]

/** A reply: the results, and the bytes that were written into each write chunk. */
export interface Answer {
  readonly _tag: "Answer"
  readonly xid: number
  /** Undefined if the message is in the reply chunk, `replyBytes` long. */
  readonly results: Results | undefined
  readonly replyBytes: number
  readonly writtenBytes: ReadonlyArray<number>
}

export type CallFailure = CallRefused | OutcomeUnknown | ClientClosed

/** `Again`: the call is to be planned anew, since its memory belongs to an older connection. */
export type Outcome =
  | Answer
  | { readonly _tag: "Again" }
  | { readonly _tag: "Failed"; readonly failure: CallFailure }

export const again: Outcome = { _tag: "Again" }

export interface CallOptions {
  readonly procedure: number
  readonly isIdempotent: boolean
}

/** What an RPC message says of a call that it answers. */
export type Results = Result.Result<Uint8Array, CallRefused | OutcomeUnknown>

/** One call, from its beginning to its one end. */
export class Call {
  readonly sequence: number
  readonly procedure: number
  readonly isIdempotent: boolean
  /** Resumes the caller, which waits for one outcome at a time. */
  resume: (outcome: Outcome) => void = () => undefined
  xid: number | undefined = undefined
  /** The responder's incarnation that it was last sent to. */
  sentTo: string | undefined = undefined
  /** Whether it was sent in more than one connection instance. */
  wasSentAgain = false
  plan: CallPlan
  lent: Lent = nothingLent

  constructor(sequence: number, plan: CallPlan, { isIdempotent, procedure }: CallOptions) {
    this.sequence = sequence
    this.plan = plan
    this.procedure = procedure
    this.isIdempotent = isIdempotent
  }

  /** The client was closed. */
  close(): void {
    this.fail(new ClientClosed({ wasSent: this.sentTo !== undefined }))
  }

  fail(failure: CallFailure): void {
    this.resume({ _tag: "Failed", failure })
  }
}

/** A call that was sent and not answered. */
export interface Outstanding {
  /** Undefined for NULL calls, and for calls that were interrupted. */
  call: Call | undefined
  readonly lent: Lent
  readonly isProbe: boolean
  /** The interrupted calls that it names to the responder. */
  readonly names?: ReadonlyArray<number>
  /** When it was sent or, if it was interrupted, when that was. */
  since: number
}

/** As many as the connections of a bad minute leave behind. */
const maxOrphans = 1_024

export class CallQueue {
  readonly #waiting: Array<Call> = []
  readonly #xids = new Set<number>()
  /**
   * Interrupted calls that were sent on connections that are over, by XID, the oldest first: their
   * handlers may still run.
   */
  readonly orphans = new Set<number>()
  #nextXid: number
  #sequence = 0
  #isClosed = false

  /** `firstXid` is drawn at random: a restarted client must not repeat the XIDs of the old one. */
  constructor(firstXid: number) {
    this.#nextXid = firstXid >>> 0
  }

  get length(): number {
    return this.#waiting.length
  }

  /** XIDs of calls that are alive, or interrupted and not answered. */
  get liveXids(): number {
    return this.#xids.size
  }

  begin(plan: CallPlan, options: CallOptions): Call {
    this.#sequence++
    return new Call(this.#sequence, plan, options)
  }

  /** A call has ended for its caller. */
  end(call: Call): void {
    if (call.xid !== undefined) this.freeXid(call.xid)
    call.xid = undefined
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Fails all calls that wait, and those that are added later. */
  close(): void {
    this.#isClosed = true
    for (const call of this.#waiting.splice(0)) call.close()
  }

  /** Adds a call before those that began later. */
  add(call: Call): void {
    if (this.#isClosed) return call.close()
    let at = this.#waiting.length
    while (at > 0 && this.#waiting[at - 1]!.sequence > call.sequence) at--
    this.#waiting.splice(at, 0, call)
  }

  /** The call that leaves next. */
  get next(): Call | undefined {
    return this.#waiting[0]
  }

  shift(): Call | undefined {
    return this.#waiting.shift()
  }

  /** Takes a call out. False if it does not wait. */
  remove(call: Call): boolean {
    const at = this.#waiting.indexOf(call)
    if (at >= 0) this.#waiting.splice(at, 1)
    return at >= 0
  }

  /** An interrupted call has lost its connection. Its XID is not drawn again meanwhile. */
  addOrphan(xid: number): void {
    this.orphans.add(xid)
    for (const oldest of this.orphans) {
      if (this.orphans.size <= maxOrphans) return
      this.endOrphan(oldest)
    }
  }

  /** The responder knows that the call was interrupted. */
  endOrphan(xid: number): void {
    if (this.orphans.delete(xid)) this.freeXid(xid)
  }

  takeXid(): number {
    while (this.#xids.has(this.#nextXid)) this.#nextXid = (this.#nextXid + 1) >>> 0
    const xid = this.#nextXid
    this.#xids.add(xid)
    this.#nextXid = (xid + 1) >>> 0
    return xid
  }

  freeXid(xid: number): void {
    assert(this.#xids.delete(xid), "an XID that was not taken")
  }
}

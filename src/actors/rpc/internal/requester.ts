/**
 * The data path of one connection instance at the requester: credits, XIDs, chunks and replies.
 *
 * Driven by completions alone. The first call is NULL, procedure 0 of the program, so that the
 * first grant does not wait for a handler; until its reply no other call is sent. An interrupted
 * call keeps its credit, its XID and its memory until its reply or the end of the connection.
 */
import { ok as assert } from "node:assert/strict"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Extension } from "../../../schema/rpc/ConnectionData.ts"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import { Credits, type Terms } from "../../link/Credits.ts"
import type { Loan, PoolShare } from "../../rdma/RegionPool.ts"
import { CallRefused, OutcomeUnknown } from "../RpcError.ts"
import {
  type Call,
  type CallQueue,
  type Lent,
  loansOf,
  nothingLent,
  type Outstanding
} from "./callQueue.ts"
import { control, encodeInterrupts, maxInterrupts } from "./control.ts"
import { type ControlCall, encodeCall, encodeControl, type ProgramName } from "./callMessages.ts"
import type { MessagePort, PortUser } from "./messagePort.ts"
import { ReverseAnswers } from "./reverseAnswers.ts"
import type { ReverseServing } from "./reverseServing.ts"
import type { Patience } from "./patience.ts"
import { fits, type Thresholds } from "./planning.ts"
import { endOf } from "./replies.ts"

/** State of the client beside this connection instance. */
export interface Surroundings {
  readonly queue: CallQueue
  readonly terms: Terms
  readonly program: ProgramName
  readonly patience: Patience
  /** Whether calls that a responder without an incarnation has seen are sent to it again. */
  readonly trustsForeignCache: boolean
  readonly now: () => number
  /** Memory of the device that is in use. */
  readonly share: () => PoolShare
  /** Answers the responder's calls. */
  readonly reverse: ReverseServing
  /** Returns memory in the background. */
  readonly release: (loans: ReadonlyArray<Loan>) => void
}

const sumOfRegions = (sum: number, { region }: Loan): number => sum + region.length

export class Requester implements PortUser {
  readonly credits: Credits
  /** Done with the first valid reply. */
  readonly proved = Deferred.makeUnsafe<void>()
  /** Done with the reason for which this connection instance is over. */
  readonly ended = Deferred.makeUnsafe<string>()
  /** Messages that were dropped: malformed, of an unknown XID, or answered twice. */
  dropped = 0
  readonly #around: Surroundings
  readonly #out = new Map<number, Outstanding>()
  /** Interrupted calls of this connection that the responder has not heard of. */
  readonly #interrupted = new Set<number>()
  /** Whether the responder is of this library, and can end handlers of interrupted calls. */
  #isOwnKind = false
  /** Calls whose replies are in hand; their fibers go on when all counters are settled. */
  readonly #finished: Array<() => void> = []
  /** There once the thresholds are known: before, nothing may come. */
  #answers: ReverseAnswers | undefined = undefined
  #port!: MessagePort
  #thresholds: Thresholds | undefined = undefined
  #incarnation = ""
  #aliveAt = -Infinity
  /** Whether the peer has used what was lent to it against the rules. */
  #isDistrusted = false
  #probes = 0

  constructor(around: Surroundings, credits = new Credits(around.terms)) {
    this.#around = around
    this.credits = credits
  }

  /** Interrupted calls that are not answered. */
  get zombies(): number {
    return this.#zombies.length
  }

  get #zombies(): ReadonlyArray<Outstanding> {
    return [...this.#out.values()].filter(({ call, isProbe }) => call === undefined && !isProbe)
  }

  /** Posts the first Receives: for one reply, and for the reverse direction. */
  attach(port: MessagePort): boolean {
    this.#port = port
    this.#refill()
    return this.credits.missing === 0
  }

  /** Connected: asks for the first grant. */
  established(thresholds: Thresholds, extension: Extension | undefined, epoch: string): void {
    const foreign = this.#around.trustsForeignCache ? "foreign" : epoch
    this.#incarnation =
      extension === undefined ? foreign : Buffer.from(extension.instance).toString("hex")
    this.#thresholds = thresholds
    this.#isOwnKind = extension !== undefined
    const { reverse } = this.#around
    reverse.open(extension)
    this.#answers = new ReverseAnswers(reverse, this.credits, {
      maxBytes: thresholds.callBytes,
      hasRoom: () => this.#port.hasRoom,
      send: (message) => this.#port.send(message),
      fail: (reason) => this.fail(reason),
      turn: () => this.turn()
    })
    this.#probe()
    this.turn()
  }

  /** A call waits in the queue. */
  admit(): void {
    if (this.#thresholds !== undefined) this.turn()
  }

  /**
   * The caller of a call is gone. True if its memory is kept here, until its reply or the end of
   * the connection instance.
   */
  abandon(call: Call): boolean {
    const out = call.xid === undefined ? undefined : this.#out.get(call.xid)
    if (out === undefined || out.call !== call) return false
    out.call = undefined
    out.since = this.#around.now()
    this.#interrupted.add(call.xid!)
    call.xid = undefined
    this.turn()
    const [most, mostBytes] = [this.credits.limit / 2, this.#around.share().maxBytes / 2]
    const zombies = this.#zombies
    const bytes = zombies.flatMap(({ lent }) => loansOf(lent)).reduce(sumOfRegions, 0)
    if (zombies.length > 1 && (zombies.length > most || bytes > mostBytes)) {
      this.fail("too many interrupted calls")
    }
    return true
  }

  /**
   * Looks at the deadlines. Returns when to look again, in milliseconds of the clock. A mute peer
   * is told from a slow handler by a NULL call; if there is no credit for that, by a new
   * connection.
   */
  look(): number {
    // No completion leads to another refill when one has failed and no call is out.
    if (this.credits.missing > 0) this.turn()
    const { now, patience } = this.#around
    // What begins after this look is due no earlier than that.
    const last = now() + patience.shortestMs
    const { at, kind } = patience.next(this.#out.values(), this.#aliveAt)
    if (at > now()) return Math.min(at, last)
    if (kind === "probe") this.#giveUp("the peer is mute")
    else if (kind === "zombie") this.fail("an interrupted call was not answered")
    else if (this.credits.free("control") === 0) {
      this.#giveUp("a call is overdue, and no credit is left to ask")
    } else {
      this.#probe()
      return this.look()
    }
    return last
  }

  received(bytes: Uint8Array, invalidated: number): void {
    const read = RpcRdmaMessage.decode(bytes)
    const message = Result.getOrUndefined(read)
    const lent = (message && this.#out.get(message.xid)?.lent) ?? nothingLent
    if (invalidated !== 0 && loansOf(lent).every(({ key }) => key !== invalidated)) {
      this.#distrust("the peer voided a key of another call")
    }
    if (this.#isDistrusted) return this.#drop()
    // A grant counts in replies alone.
    if (message?._tag === "RdmaDone" || message === undefined) return this.#drop()
    if (message._tag === "RdmaMsg") {
      const rpc = RpcMessage.decode(message.rpc)
      if (Result.isFailure(rpc)) return this.#drop()
      if (rpc.success._tag === "Call") {
        if (this.#answers?.take(message) !== true) this.#drop()
        return
      }
    }
    const out = this.#out.get(message.xid)
    if (out === undefined) return this.#drop()
    this.#take(message, out)
  }

  turn(): void {
    this.#refill()
    this.#answers?.flush()
    this.#nameInterrupted()
    this.#send()
    for (const finish of this.#finished.splice(0)) finish()
  }

  failed(detail: string): void {
    this.fail(detail)
  }

  /** This connection instance is over. */
  fail(reason: string): void {
    Deferred.doneUnsafe(this.ended, Effect.succeed(reason))
  }

  #giveUp(reason: string): void {
    this.#around.patience.grow()
    this.fail(reason)
  }

  /** After all posted work has ended: gives the calls that were not answered back. */
  close(): void {
    if (this.#answers !== undefined) this.#answers.isOver = true
    const { queue, release } = this.#around
    for (const finish of this.#finished.splice(0)) finish()
    for (const [xid, { call, isProbe, lent }] of this.#out) {
      if (call === undefined) {
        if (isProbe) queue.freeXid(xid)
        else queue.addOrphan(xid)
        release(loansOf(lent))
      } else if (lent === nothingLent) queue.add(call)
      else call.end({ _tag: "Again" })
    }
    this.#out.clear()
  }

  /** No call is answered on this connection any more: its memory may hold anything. */
  #distrust(reason: string): void {
    this.#isDistrusted = true
    this.fail(reason)
  }

  #drop(): void {
    this.dropped++
    this.credits.receive(undefined, false)
  }

  /** A reply: consume, clamp and release here; refill and admit in the turn after the batch. */
  #take(message: RpcRdmaMessage.RpcRdmaMessage, out: Outstanding): void {
    const { xid } = message
    const { queue, release } = this.#around
    this.#out.delete(xid)
    this.credits.receive(message.credits, true)
    this.#aliveAt = this.#around.now()
    Deferred.doneUnsafe(this.proved, Effect.void)
    const { call, lent } = out
    for (const name of out.names ?? []) queue.endOrphan(name)
    this.#interrupted.delete(xid)
    if (out.isProbe) this.#probes--
    else this.#around.patience.reset()
    if (call === undefined) {
      queue.freeXid(xid)
      release(loansOf(lent))
      return
    }
    const finish = endOf(message, call, lent)
    if (finish === undefined) {
      // The call was not answered: it goes again, on another connection.
      this.#out.set(xid, out)
      this.credits.held++
      return this.#distrust("the peer names memory that was not offered")
    }
    queue.freeXid(xid)
    call.xid = undefined
    this.#finished.push(finish)
  }

  #refill(): void {
    this.credits.add(this.#port.postReceives(this.credits.missing))
  }

  /** Sends what the window allows. Before the first grant NULL has the only credit. */
  #send(): void {
    const { queue } = this.#around
    const thresholds = this.#thresholds
    if (thresholds === undefined) return
    while (this.credits.free("call") > 0) {
      const call = queue.shift()
      if (call === undefined) return
      const wasElsewhere = call.sentTo !== undefined && call.sentTo !== this.#incarnation
      if (wasElsewhere && !call.isIdempotent) this.#forget(call, "the responder was replaced")
      else if (!this.#isUsable(call.lent)) call.end({ _tag: "Again" })
      else if (fits(call.plan, thresholds)) this.#sendCall(call)
      else if (call.plan.thresholds !== thresholds) call.end({ _tag: "Again" })
      else if (call.sentTo !== undefined)
        this.#forget(call, "its chunks do not fit inline any more")
      else call.fail(new CallRefused({ reason: "too-long", procedure: call.procedure }))
    }
  }

  /** Memory of a device that was lost is of no use on another one. */
  #isUsable({ share }: Lent): boolean {
    return share === undefined || share === this.#around.share()
  }

  #forget(call: Call, detail: string): void {
    if (call.xid !== undefined) this.#around.queue.freeXid(call.xid)
    call.xid = undefined
    call.fail(new OutcomeUnknown({ procedure: call.procedure, detail }))
  }

  #sendCall(call: Call): void {
    call.xid ??= this.#around.queue.takeXid()
    call.wasSentAgain = call.sentTo !== undefined
    call.sentTo = this.#incarnation
    const message = encodeCall(call, call.xid, this.#around.terms.requested)
    const out = { call, lent: call.lent, isProbe: false, since: this.#around.now() }
    this.#hand(call.xid, out, message)
  }

  /** Calls NULL. */
  #probe(): void {
    this.#control({ ...this.#around.program, procedure: 0, args: new Uint8Array(0) })
  }

  /** Names interrupted calls to the responder, as many as there are, one such call at a time. */
  #nameInterrupted(): void {
    const { queue } = this.#around
    const { orphans } = queue
    if (orphans.size + this.#interrupted.size === 0) return
    if (!this.#isOwnKind) for (const xid of orphans) queue.endOrphan(xid)
    if (!this.#isOwnKind || this.#probes > 0 || this.credits.free("control") === 0) return
    const names = [...orphans, ...this.#interrupted].slice(0, maxInterrupts)
    for (const name of names) this.#interrupted.delete(name)
    const { interrupt: procedure, program, version } = control
    this.#control({ program, version, procedure, args: encodeInterrupts(names) }, names)
  }

  #control(call: ControlCall, names: ReadonlyArray<number> = []): void {
    const { now, queue, terms } = this.#around
    const xid = queue.takeXid()
    this.#probes++
    const out = { call: undefined, lent: nothingLent, isProbe: true, names, since: now() }
    this.#hand(xid, out, encodeControl(call, xid, terms.requested))
  }

  #hand(xid: number, out: Outstanding, message: Uint8Array): void {
    assert(!this.#out.has(xid), "a call is sent once in a connection instance")
    this.credits.take()
    this.#out.set(xid, out)
    this.#port.send(message)
  }
}

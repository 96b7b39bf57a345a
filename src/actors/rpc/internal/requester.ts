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
import { Credits } from "../../link/Credits.ts"
import type { Loan } from "../../rdma/RegionPool.ts"
import { CallRefused, OutcomeUnknown } from "../RpcError.ts"
import {
  again,
  type Call,
  type Lent,
  loansOf,
  nothingLent,
  type Outcome,
  type Outstanding
} from "./callQueue.ts"
import { writeCall } from "./callMessages.ts"
import { ControlCalls } from "./controlCalls.ts"
import type { MessagePort, PortUser } from "./messagePort.ts"
import type { Writable } from "./outgoing.ts"
import { ReverseAnswers } from "./reverseAnswers.ts"
import { fits, type Thresholds } from "./planning.ts"
import { outcomeOf } from "./replies.ts"
import type { Surroundings } from "./surroundings.ts"

type Reply = Exclude<RpcRdmaMessage.RpcRdmaMessage, RpcRdmaMessage.RdmaDone>

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
  readonly #control: ControlCalls
  /** Calls whose outcome is known; their fibers go on when all counters are settled. */
  #finished: Array<[Call, Outcome]> = []
  /** There once the thresholds are known: before, nothing may come. */
  #answers: ReverseAnswers | undefined = undefined
  #port!: MessagePort
  #thresholds: Thresholds | undefined = undefined
  #incarnation = ""
  #isProved = false
  #hasHeard = false
  #aliveAt = -Infinity
  /** The time of the turn that is under way, or of the last look. */
  #now = -Infinity
  /** Whether the peer has used what was lent to it against the rules. */
  #isDistrusted = false

  constructor(around: Surroundings, credits = new Credits(around.terms)) {
    this.#around = around
    this.credits = credits
    this.#control = new ControlCalls(around, credits, (...call) => this.#hand(...call))
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
    this.#control.isOwnKind = extension !== undefined
    const { reverse } = this.#around
    reverse.open(extension)
    this.#answers = new ReverseAnswers(reverse, this.credits, {
      maxBytes: thresholds.callBytes,
      hasRoom: () => this.#port.hasRoom,
      send: (message) => this.#port.send(message),
      fail: (reason) => this.fail(reason),
      turn: () => this.#port.wake()
    })
    this.#now = this.#around.now()
    this.#control.probe()
    this.#port.wake()
  }

  /** A call waits in the queue. */
  admit(): void {
    if (this.#thresholds !== undefined) this.#port.wake()
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
    this.#control.interrupted.add(call.xid!)
    call.xid = undefined
    this.#port.wake()
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
    if (this.credits.missing > 0) this.#port.wake()
    const { patience } = this.#around
    const now = (this.#now = this.#around.now())
    // What begins after this look is due no earlier than that.
    const last = now + patience.shortestMs
    const { at, kind } = patience.next(this.#out.values(), this.#aliveAt)
    if (at > now) return Math.min(at, last)
    if (kind === "probe") this.#giveUp("the peer is mute")
    else if (kind === "zombie") this.fail("an interrupted call was not answered")
    else if (this.credits.free("control") === 0) {
      this.#giveUp("a call is overdue, and no credit is left to ask")
    } else {
      this.#control.probe()
      return this.look()
    }
    return last
  }

  received(bytes: Uint8Array, invalidated: number): void {
    const read = RpcRdmaMessage.decode(bytes)
    const message = Result.getOrUndefined(read)
    if (invalidated !== 0 && !this.#hasLent(message, invalidated)) {
      this.#distrust("the peer voided a key of another call")
    }
    if (this.#isDistrusted) return this.#drop()
    // A grant counts in replies alone.
    if (message === undefined || message._tag === "RdmaDone") return this.#drop()
    let rpc: RpcMessage.RpcMessage | undefined
    if (message._tag === "RdmaMsg") {
      const readRpc = RpcMessage.decode(message.rpc)
      if (Result.isFailure(readRpc)) return this.#drop()
      rpc = readRpc.success
      if (rpc._tag === "Call") {
        if (this.#answers?.take(message) !== true) this.#drop()
        return
      }
    }
    const out = this.#out.get(message.xid)
    if (out === undefined) return this.#drop()
    this.#take(message, rpc, out)
  }

  /** Callers go on when all counters are settled, and what they call leaves in the same chain. */
  turn(): void {
    this.#now = this.#around.now()
    if (this.#hasHeard) this.#aliveAt = this.#now
    this.#hasHeard = false
    this.#refill()
    this.#answers?.flush()
    this.#control.nameInterrupted()
    this.#send()
    this.#finish()
  }

  /** Resumes the callers of calls that have ended. */
  #finish(): void {
    if (this.#finished.length === 0) return
    const finished = this.#finished
    this.#finished = []
    for (const [call, outcome] of finished) call.resume(outcome)
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
    this.#finish()
    for (const [xid, { call, isProbe, lent }] of this.#out) {
      if (call === undefined) {
        if (isProbe) queue.freeXid(xid)
        else queue.addOrphan(xid)
        release(loansOf(lent))
      } else if (lent === nothingLent) queue.add(call)
      else call.resume(again)
    }
    this.#out.clear()
  }

  /** No call is answered on this connection any more: its memory may hold anything. */
  #distrust(reason: string): void {
    this.#isDistrusted = true
    this.fail(reason)
  }

  /** Whether a key was lent with the call that a message answers. */
  #hasLent(message: RpcRdmaMessage.RpcRdmaMessage | undefined, key: number): boolean {
    const out = message && this.#out.get(message.xid)
    return out !== undefined && loansOf(out.lent).some((loan) => loan.key === key)
  }

  #drop(): void {
    this.dropped++
    this.credits.receive(undefined, false)
  }

  /** A reply: consume, clamp and release here; refill and admit in the turn after the batch. */
  #take(message: Reply, rpc: RpcMessage.RpcMessage | undefined, out: Outstanding): void {
    const { xid } = message
    const { queue, release } = this.#around
    this.#out.delete(xid)
    this.credits.receive(message.credits, true)
    this.#hasHeard = true
    if (!this.#isProved) Deferred.doneUnsafe(this.proved, Effect.void)
    this.#isProved = true
    const { call, lent } = out
    if (out.isProbe) this.#control.answered(out)
    else this.#around.patience.reset()
    if (call === undefined) {
      this.#control.interrupted.delete(xid)
      queue.freeXid(xid)
      release(loansOf(lent))
      return
    }
    const outcome = outcomeOf(message, rpc, call, lent)
    if (outcome !== undefined) {
      queue.end(call)
      this.#finished.push([call, outcome])
      return
    }
    // The call was not answered: it goes again, on another connection.
    this.#out.set(xid, out)
    this.credits.held++
    this.#distrust("the peer names memory that was not offered")
  }

  #refill(): void {
    const { missing } = this.credits
    if (missing > 0) this.credits.add(this.#port.postReceives(missing))
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
      else if (!this.#isUsable(call.lent)) call.resume(again)
      else if (fits(call.plan, thresholds)) this.#sendCall(call)
      else if (call.plan.thresholds !== thresholds) call.resume(again)
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
    this.#around.queue.end(call)
    call.fail(new OutcomeUnknown({ procedure: call.procedure, detail }))
  }

  #sendCall(call: Call): void {
    call.xid ??= this.#around.queue.takeXid()
    call.wasSentAgain = call.sentTo !== undefined
    call.sentTo = this.#incarnation
    const out = { call, lent: call.lent, isProbe: false, since: this.#now }
    const { xid } = call
    const { requested } = this.#around.terms
    this.#hand(xid, out, { write: (to) => writeCall(to, call, xid, requested) })
  }

  #hand(xid: number, out: Outstanding, message: Writable): void {
    assert(!this.#out.has(xid), "a call is sent once in a connection instance")
    this.credits.take()
    this.#out.set(xid, out)
    this.#port.send(message)
  }
}

/**
 * The data path of one connection at the responder: Receives, grants, chunks and replies.
 *
 * Before a reply leaves, the Receives that all replies so far have promised are posted; a reply
 * for which that fails waits. What a hostile requester does wrong ends its connection alone.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Status } from "../../../native/verbs/Completion.ts"
import type { CreateError } from "../../../native/verbs/VerbsError.ts"
import { copyOf } from "../../../schema/copyBytes.ts"
import * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import { Obligation } from "../../link/Credits.ts"
import type { Loan, LoanTooLarge, PoolShare } from "../../rdma/RegionPool.ts"
import { GrantingMessage, inlineBytesOf, InlineReply, type RpcReply } from "./inlineReply.ts"
import type { MessagePort, PortUser } from "./messagePort.ts"
import { planReply, type Range, type Thresholds, unreduce } from "./planning.ts"
import { anyKeyOf, isCall, partsOf, shapeOf, type Write, writesOf } from "./replyParts.ts"

/** The pause before refused Receives are posted again: completions free their places sooner. */
export const refillEvery = "10 millis"

/** The side of a connection that answers calls. */
export interface Answering {
  readonly isOver: boolean
  /** Ends the connection. */
  end(reason: string): void
  /** Returns the whole RPC message of a call; undefined if its chunks cannot be used. */
  assemble(incoming: Incoming): Effect.Effect<Uint8Array | undefined, LoanTooLarge | CreateError>
  /**
   * Sends an RPC reply. `bulk` are ranges of opaque data in its results. `done` is called once,
   * when the reply has left or never will.
   */
  reply(incoming: Incoming, rpc: RpcReply, bulk: ReadonlyArray<Range>, done: () => void): void
  /** Answers that the chunks of a call cannot be used. */
  refuseChunks(incoming: Incoming): void
}

/** A call as it came, and the way back to its requester. */
export interface Incoming {
  readonly responder: Answering
  /** Its bytes are valid until the call has been handed over. */
  readonly message: RpcRdmaMessage.RdmaMsg | RpcRdmaMessage.RdmaNomsg
  /** Its caller has given it up before it began. */
  isInterrupted: boolean
}

export interface ResponderOptions {
  readonly thresholds: Thresholds
  /** Registered memory for chunks. */
  readonly share: PoolShare
  /** The most that the read chunks of one call bring, in bytes. */
  readonly maxCallBytes: number
  /** Whether the requester lets its keys be voided by a reply. */
  readonly mayInvalidate: boolean
  /** Credits to grant, as they are now. */
  readonly credits: () => number
  /** A call has come. */
  readonly take: (incoming: Incoming) => void
  /** Takes an answer to a call in the reverse direction. False if there was no such call. */
  readonly answered: (message: RpcRdmaMessage.RpcRdmaMessage) => boolean
  /** Called in each turn: calls in the reverse direction may be sent. */
  readonly turn: () => void
  /** The requester lends memory for a call that cannot be reached. */
  readonly unreachable: (xid: number) => void
  /** Acts after a pause: refused Receives are posted again. */
  readonly later: (act: () => void) => void
  readonly run: (effect: Effect.Effect<void>) => void
}

type Message = RpcRdmaMessage.RpcRdmaMessage

/** A reply that waits for a place, and until the Receives that it promises can be posted. */
interface Held {
  readonly reply: InlineReply | GrantingMessage
  /** They go before the reply. */
  readonly writes: ReadonlyArray<Write>
  readonly xid: number
  /** The key that it voids, or 0. */
  readonly invalidate: number
  readonly done: () => void
}

const noWrites: ReadonlyArray<Write> = []

const nothing = (): void => undefined

const refusal = (xid: number): Message => ({ _tag: "RdmaErrChunk", xid, credits: 1 })

export class Responder implements PortUser, Answering {
  readonly obligation: Obligation
  /** Done with the reason for which the connection is over. */
  readonly ended = Deferred.makeUnsafe<string>()
  /** Whether a valid call has come. */
  isProved = false
  /** Calls of this connection that were not answered on it. */
  readonly open = new Set<number>()
  readonly #options: ResponderOptions
  readonly #held: Array<Held> = []
  /** Receives to post again for messages that were no calls. */
  #owed = 0
  #port!: MessagePort
  #isOver = false
  #isWaiting = false
  #hasHeard = false
  #silentSince = 0

  constructor(options: ResponderOptions, obligation = new Obligation()) {
    this.#options = options
    this.obligation = obligation
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** How long nothing has come, as far as this was asked; no time while a call is under way. */
  silentMs(now: number): number {
    if (this.#hasHeard || this.open.size > 0) this.#silentSince = now
    this.#hasHeard = false
    return now - this.#silentSince
  }

  /** Posts the Receive for the first call. */
  attach(port: MessagePort): boolean {
    this.#port = port
    this.#post(this.obligation.missing(0))
    return this.obligation.missing(0) === 0
  }

  received(bytes: Uint8Array): void {
    // The client has a newer connection, or the server is closed: nothing more begins on this one.
    if (this.#isOver) return
    this.#hasHeard = true
    const read = RpcRdmaMessage.decode(bytes)
    if (Result.isFailure(read)) {
      const answer = RpcRdmaMessage.answerTo(read.failure, 1)
      if (answer === undefined) this.#owed++
      else this.#hold(answer)
      return
    }
    const message = read.success
    // The Receive of an answer was posted for it alone.
    if (!isCall(message)) this.#owed += this.#options.answered(message) ? 0 : 1
    // A call that is under way here already is answered once.
    else if (this.open.has(message.xid)) this.#owed++
    else {
      this.open.add(message.xid)
      this.#options.take({ responder: this, message, isInterrupted: false })
    }
  }

  turn(): void {
    if (this.#owed > 0) this.#owed -= this.#port.postReceives(this.#owed)
    while (this.#held.length > 0 && this.#port.hasRoom) {
      const grant = this.#prepare()
      if (grant === 0) break
      this.#send(this.#held.shift()!, grant)
    }
    this.#options.turn()
    if (this.#owed > 0 || this.#held.length > 0) this.#tryLater()
  }

  #send({ done, invalidate, reply, writes, xid }: Held, grant: number): void {
    for (const { local, to } of writes) {
      this.#port.transfer("write", local, to, (status) => void this.#transferred(xid, status))
    }
    reply.credits = grant
    this.#port.send(reply, invalidate, done)
  }

  /** Calls in the reverse direction, with a Receive for the answer. False if it must wait. */
  call(message: Uint8Array): boolean {
    if (this.#isOver) return false
    if (this.#port.postReceives(1) === 0) {
      this.#tryLater()
      return false
    }
    this.#port.send(message)
    return true
  }

  /** The requester may have no credit left, and then no completion leads to another turn. */
  #tryLater(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#options.later(() => {
      this.#isWaiting = false
      if (!this.#isOver) this.#port.wake()
    })
  }

  failed(detail: string): void {
    this.end(detail)
  }

  /** The connection is over. Nothing is sent on it any more. */
  end(reason: string): void {
    this.#isOver = true
    for (const { done } of this.#held.splice(0)) done()
    Deferred.doneUnsafe(this.ended, Effect.succeed(reason))
  }

  assemble({
    message
  }: Incoming): Effect.Effect<Uint8Array | undefined, LoanTooLarge | CreateError> {
    const { maxCallBytes, share } = this.#options
    const inline =
      message._tag === "RdmaMsg" ? copyOf(message.rpc, 0, message.rpc.length) : undefined
    const { reads } = message.chunks
    if (reads.length === 0) return Effect.succeed(inline)
    // The sum is held against the limit before anything is borrowed or read.
    const bytes = reads.reduce((sum, { length }) => sum + length, 0)
    const isUsable = bytes > 0 && bytes <= maxCallBytes && reads.every(({ length }) => length > 0)
    if (!isUsable) return Effect.undefined
    return Effect.acquireUseRelease(
      share.lend("local", bytes),
      (loan) =>
        Effect.map(this.#read(message.xid, loan, reads), (isRead) =>
          isRead ? unreduce(inline, partsOf(loan, reads)) : undefined
        ),
      ({ end }) => end
    )
  }

  reply(incoming: Incoming, rpc: RpcReply, bulk: ReadonlyArray<Range>, done: () => void): void {
    const { chunks, xid } = incoming.message
    if (this.#isOver || !this.open.delete(xid)) return done()
    const { replyBytes } = this.#options.thresholds
    if (chunks !== RpcRdmaMessage.noChunks) this.#replyByChunks(incoming, rpc, bulk, done)
    else if (inlineBytesOf(rpc) <= replyBytes) {
      const reply = new InlineReply(xid, rpc)
      this.#held.push({ reply, writes: noWrites, xid, invalidate: 0, done })
      this.#port.wake()
    } else this.#hold(refusal(xid), done)
  }

  #replyByChunks(
    { message: { chunks, xid } }: Incoming,
    rpc: RpcReply,
    bulk: ReadonlyArray<Range>,
    done: () => void
  ): void {
    const { mayInvalidate, run, share, thresholds } = this.#options
    const plan = planReply(shapeOf(rpc, bulk), chunks, thresholds.replyBytes)
    if (plan === undefined) return this.#hold(refusal(xid), done)
    const common = { xid, credits: 1, chunks: plan.chunks }
    const { inline, parts } = plan
    const message: Message =
      inline === undefined
        ? { _tag: "RdmaNomsg", ...common }
        : { _tag: "RdmaMsg", ...common, rpc: inline }
    const invalidate = mayInvalidate ? anyKeyOf(chunks) : 0
    if (parts.length === 0) return this.#hold(message, done, invalidate)
    const bytes = parts.reduce((sum, { bytes }) => sum + bytes.length, 0)
    const sending = Effect.acquireUseRelease(
      share.lend("local", bytes),
      // The writes end before the reply does, or are flushed with it.
      (loan) => this.#sent(message, invalidate, writesOf(loan, parts)),
      ({ end }) => end
    )
    run(
      sending.pipe(
        // There can be no memory for it, and it would end the next connection too.
        Effect.catchTag("LoanTooLarge", () => this.#sent(refusal(xid))),
        // The device is lost: the answer is kept for the next connection.
        Effect.catch(({ message }) => Effect.sync(() => this.end(message))),
        Effect.ensuring(Effect.sync(done))
      )
    )
  }

  /** Sends a message. Its memory is in use until it has left, so this is not interruptible. */
  #sent(message: Message, invalidate = 0, writes = noWrites): Effect.Effect<void> {
    const sent = Effect.callback<void>((resume) => {
      this.#hold(message, () => resume(Effect.void), invalidate, writes)
    })
    return Effect.uninterruptible(sent)
  }

  refuseChunks({ message: { xid } }: Incoming): void {
    if (!this.#isOver && this.open.delete(xid)) this.#hold(refusal(xid))
  }

  /** The end of a transfer. One that the requester's keys do not allow ends the connection. */
  #transferred(xid: number, status: Status): boolean {
    if (status === "remote-access") this.#options.unreachable(xid)
    return status === "success"
  }

  /** Reads into borrowed memory. It is in use until all has ended, so this is not interruptible. */
  #read(
    xid: number,
    loan: Loan,
    reads: ReadonlyArray<RpcRdmaMessage.ReadSegment>
  ): Effect.Effect<boolean> {
    const read = Effect.callback<boolean>((resume) => {
      let [left, isGood, offset] = [reads.length, true, 0]
      for (const segment of reads) {
        const local = { region: loan.region, offset }
        offset += segment.length
        this.#port.transfer("read", local, segment, (status) => {
          isGood = this.#transferred(xid, status) && isGood
          left--
          if (left === 0) resume(Effect.succeed(isGood))
        })
      }
    })
    return Effect.uninterruptible(read)
  }

  /** Lets a reply, and what it writes, wait for the Receives that it promises. */
  #hold(message: Message, done = nothing, invalidate = 0, writes = noWrites): void {
    if (this.#isOver) return done()
    const reply = new GrantingMessage(message)
    this.#held.push({ reply, writes, xid: message.xid, invalidate, done })
    this.#port.wake()
  }

  /** Posts what the next reply promises. Returns the grant, or 0 if the reply must wait. */
  #prepare(): number {
    const wanted = this.#options.credits()
    this.#post(this.obligation.missing(wanted))
    const grant = this.obligation.grantable(wanted)
    if (grant > 0) this.obligation.reply(grant)
    return grant
  }

  #post(count: number): void {
    if (count > 0) this.obligation.add(this.#port.postReceives(count))
  }
}

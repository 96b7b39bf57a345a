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
import * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import { Obligation } from "../../link/Credits.ts"
import type { Loan, LoanTooLarge, PoolShare } from "../../rdma/RegionPool.ts"
import type { MessagePort, PortUser } from "./messagePort.ts"
import { planReply, type Range, type ReadPart, type Thresholds, unreduce } from "./planning.ts"

/** The pause before refused Receives are posted again: completions free their places sooner. */
export const refillEvery = "10 millis"

/** The side of a connection that answers calls. */
export interface Answering {
  readonly isOver: boolean
  /** Ends the connection. */
  end(reason: string): void
  /** Returns the whole RPC message of a call; undefined if its chunks cannot be used. */
  assemble(incoming: Incoming): Effect.Effect<Uint8Array | undefined, LoanTooLarge | CreateError>
  /** Sends an RPC reply. `bulk` are ranges of opaque data in the message. */
  reply(
    incoming: Incoming,
    rpc: Uint8Array,
    bulk: ReadonlyArray<Range>
  ): Effect.Effect<void, LoanTooLarge | CreateError>
  /** Answers that the chunks of a call cannot be used. */
  refuseChunks(incoming: Incoming): void
}

/** A call as it came, and the way back to its requester. */
export interface Incoming {
  readonly responder: Answering
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
}

type Message = RpcRdmaMessage.RpcRdmaMessage

export class Responder implements PortUser, Answering {
  readonly obligation: Obligation
  /** Done with the reason for which the connection is over. */
  readonly ended = Deferred.makeUnsafe<string>()
  /** Whether a valid call has come. */
  isProved = false
  /** Calls of this connection that were not answered on it. */
  readonly open = new Set<number>()
  readonly #options: ResponderOptions
  /** Replies that wait for a place, and until the Receives that they promise can be posted. */
  readonly #held: Array<{ readonly send: (grant: number) => void; readonly dropped: () => void }> =
    []
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
      else this.#reply((credits) => this.#port.send(encode({ ...answer, credits })))
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
    this.#owed -= this.#port.postReceives(this.#owed)
    while (this.#held.length > 0 && this.#port.hasRoom) {
      const grant = this.#prepare()
      if (grant === 0) break
      this.#held.shift()!.send(grant)
    }
    this.#options.turn()
    if (this.#owed > 0 || this.#held.length > 0) this.#tryLater()
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
      if (!this.#isOver) this.turn()
    })
  }

  failed(detail: string): void {
    this.end(detail)
  }

  /** The connection is over. Nothing is sent on it any more. */
  end(reason: string): void {
    this.#isOver = true
    for (const { dropped } of this.#held.splice(0)) dropped()
    Deferred.doneUnsafe(this.ended, Effect.succeed(reason))
  }

  assemble({
    message
  }: Incoming): Effect.Effect<Uint8Array | undefined, LoanTooLarge | CreateError> {
    const { maxCallBytes, share } = this.#options
    const inline = message._tag === "RdmaMsg" ? message.rpc : undefined
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

  reply(
    incoming: Incoming,
    rpc: Uint8Array,
    bulk: ReadonlyArray<Range>
  ): Effect.Effect<void, LoanTooLarge | CreateError> {
    return Effect.suspend(() => {
      const { chunks, xid } = incoming.message
      const plan = planReply(rpc, bulk, chunks, this.#options.thresholds.replyBytes)
      if (plan === undefined) {
        this.#finish(xid, [], { _tag: "RdmaErrChunk", xid, credits: 1 }, 0)
        return Effect.void
      }
      const { inline } = plan
      const common = { xid, credits: 1, chunks: plan.chunks }
      const message: Message =
        inline === undefined
          ? { _tag: "RdmaNomsg", ...common }
          : { _tag: "RdmaMsg", ...common, rpc: inline }
      const invalidate = this.#options.mayInvalidate ? anyKeyOf(chunks) : 0
      const bytes = plan.parts.reduce((sum, { bytes }) => sum + bytes.length, 0)
      // Sent, or flushed: a server that is closed waits for its answers, not for their posting.
      const isSent = Deferred.makeUnsafe<void>()
      const done = (): void => void Deferred.doneUnsafe(isSent, Effect.void)
      if (bytes === 0) {
        this.#finish(xid, [], message, invalidate, done)
        return Deferred.await(isSent)
      }
      return Effect.acquireUseRelease(
        this.#options.share.lend("local", bytes),
        (loan) => {
          let at = 0
          const writes = plan.parts.map(({ bytes, to }) => {
            loan.bytes.set(bytes, at)
            at += bytes.length
            return { loan, offset: at - bytes.length, to }
          })
          this.#finish(xid, writes, message, invalidate, done)
          // The writes end before the reply does, or are flushed with it.
          return Deferred.await(isSent)
        },
        ({ end }) => end
      )
    })
  }

  refuseChunks({ message: { xid } }: Incoming): void {
    this.#finish(xid, [], { _tag: "RdmaErrChunk", xid, credits: 1 }, 0)
  }

  /** The end of a transfer. One that the requester's keys do not allow ends the connection. */
  #transferred(xid: number, status: Status): boolean {
    if (status === "remote-access") this.#options.unreachable(xid)
    return status === "success"
  }

  #read(
    xid: number,
    loan: Loan,
    reads: ReadonlyArray<RpcRdmaMessage.ReadSegment>
  ): Effect.Effect<boolean> {
    return Effect.callback((resume) => {
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
  }

  /** Posts writes and the reply that follows them, or lets both wait for Receives. */
  #finish(
    xid: number,
    writes: ReadonlyArray<{
      readonly loan: Loan
      readonly offset: number
      readonly to: RpcRdmaMessage.ChunkSegment
    }>,
    message: Message,
    invalidate: number,
    done: () => void = () => undefined
  ): void {
    if (this.#isOver || !this.open.delete(xid)) return done()
    this.#reply((credits) => {
      for (const { loan, offset, to } of writes) {
        const local = { region: loan.region, offset }
        this.#port.transfer("write", local, to, (status) => void this.#transferred(xid, status))
      }
      this.#port.send(encode({ ...message, credits }), invalidate, done)
    }, done)
  }

  #reply(send: (grant: number) => void, dropped: () => void = () => undefined): void {
    this.#held.push({ send, dropped })
    this.turn()
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
    this.obligation.add(this.#port.postReceives(count))
  }
}

/** The type of an RPC message that is a reply. */
const replyType = 1

/** A message without an RPC message in it is a call too: that is read by the responder. */
const isCall = (message: Message): message is RpcRdmaMessage.RdmaMsg | RpcRdmaMessage.RdmaNomsg => {
  if (message._tag === "RdmaNomsg") return true
  if (message._tag !== "RdmaMsg") return false
  const { rpc } = message
  return rpc.length < 8 || new DataView(rpc.buffer, rpc.byteOffset).getUint32(4) !== replyType
}

const encode = (message: Message): Uint8Array => RpcRdmaMessage.encode(message)

/** Segments of one position are one chunk, and lie one behind the other. */
const partsOf = (
  { bytes: lent }: Loan,
  reads: ReadonlyArray<RpcRdmaMessage.ReadSegment>
): ReadonlyArray<ReadPart> => {
  const parts: Array<ReadPart> = []
  let [start, end] = [0, 0]
  for (const [index, { length, position }] of reads.entries()) {
    end += length
    if (reads[index + 1]?.position === position) continue
    parts.push({ position, bytes: Uint8Array.from(lent.subarray(start, end)) })
    start = end
  }
  return parts
}

/** A reply voids one key of its call; the requester voids the others. */
const anyKeyOf = ({ reads, reply, writes }: RpcRdmaMessage.ChunkLists): number =>
  reads[0]?.handle ?? writes.flat()[0]?.handle ?? reply?.[0]?.handle ?? 0

/**
 * Calls of a server to one client, in the reverse direction, over all its connections.
 *
 * At most as many are out as the client has offered, and each has a Receive of its own for the
 * reply, beside those that grants promise. They travel inline. What a lost connection did not
 * answer is sent again on the next one, with the same XID: the client's cache executes it once.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import { CallRefused, OutcomeUnknown } from "../RpcError.ts"
import type { ReverseCallRequest, ReverseCaller } from "../RpcProgram.ts"
import { readResults } from "./results.ts"

/** The connection that carries the calls. */
export interface ReversePath {
  /** Calls that the client takes at once. */
  readonly limit: number
  readonly maxBytes: number
  /** Sends a call, if a Receive for its reply was posted; false if it is to be tried again. */
  readonly send: (message: Uint8Array) => boolean
}

interface ReverseCall {
  readonly xid: number
  readonly procedure: number
  readonly message: Uint8Array
  readonly outcome: Deferred.Deferred<Uint8Array, CallRefused | OutcomeUnknown>
  wasSent: boolean
  wasSentAgain: boolean
  isAbandoned: boolean
}

type Message = RpcRdmaMessage.RpcRdmaMessage

/** XIDs that are reserved at once: an append for some ten thousand calls costs nothing. */
const xidsAtOnce = 65_536

export class ReverseCalls implements ReverseCaller {
  readonly #waiting: Array<ReverseCall> = []
  /** Calls that were sent on the present connection, by XID. */
  readonly #out = new Map<number, ReverseCall>()
  #path: ReversePath | undefined = undefined
  /** No call has had this XID or a later one: the next life of this server begins here. */
  reservedTo: number
  /** More XIDs are reserved. */
  reserved: () => void = () => undefined
  #nextXid: number
  #isClosed = false

  constructor(firstXid: number) {
    this.#nextXid = firstXid >>> 0
    this.reservedTo = (firstXid + xidsAtOnce) >>> 0
  }

  get limit(): number {
    return this.#path?.limit ?? 0
  }

  /** Calls that wait, or are out. */
  get size(): number {
    return this.#waiting.length + this.#out.size
  }

  call(request: ReverseCallRequest): Effect.Effect<Uint8Array, CallRefused | OutcomeUnknown> {
    return Effect.suspend(() => {
      const { procedure } = request
      const refuse = (reason: CallRefused["reason"]) =>
        Effect.fail(new CallRefused({ reason, procedure }))
      if (this.#isClosed) return refuse("closed")
      const path = this.#path
      if (path === undefined || path.limit === 0) return refuse("not-offered")
      const call = this.#make(request)
      if (call.message.length > path.maxBytes) return refuse("too-long")
      this.#waiting.push(call)
      this.flush()
      return Effect.onInterrupt(Deferred.await(call.outcome), () =>
        Effect.sync(() => this.#abandon(call))
      )
    })
  }

  /** A newer connection is there: what the older one did not answer goes again, before the rest. */
  open(path: ReversePath): void {
    const unanswered = [...this.#out.values()].filter(({ isAbandoned }) => !isAbandoned)
    for (const call of unanswered) call.wasSentAgain = true
    this.#out.clear()
    this.#waiting.unshift(...unanswered)
    this.#path = path
    this.#isClosed = false
    this.flush()
  }

  /** A connection is over. Nothing of it is kept, and calls wait for the next one. */
  lost(path: ReversePath): void {
    if (this.#path === path) this.#path = { ...path, send: () => false }
  }

  /** Sends what may be sent. */
  flush(): void {
    const path = this.#path
    if (path === undefined) return
    while (this.#waiting.length > 0 && this.#out.size < path.limit) {
      const call = this.#waiting[0]!
      if (!path.send(call.message)) return
      this.#waiting.shift()
      call.wasSent = true
      this.#out.set(call.xid, call)
    }
  }

  /** Takes a reply, or an error. False if no call of this side is meant. */
  answered(path: ReversePath, message: Message): boolean {
    const isAnswer = message._tag !== "RdmaDone" && path === this.#path
    const call = isAnswer ? this.#out.get(message.xid) : undefined
    if (call === undefined) return false
    this.#out.delete(message.xid)
    Deferred.doneUnsafe(call.outcome, outcomeOf(call, message))
    return true
  }

  /** No connection is expected any more: fails what has no answer. */
  close(): void {
    this.#isClosed = true
    const unanswered = [...this.#waiting.splice(0), ...this.#out.values()]
    this.#out.clear()
    for (const { outcome, procedure, wasSent } of unanswered) {
      const detail = "the client did not come back, or the server was closed"
      const error = wasSent
        ? new OutcomeUnknown({ procedure, detail })
        : new CallRefused({ reason: "closed", procedure })
      Deferred.doneUnsafe(outcome, Effect.fail(error))
    }
  }

  /** A call that is out keeps its credit until it is answered, or its connection is lost. */
  #abandon(call: ReverseCall): void {
    const at = this.#waiting.indexOf(call)
    if (at >= 0) this.#waiting.splice(at, 1)
    else call.isAbandoned = true
  }

  #make({ args, procedure, program, version }: ReverseCallRequest): ReverseCall {
    const xid = this.#nextXid
    this.#nextXid = (xid + 1) >>> 0
    if ((this.reservedTo - xid) >>> 0 < xidsAtOnce / 2) {
      this.reservedTo = (this.reservedTo + xidsAtOnce) >>> 0
      this.reserved()
    }
    const { authNone } = RpcMessage
    const common = { xid, program, version, procedure, args }
    const rpc = RpcMessage.encode({
      _tag: "Call",
      ...common,
      credential: authNone,
      verifier: authNone
    })
    const chunks = RpcRdmaMessage.noChunks
    const message = RpcRdmaMessage.encode({ _tag: "RdmaMsg", xid, credits: 1, chunks, rpc })
    const outcome = Deferred.makeUnsafe<Uint8Array, CallRefused | OutcomeUnknown>()
    return {
      xid,
      procedure,
      message,
      outcome,
      wasSent: false,
      wasSentAgain: false,
      isAbandoned: false
    }
  }
}

const outcomeOf = (
  call: ReverseCall,
  message: Message
): Effect.Effect<Uint8Array, CallRefused | OutcomeUnknown> => {
  if (message._tag === "RdmaMsg") {
    return Effect.fromResult(readResults(call, message.xid, message.rpc))
  }
  const reason = message._tag === "RdmaErrVers" ? "version-refused" : "chunks-refused"
  return Effect.fail(new CallRefused({ reason, procedure: call.procedure }))
}

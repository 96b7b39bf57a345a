/** Takes and answers calls of the responder on one connection of a client. They travel inline. */
import * as Effect from "effect/Effect"
import type * as RpcRdmaMessage from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { Credits } from "../../link/Credits.ts"
import { GrantingMessage, inlineBytesOf, InlineReply, type RpcReply } from "./inlineReply.ts"
import type { Writable } from "./outgoing.ts"
import type { Range } from "./planning.ts"
import type { Answering, Incoming } from "./responder.ts"
import type { ReverseServing } from "./reverseServing.ts"

/** The connection. */
export interface AnswerPath {
  /** The longest message to the responder that goes inline. */
  readonly maxBytes: number
  readonly hasRoom: () => boolean
  readonly send: (message: Writable) => void
  readonly fail: (reason: string) => void
  /** Sends what may be sent now. */
  readonly turn: () => void
}

export class ReverseAnswers implements Answering {
  isOver = false
  readonly #serving: ReverseServing
  readonly #credits: Credits
  /** Answers that wait for a place and for Receives, in order. */
  readonly #waiting: Array<{ readonly xid: number; readonly message: Writable }> = []
  /** XIDs of calls that are not answered on this connection. */
  readonly #taken = new Set<number>()
  readonly #path: AnswerPath

  constructor(serving: ReverseServing, credits: Credits, path: AnswerPath) {
    this.#serving = serving
    this.#credits = credits
    this.#path = path
  }

  end(reason: string): void {
    this.#path.fail(reason)
  }

  /** A call has come. False if none was offered: then it is a message like any rubbish. */
  take(message: RpcRdmaMessage.RdmaMsg): boolean {
    const { calls } = this.#serving
    if (calls === 0) return false
    if (this.#credits.unanswered >= calls || this.#taken.has(message.xid)) {
      this.end("the peer calls more than was offered, or twice by one XID")
      return false
    }
    this.#credits.receiveCall()
    this.#taken.add(message.xid)
    this.#serving.take({ responder: this, message, isInterrupted: false })
    return true
  }

  /** Sends answers as far as the Receives for the calls that they allow are posted. */
  flush(): void {
    while (this.#waiting.length > 0 && this.#credits.mayAnswer && this.#path.hasRoom()) {
      const { message, xid } = this.#waiting.shift()!
      this.#credits.answer()
      this.#taken.delete(xid)
      this.#path.send(message)
    }
  }

  assemble({ message }: Incoming): Effect.Effect<Uint8Array | undefined> {
    const isInline = message._tag === "RdmaMsg" && message.chunks.reads.length === 0
    return Effect.succeed(isInline ? message.rpc : undefined)
  }

  reply(incoming: Incoming, rpc: RpcReply, _: ReadonlyArray<Range>, done: () => void): void {
    const { xid } = incoming.message
    // There is no chunk that a longer one could be written to.
    if (inlineBytesOf(rpc) > this.#path.maxBytes) this.refuseChunks(incoming)
    else this.#give(xid, new InlineReply(xid, rpc))
    done()
  }

  refuseChunks({ message: { xid } }: Incoming): void {
    this.#give(xid, new GrantingMessage({ _tag: "RdmaErrChunk", xid, credits: 1 }))
  }

  #give(xid: number, message: InlineReply | GrantingMessage): void {
    if (this.isOver) return
    message.credits = this.#serving.calls
    this.#waiting.push({ xid, message })
    this.#path.turn()
  }
}

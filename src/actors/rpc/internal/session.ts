/** What a server remembers of one client: its calls, their answers, and its connections. */
import * as Effect from "effect/Effect"
import type * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import type { ProcedureReply } from "../RpcProgram.ts"
import type { Handler } from "./handlers.ts"
import type { CallName, ReplyCache } from "./replyCache.ts"
import type { Answering, Incoming } from "./responder.ts"
import type { ReverseCalls } from "./reverseCalls.ts"

/** The answer of a program, independent of any connection. */
export interface Answer {
  readonly outcome: RpcMessage.Outcome
  readonly bulk: NonNullable<ProcedureReply["bulk"]>
}

/** Where the calls of a client are stored that are executed at most once. */
export interface CallLog {
  begun(xid: number, name: CallName): Effect.Effect<void>
  answered(xid: number, name: CallName, answer: Answer): Effect.Effect<void>
}

/** Each of them has ended a connection, so a client that is not hostile has one or none. */
const maxUnreachable = 16

/** One client over all its connections. */
export class ClientSession {
  readonly principal: string
  /** The session's name for the client: another one means that the cache is gone. */
  readonly incarnation: Uint8Array
  cache: ReplyCache<Answer, Incoming>
  /** The oldest first. */
  readonly connections = new Set<Answering>()
  /** When the last connection was lost, in milliseconds. */
  lostAt = 0
  /** Whether the client's next connection gets another session. */
  isForgotten = false
  /** Waits until its incarnation is stored, if that outlives the server. */
  isStored: Effect.Effect<void> = Effect.void
  log: CallLog | undefined = undefined
  /** Handlers that are under way. */
  handlers = 0
  readonly byXid = new Map<number, Handler>()
  /** Calls whose chunks are being read. */
  readonly arriving = new Set<Incoming>()
  /** XIDs of the newest calls whose memory could not be reached. */
  readonly #unreachable = new Set<number>()

  /** Calls to the client. Undefined if this side is a client itself, and the other its server. */
  readonly reverse: ReverseCalls | undefined

  constructor(
    principal: string,
    incarnation: Uint8Array,
    cache: ReplyCache<Answer, Incoming>,
    reverse: ReverseCalls | undefined
  ) {
    this.principal = principal
    this.reverse = reverse
    this.incarnation = incarnation
    this.cache = cache
  }

  /**
   * The memory that a call lends could not be reached, which has ended its connection. The same
   * call on the next one is refused, or it would end that one too, and so on.
   */
  addUnreachable(xid: number): void {
    this.#unreachable.add(xid)
    for (const oldest of this.#unreachable) {
      if (this.#unreachable.size <= maxUnreachable) return
      this.#unreachable.delete(oldest)
    }
  }

  /** Ends all connections before this one: on them nothing more begins. */
  endOlder(newest: Answering): void {
    for (const older of this.connections) {
      if (older === newest) return
      older.end("the client has a newer connection")
    }
  }

  /** Calls that their caller has given up end, or do not begin. */
  interrupt(xids: ReadonlyArray<number>): void {
    for (const xid of xids) this.byXid.get(xid)?.fiber.interruptUnsafe()
    for (const incoming of this.arriving) {
      if (xids.includes(incoming.message.xid)) incoming.isInterrupted = true
    }
  }

  takeUnreachable(xid: number): boolean {
    return this.#unreachable.delete(xid)
  }

  /** Whether it may be forgotten. */
  get isIdle(): boolean {
    const callsBack = this.reverse !== undefined && this.reverse.size > 0
    return this.connections.size === 0 && this.cache.executing === 0 && !callsBack
  }
}

export const plain = (tag: "GarbageArgs" | "SystemError" | "ProcedureUnavailable"): Answer => ({
  outcome: { _tag: tag },
  bulk: []
})

/** An answer as a cache keeps it. */
export const cached = (reply: Answer) => ({
  reply,
  bytes: reply.outcome._tag === "Success" ? reply.outcome.results.length : 0
})

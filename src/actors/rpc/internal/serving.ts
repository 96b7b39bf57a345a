/**
 * Executes calls: each at most once for a client, whatever connections it comes on.
 *
 * A handler belongs to the client, not to a connection. Its loss does not interrupt the handler;
 * the same call on the next connection waits for it, and is answered there.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import type { Procedure, ProcedureReply, Program } from "../RpcProgram.ts"
import { control, decodeInterrupts } from "./control.ts"
import type { Handler, Handlers } from "./handlers.ts"
import { concat } from "./planning.ts"
import { type Entry, nameOf, type ReplyCache } from "./replyCache.ts"
import type { Answering, Incoming } from "./responder.ts"
import type { ReverseCalls } from "./reverseCalls.ts"

type Outcome = RpcMessage.Outcome

/** The answer of a program, independent of any connection. */
export interface Answer {
  readonly outcome: Outcome
  readonly bulk: NonNullable<ProcedureReply["bulk"]>
}

/** Each of them has ended a connection, so a client that is not hostile has one or none. */
const maxUnreachable = 16

/** One client over all its connections. */
export class ClientSession {
  readonly principal: string
  /** The session's name for the client: another one means that the cache is gone. */
  readonly incarnation: Uint8Array
  readonly cache: ReplyCache<Answer, Incoming>
  /** The oldest first. */
  readonly connections = new Set<Answering>()
  /** Handlers that are under way. */
  handlers = 0
  readonly byXid = new Map<number, Handler>()
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

  takeUnreachable(xid: number): boolean {
    return this.#unreachable.delete(xid)
  }

  /** Whether it may be forgotten. */
  get isIdle(): boolean {
    const callsBack = this.reverse !== undefined && this.reverse.size > 0
    return this.connections.size === 0 && this.cache.executing === 0 && !callsBack
  }
}

const plain = (tag: "GarbageArgs" | "SystemError" | "ProcedureUnavailable"): Answer => ({
  outcome: { _tag: tag },
  bulk: []
})

const acceptedHeaderBytes = 24

const versionRange = (programs: ReadonlyArray<Program>) => ({
  low: Math.min(...programs.map(({ version }) => version)),
  high: Math.max(...programs.map(({ version }) => version))
})

export interface Dispatching {
  readonly programs: ReadonlyArray<Program>
  readonly handlers: Handlers
  /** Called at the first valid call of a connection. */
  readonly proved: () => void
}

/** Finds the procedure of a call, or the answer that there is none. */
const procedureOf = (
  programs: ReadonlyArray<Program>,
  { procedure, program, version }: RpcMessage.Call
): Procedure | Answer => {
  const versions = programs.filter((one) => one.program === program)
  if (versions.length === 0) return { outcome: { _tag: "ProgramUnavailable" }, bulk: [] }
  const found = versions.find((one) => one.version === version)
  if (found === undefined) {
    return { outcome: { _tag: "ProgramMismatch", ...versionRange(versions) }, bulk: [] }
  }
  if (procedure === 0) return succeeded({ results: new Uint8Array(0) })
  return found.procedures[procedure] ?? plain("ProcedureUnavailable")
}

const succeeded = ({ bulk = [], results }: ProcedureReply): Answer => ({
  outcome: { _tag: "Success", results },
  bulk
})

/** Sends an answer; a reply that finds no memory or no connection is kept for the next one. */
const send = (incoming: Incoming, { bulk, outcome }: Answer): Effect.Effect<void> => {
  const { xid } = incoming.message
  const verifier = RpcMessage.authNone
  const message = RpcMessage.encode({ _tag: "Accepted", xid, verifier, outcome })
  const ranges = bulk.map(({ length, offset }) => ({
    offset: acceptedHeaderBytes + offset,
    length
  }))
  return incoming.responder
    .reply(incoming, message, ranges)
    .pipe(Effect.catch(({ message }) => Effect.sync(() => incoming.responder.end(message))))
}

const run = (
  { handler }: Procedure,
  call: RpcMessage.Call,
  { principal, reverse: caller }: ClientSession
): Effect.Effect<Answer> =>
  handler({ args: call.args, principal, credential: call.credential, caller }).pipe(
    Effect.map(succeeded),
    Effect.catchTag("GarbageArgs", () => Effect.succeed(plain("GarbageArgs"))),
    Effect.catchCause((cause) =>
      Effect.as(Effect.logError("a handler failed", cause), plain("SystemError"))
    )
  )

/** Executes a call unless it was executed before, and answers it on its newest connection. */
const executeOnce = (
  handlers: Handlers,
  session: ClientSession,
  procedure: Procedure,
  call: RpcMessage.Call,
  incoming: Incoming,
  name: string
): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const { cache } = session
    const found = cache.find(call.xid, name)
    if (found === "forgotten") return send(incoming, plain("SystemError"))
    if (found?.answer !== undefined) return send(incoming, found.answer.reply)
    if (found !== undefined) {
      found.waiter = incoming
      return Effect.void
    }
    // What an older connection has queued must not begin after a call of the newer one.
    if (incoming.responder.isOver) return Effect.void
    const isLost = () => entry.waiter?.responder.isOver === true
    const handler = { owner: session, xid: call.xid, isLost, fiber }
    if (!handlers.begin(handler)) return send(incoming, plain("SystemError"))
    // In the same turn as the look into the cache, so that no other connection begins it as well.
    const entry: Entry<Answer, Incoming> = cache.begin(call.xid, name, incoming)
    const finish = (reply: Answer): void => {
      const bytes = reply.outcome._tag === "Success" ? reply.outcome.results.length : 0
      cache.finish(entry, { reply, bytes })
    }
    return run(procedure, call, session).pipe(
      Effect.tap((reply) => Effect.sync(() => finish(reply))),
      // What a handler that was given up has done is not known, and it does not begin again.
      Effect.onInterrupt(() =>
        Effect.suspend(() => {
          finish(plain("SystemError"))
          return send(entry.waiter!, plain("SystemError"))
        })
      ),
      Effect.ensuring(handlers.end(handler)),
      Effect.flatMap((reply) => send(entry.waiter!, reply))
    )
  })

/** Answers one call that came on a connection of a client. */
export const serve = Effect.fnUntraced(function* (
  { handlers, programs, proved }: Dispatching,
  session: ClientSession,
  incoming: Incoming
): Effect.fn.Return<void> {
  const { message, responder } = incoming
  if (session.takeUnreachable(message.xid)) return responder.refuseChunks(incoming)
  const whole = yield* Effect.orElseSucceed(responder.assemble(incoming), () => undefined)
  if (whole === undefined) return responder.refuseChunks(incoming)
  const read = RpcMessage.decode(whole)
  if (Result.isFailure(read)) return yield* refuse(incoming, read.failure)
  const call = read.success
  if (call._tag !== "Call" || call.xid !== message.xid) {
    return responder.refuseChunks(incoming)
  }
  proved()
  if (call.program === control.program) {
    for (const xid of decodeInterrupts(call.args) ?? []) handlers.interrupt(session, xid)
    return yield* send(incoming, succeeded({ results: new Uint8Array(0) }))
  }
  const procedure = procedureOf(programs, call)
  if ("outcome" in procedure) return yield* send(incoming, procedure)
  if (procedure.isIdempotent === true) {
    return yield* Effect.withFiber((fiber) => {
      if (responder.isOver) return Effect.void
      const isLost = () => responder.isOver
      const handler = { owner: session, xid: call.xid, isLost, fiber }
      if (!handlers.begin(handler)) return send(incoming, plain("SystemError"))
      return run(procedure, call, session).pipe(
        Effect.onInterrupt(() => send(incoming, plain("SystemError"))),
        Effect.ensuring(handlers.end(handler)),
        Effect.flatMap((answer) => send(incoming, answer))
      )
    })
  }
  return yield* executeOnce(
    handlers,
    session,
    procedure,
    call,
    incoming,
    nameOf(call, concat([whole]))
  )
})

/** A call whose RPC message cannot be read. */
const refuse = (incoming: Incoming, fault: { readonly _tag: string }): Effect.Effect<void> => {
  const { xid } = incoming.message
  if (fault._tag !== "UnknownRpcVersion") return send(incoming, plain("GarbageArgs"))
  const denial = { _tag: "RpcMismatch", low: 2, high: 2 } as const
  const message = RpcMessage.encode({ _tag: "Denied", xid, denial })
  return Effect.ignore(incoming.responder.reply(incoming, message, []))
}

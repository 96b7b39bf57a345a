/**
 * Executes calls: each at most once for a client, whatever connections it comes on.
 *
 * A handler belongs to the client, not to a connection. Its loss does not interrupt the handler;
 * the same call on the next connection waits for it, and is answered there.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import type { Procedure, ProcedureReply, Program } from "../RpcProgram.ts"
import { control, decodeInterrupts } from "./control.ts"
import type { Handler, Handlers } from "./handlers.ts"
import { concat } from "./planning.ts"
import { type Entry, nameOf, type ReplyCache, type Seen } from "./replyCache.ts"
import type { Answering, Incoming } from "./responder.ts"
import type { ReverseCalls } from "./reverseCalls.ts"

type Outcome = RpcMessage.Outcome

/** The answer of a program, independent of any connection. */
export interface Answer {
  readonly outcome: Outcome
  readonly bulk: NonNullable<ProcedureReply["bulk"]>
}

/** Where the calls of a client are stored that are executed at most once. */
export interface CallLog {
  begun(xid: number, name: string): Effect.Effect<void>
  answered(xid: number, name: string, answer: Answer): Effect.Effect<void>
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
  /** Calls that are served, among them those whose chunks are being read. */
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

/**
 * Sends an answer. One for which there can be no memory is refused, since it would end the next
 * connection too; if the device is lost, the connection ends and the answer is kept.
 */
const send = (incoming: Incoming, { bulk, outcome }: Answer): Effect.Effect<void> => {
  const { xid } = incoming.message
  const verifier = RpcMessage.authNone
  const message = RpcMessage.encode({ _tag: "Accepted", xid, verifier, outcome })
  const ranges = bulk.map(({ length, offset }) => ({
    offset: acceptedHeaderBytes + offset,
    length
  }))
  return incoming.responder.reply(incoming, message, ranges).pipe(
    Effect.catchTag("LoanTooLarge", () =>
      Effect.sync(() => incoming.responder.refuseChunks(incoming))
    ),
    Effect.catch(({ message }) => Effect.sync(() => incoming.responder.end(message)))
  )
}

const run = (
  { handler }: Procedure,
  call: RpcMessage.Call,
  { principal, reverse: caller }: ClientSession
): Effect.Effect<Answer> =>
  Effect.suspend(() =>
    handler({ args: call.args, principal, credential: call.credential, caller })
  ).pipe(
    Effect.map(succeeded),
    Effect.catchTag("GarbageArgs", () => Effect.succeed(plain("GarbageArgs"))),
    Effect.catchCause((cause) =>
      Effect.as(Effect.logError("a handler failed", cause), plain("SystemError"))
    )
  )

/** A call that is to be executed. */
interface Task {
  readonly session: ClientSession
  readonly procedure: Procedure
  readonly call: RpcMessage.Call
  readonly incoming: Incoming
}

/**
 * Runs the handler of a call, unless its caller is gone or there are too many, and gives its
 * answer on. That is not interruptible: the memory of an answer is in use until it was sent.
 */
const runHandler = (
  handlers: Handlers,
  { call, incoming, procedure, session }: Task,
  isLost: () => boolean,
  begin: () => {
    readonly isBegun?: Effect.Effect<void> | undefined
    readonly give: (answer: Answer) => Effect.Effect<void>
  }
): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const handler = { owner: session, xid: call.xid, isLost, fiber }
    if (incoming.isInterrupted || !handlers.begin(handler))
      return send(incoming, plain("SystemError"))
    const { give, isBegun } = begin()
    const running = run(procedure, call, session)
    return (isBegun === undefined ? running : Effect.andThen(isBegun, running)).pipe(
      Effect.onExit((exit) => {
        handlers.end(handler)
        // What a handler that was given up has done is not known, and it does not begin again.
        return give(Exit.isSuccess(exit) ? exit.value : plain("SystemError"))
      }),
      Effect.asVoid
    )
  })

/** Executes a call unless it was executed before, and answers it on its newest connection. */
const executeOnce = (
  handlers: Handlers,
  task: Task,
  name: string,
  seen: Seen<Answer, Incoming>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { call, incoming, session } = task
    const { cache } = session
    const found = cache.find(call.xid, name, seen)
    if (found === "forgotten") return send(incoming, plain("SystemError"))
    if (found?.answer !== undefined) return send(incoming, found.answer.reply)
    if (found !== undefined) {
      found.waiter = incoming
      return Effect.void
    }
    // What an older connection has queued must not begin after a call of the newer one.
    if (incoming.responder.isOver) return Effect.void
    let entry: Entry<Answer, Incoming> | undefined
    const isLost = () => entry?.waiter?.responder.isOver === true
    // In the same turn as the look into the cache, so that no other connection begins it as well.
    return runHandler(handlers, task, isLost, () => {
      const begun = (entry = cache.begin(call.xid, name, incoming))
      const { log } = session
      const answer = (reply: Answer) =>
        Effect.suspend(() => send(cache.finish(begun, cached(reply))!, reply))
      return {
        isBegun: log?.begun(call.xid, name),
        give: (reply) =>
          log === undefined
            ? answer(reply)
            : Effect.andThen(log.answered(call.xid, name, reply), answer(reply))
      }
    })
  })

const serveCall = Effect.fnUntraced(function* (
  { handlers, programs, proved }: Dispatching,
  session: ClientSession,
  incoming: Incoming
): Effect.fn.Return<void> {
  const { message, responder } = incoming
  if (session.takeUnreachable(message.xid)) return responder.refuseChunks(incoming)
  const seen = session.cache.see(message.xid)
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
    session.interrupt(decodeInterrupts(call.args) ?? [])
    return yield* send(incoming, succeeded({ results: new Uint8Array(0) }))
  }
  const procedure = procedureOf(programs, call)
  if ("outcome" in procedure) return yield* send(incoming, procedure)
  const task: Task = { session, procedure, call, incoming }
  if (procedure.isIdempotent !== true) {
    return yield* executeOnce(handlers, task, nameOf(call, concat([whole])), seen)
  }
  if (responder.isOver) return
  // The same call of a connection that is over: its answer would go nowhere.
  const older = seen.entry === undefined ? session.byXid.get(call.xid) : undefined
  if (older?.isLost() === true) older.fiber.interruptUnsafe()
  const isLost = () => responder.isOver
  return yield* runHandler(handlers, task, isLost, () => ({
    give: (answer) => send(incoming, answer)
  }))
})

/** Answers one call that came on a connection of a client. A defect ends that connection. */
export const serve = (
  dispatching: Dispatching,
  session: ClientSession,
  incoming: Incoming
): Effect.Effect<void> =>
  Effect.suspend(() => {
    session.arriving.add(incoming)
    return serveCall(dispatching, session, incoming)
  }).pipe(
    Effect.catchDefect((defect) =>
      Effect.sync(() => incoming.responder.end(`defect: ${String(defect)}`))
    ),
    Effect.ensuring(Effect.sync(() => session.arriving.delete(incoming)))
  )

/** A call whose RPC message cannot be read. */
const refuse = (incoming: Incoming, fault: { readonly _tag: string }): Effect.Effect<void> => {
  const { xid } = incoming.message
  if (fault._tag !== "UnknownRpcVersion") return send(incoming, plain("GarbageArgs"))
  const denial = { _tag: "RpcMismatch", low: 2, high: 2 } as const
  const message = RpcMessage.encode({ _tag: "Denied", xid, denial })
  return Effect.ignore(incoming.responder.reply(incoming, message, []))
}

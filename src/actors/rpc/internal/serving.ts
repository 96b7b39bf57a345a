/**
 * Executes calls: each at most once for a client, whatever connections it comes on.
 *
 * A handler belongs to the client, not to a connection. Its loss does not interrupt the handler;
 * the same call on the next connection waits for it, and is answered there.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { copyOf } from "../../../schema/copyBytes.ts"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import type { GarbageArgs, Procedure, ProcedureReply, Program } from "../RpcProgram.ts"
import { control, decodeInterrupts } from "./control.ts"
import type { Handler, Handlers } from "./handlers.ts"
import { type CallName, type Entry, nameOf, type Seen } from "./replyCache.ts"
import type { Incoming } from "./responder.ts"
import { type Answer, cached, type ClientSession, plain } from "./session.ts"

const noBytes = new Uint8Array(0)

const versionRange = (programs: ReadonlyArray<Program>) => ({
  low: Math.min(...programs.map(({ version }) => version)),
  high: Math.max(...programs.map(({ version }) => version))
})

/** Runs an effect until the server ends. */
export type RunHandler = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

export interface Dispatching {
  readonly programs: ReadonlyArray<Program>
  readonly handlers: Handlers
  /** Called for each valid call of a connection. */
  readonly proved: () => void
  /** Called once for each call, when it is answered or never will be. */
  readonly ended: () => void
  readonly run: RunHandler
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
  if (procedure === 0) return succeeded({ results: noBytes })
  return found.procedures[procedure] ?? plain("ProcedureUnavailable")
}

const succeeded = ({ bulk = [], results }: ProcedureReply): Answer => ({
  outcome: { _tag: "Success", results },
  bulk
})

/** Sends an answer on the connection of a call. */
const send = ({ ended }: Dispatching, incoming: Incoming, { bulk, outcome }: Answer): void => {
  const { xid } = incoming.message
  const reply = { _tag: "Accepted", xid, verifier: RpcMessage.authNone, outcome } as const
  incoming.responder.reply(incoming, reply, bulk, ended)
}

/** A defect while a call is served ends its connection, and no other one. */
const guarded = ({ ended }: Dispatching, { responder }: Incoming, act: () => void): void => {
  try {
    act()
  } catch (defect) {
    responder.end(`defect: ${String(defect)}`)
    ended()
  }
}

type HandlerExit = Exit.Exit<ProcedureReply, GarbageArgs>

/** What a handler that has ended answers. */
const answerOf = ({ run }: Dispatching, exit: HandlerExit): Answer => {
  if (Exit.isSuccess(exit)) return succeeded(exit.value)
  const { reasons } = exit.cause
  if (reasons.some(({ _tag }) => _tag === "Fail")) return plain("GarbageArgs")
  // What a handler that was given up has done is not known, and it does not begin again.
  const isGivenUp = reasons.every(({ _tag }) => _tag === "Interrupt")
  if (!isGivenUp) run(Effect.logError("a handler failed", exit.cause))
  return plain("SystemError")
}

const copied = (bytes: Uint8Array): Uint8Array => copyOf(bytes, 0, bytes.length)

/** A call that is to be executed. */
interface Task {
  readonly session: ClientSession
  readonly procedure: Procedure
  readonly call: RpcMessage.Call
  readonly incoming: Incoming
  /** Undefined if the call may be executed again. */
  entry: Entry<Answer, Incoming> | undefined
}

/** Calls a handler. With a journal that waits until it is stored that the call begins. */
const begin = ({ call, entry, procedure, session }: Task): ReturnType<Procedure["handler"]> => {
  const { log, principal, reverse: caller } = session
  const { args, credential, xid } = call
  const started = (): ReturnType<Procedure["handler"]> => {
    try {
      return procedure.handler({ args, principal, credential, caller })
    } catch (defect) {
      return Exit.die(defect)
    }
  }
  if (entry === undefined || log === undefined) return started()
  return Effect.andThen(log.begun(xid, entry.name), Effect.suspend(started))
}

/** Where the answer goes: to the newest connection on which the call came. */
const waiterOf = ({ entry, incoming }: Task): Incoming => entry?.waiter ?? incoming

/** Gives an answer on: to the journal before it leaves, to the cache, and to the client. */
const give = (to: Dispatching, task: Task, answer: Answer): void => {
  const { call, entry, incoming, session } = task
  if (entry === undefined) return send(to, incoming, answer)
  const { cache, log } = session
  const finish = (): void => send(to, cache.finish(entry, cached(answer))!, answer)
  if (log === undefined) return finish()
  to.run(log.answered(call.xid, entry.name, answer)).addObserver((exit) =>
    Exit.isSuccess(exit) ? guarded(to, waiterOf(task), finish) : to.ended()
  )
}

/**
 * Runs a handler. One that ends in its first step needs no fiber of its own, or leaves none behind;
 * a call that brings nothing to wait for is so answered in the turn in which it came.
 */
const execute = (to: Dispatching, task: Task): void => {
  const end = (exit: HandlerExit): void => give(to, task, answerOf(to, exit))
  const begun = begin(task)
  if (Exit.isExit(begun)) return end(begun as HandlerExit)
  const fiber = to.run(begun)
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return end(exit)
  const isLost = (): boolean => waiterOf(task).responder.isOver
  const handler: Handler = { owner: task.session, xid: task.call.xid, isLost, fiber }
  to.handlers.add(handler)
  fiber.addObserver((exit) => {
    to.handlers.remove(handler)
    guarded(to, waiterOf(task), () => end(exit))
  })
}

/** Whether a call may begin: its caller is not gone, and there are not too many. */
const mayBegin = ({ handlers }: Dispatching, { incoming, session }: Task): boolean =>
  !incoming.isInterrupted && handlers.makeRoom(session)

/** Executes a call unless it was executed before, and answers it on its newest connection. */
const executeOnce = (to: Dispatching, task: Task, name: CallName, seen: SeenCall): void => {
  const { call, incoming, session } = task
  const { cache } = session
  const found = cache.find(call.xid, name, seen)
  if (found === "forgotten") return send(to, incoming, plain("SystemError"))
  if (found?.answer !== undefined) return send(to, incoming, found.answer.reply)
  if (found !== undefined) {
    found.waiter = incoming
    return to.ended()
  }
  // What an older connection has queued must not begin after a call of the newer one.
  if (incoming.responder.isOver) return to.ended()
  if (!mayBegin(to, task)) return send(to, incoming, plain("SystemError"))
  // In the same turn as the look into the cache, so that no other connection begins it as well.
  task.entry = cache.begin(call.xid, name, incoming)
  execute(to, task)
}

/** Executes a call that may be executed again. */
const executeAlways = (to: Dispatching, task: Task, seen: SeenCall): void => {
  const { call, incoming, session } = task
  if (incoming.responder.isOver) return to.ended()
  // The same call of a connection that is over: its answer would go nowhere.
  const older = seen.entry === undefined ? session.byXid.get(call.xid) : undefined
  if (older?.isLost() === true) older.fiber.interruptUnsafe()
  if (!mayBegin(to, task)) return send(to, incoming, plain("SystemError"))
  execute(to, task)
}

/** Answers one call that came on a connection of a client. */
export const serve = (to: Dispatching, session: ClientSession, incoming: Incoming): void =>
  guarded(to, incoming, () => {
    const { message, responder } = incoming
    if (session.takeUnreachable(message.xid)) return refuse(to, incoming)
    const arrival = { session, incoming, seen: session.cache.see(message.xid) }
    if (message._tag === "RdmaMsg" && message.chunks.reads.length === 0) {
      return dispatch(to, arrival, message.rpc, copied)
    }
    const assembled = Effect.orElseSucceed(responder.assemble(incoming), () => undefined)
    session.arriving.add(incoming)
    to.run(assembled).addObserver((exit) => {
      session.arriving.delete(incoming)
      guarded(to, incoming, () => {
        if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
        if (exit.value === undefined) return refuse(to, incoming)
        dispatch(to, arrival, exit.value, (bytes) => bytes)
      })
    })
  })

const refuse = ({ ended }: Dispatching, incoming: Incoming): void => {
  incoming.responder.refuseChunks(incoming)
  ended()
}

type SeenCall = Seen<Answer, Incoming>

/** A call that has come, and what was known of its XID then. */
interface Arrival {
  readonly session: ClientSession
  readonly incoming: Incoming
  readonly seen: SeenCall
}

/** Executes a whole call. `kept` returns bytes of it that may be used later. */
const dispatch = (
  to: Dispatching,
  { incoming, seen, session }: Arrival,
  whole: Uint8Array,
  kept: (bytes: Uint8Array) => Uint8Array
): void => {
  const read = RpcMessage.decode(whole)
  if (Result.isFailure(read)) return deny(to, incoming, read.failure)
  const viewed = read.success
  if (viewed._tag !== "Call" || viewed.xid !== incoming.message.xid) return refuse(to, incoming)
  to.proved()
  if (viewed.program === control.program) {
    session.interrupt(decodeInterrupts(viewed.args) ?? [])
    return send(to, incoming, succeeded({ results: noBytes }))
  }
  const procedure = procedureOf(to.programs, viewed)
  if ("outcome" in procedure) return send(to, incoming, procedure)
  const { flavor, body } = viewed.credential
  const credential = body.length === 0 ? viewed.credential : { flavor, body: kept(body) }
  const call = { ...viewed, args: kept(viewed.args), credential }
  const task: Task = { session, procedure, call, incoming, entry: undefined }
  if (procedure.isIdempotent === true) return executeAlways(to, task, seen)
  executeOnce(to, task, nameOf(call, whole), seen)
}

/** A call whose RPC message cannot be read. */
const deny = (to: Dispatching, incoming: Incoming, fault: { readonly _tag: string }): void => {
  const { xid } = incoming.message
  if (fault._tag !== "UnknownRpcVersion") return send(to, incoming, plain("GarbageArgs"))
  const denial = { _tag: "RpcMismatch", low: 2, high: 2 } as const
  incoming.responder.reply(incoming, { _tag: "Denied", xid, denial }, [], to.ended)
}

/**
 * Calls the procedures of a program at one responder, by RPC-over-RDMA version 1.
 *
 * A call ends exactly once: with its reply, with a typed error, or interrupted. It survives lost
 * connections: what was not answered is sent again, with the same XID, when the next connection is
 * proved by the reply to NULL. Never more calls are in flight than the responder has granted and
 * Receives are posted for; a call that its caller gave up keeps its credit until its reply.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import * as Clock from "effect/Clock"
import * as WebCrypto from "effect/crypto/WebCrypto"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CreateError, DeviceOpenError } from "../../native/verbs/VerbsError.ts"
import { Verbs } from "../../native/verbs/Verbs.ts"
import type { ConnectionData } from "../../schema/rpc/ConnectionData.ts"
import * as RpcMessage from "../../schema/rpc/RpcMessage.ts"
import * as Actor from "../kernel/Actor.ts"
import { Backoff } from "../link/Backoff.ts"
import type { Loan, LoanTooLarge } from "../rdma/RegionPool.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import { type Answer, type Call, CallQueue, type Lent, loansOf } from "./internal/callQueue.ts"
import {
  type ClientOptions,
  completionsOf,
  depthsOf,
  offeredBy,
  resolve
} from "./internal/clientSettings.ts"
import {
  type ConnectionActor,
  type Hub,
  make as makeConnection
} from "./internal/connectionActor.ts"
import { ReopeningGround } from "./internal/ground.ts"
import { borrow, renew } from "./internal/lending.ts"
import { Parts } from "./internal/parts.ts"
import { type CallShape, fits, leastThresholds, planCall, type Range } from "./internal/planning.ts"
import { Patience } from "./internal/patience.ts"
import { ReverseServing } from "./internal/reverseServing.ts"
import { validateDepths } from "./internal/settings.ts"
import { readResults } from "./internal/results.ts"
import { type Methods, methodsOf } from "./internal/typedCalls.ts"
import {
  type CallRefused,
  ClientClosed,
  type OutcomeUnknown,
  type SettingsConflict
} from "./RpcError.ts"
import type { RpcProgram } from "./RpcProgram.ts"

export type { CallOptions, Methods } from "./internal/typedCalls.ts"
export type { ClientOptions } from "./internal/clientSettings.ts"
export type { Range } from "./internal/planning.ts"

/** One call. */
export interface CallRequest {
  readonly procedure: number
  /** The arguments in XDR. They are copied when the call begins. */
  readonly args: Uint8Array
  /**
   * Opaque data in the arguments that may be read by the responder instead of being sent. Default:
   * none; arguments that do not fit inline are then read as a whole.
   */
  readonly bulkArgs?: ReadonlyArray<Range> | undefined
  /** The longest results in XDR, with their bulk data. Default: what fits inline at least. */
  readonly maxResultBytes?: number | undefined
  /** The longest opaque data of each result that may be written by the responder. */
  readonly bulkResults?: ReadonlyArray<number> | undefined
  /** It may be executed twice without harm, so it is sent again to a replaced responder. */
  readonly isIdempotent?: boolean | undefined
  /** Default: none. */
  readonly credential?: RpcMessage.Auth | undefined
}

/** The results of a call. The bytes are the caller's. */
export interface CallReply {
  /** The results in XDR, without the data that came in `bulk`. */
  readonly results: Uint8Array
  /** Data that the responder wrote, for each of `bulkResults`; empty if it is in `results`. */
  readonly bulk: ReadonlyArray<Uint8Array>
}

/** Why a call failed. */
export type CallError = CallRefused | OutcomeUnknown | ClientClosed | LoanTooLarge | CreateError

/** Results that always fit inline. */
const leastResultBytes = leastThresholds.replyBytes - 52

/** A client of one program at one responder. */
export class RpcClient {
  readonly #hub: Hub
  readonly #connection: ConnectionActor

  constructor(hub: Hub, connection: ConnectionActor) {
    this.#hub = hub
    this.#connection = connection
  }

  /** The phase of the connection, now and after each change. */
  get states(): Stream.Stream<ConnectionState> {
    return this.#connection.states
  }

  /** Ends the connection. Calls go on with the next one. */
  get reconnect(): Effect.Effect<void> {
    return Effect.ignore(this.#connection.ask.Reconnect())
  }

  /** Resources in use: 0 everywhere when no call is under way and none was interrupted. */
  get usage(): {
    readonly waiting: number
    readonly xids: number
    readonly heldCredits: number
    readonly lentBytes: number
  } {
    const { around, requester } = this.#hub
    return {
      waiting: around.queue.length,
      xids: around.queue.liveXids,
      heldCredits: requester?.credits.held ?? 0,
      lentBytes: this.#hub.ground.last.share.lentBytes
    }
  }

  /** The calls of a typed program, which must be the one of this client. */
  methods<Rpcs extends Rpc.Any>(typed: RpcProgram<Rpcs>): Methods<Rpcs, CallError> {
    const { program, version } = this.#hub.settings
    if (typed.program !== program || typed.version !== version) {
      throw new RangeError(`a client of program ${program}, version ${version}`)
    }
    return methodsOf(this, typed.procedures)
  }

  /** Calls a procedure. Interrupting this leaks no credit. */
  call(request: CallRequest): Effect.Effect<CallReply, CallError> {
    return Effect.suspend(() => {
      const { around, settings, thresholds } = this.#hub
      const { args, bulkArgs = [], credential = RpcMessage.authNone, procedure } = request
      const message = RpcMessage.encode({
        _tag: "Call",
        xid: 0,
        program: settings.program,
        version: settings.version,
        procedure,
        credential,
        verifier: RpcMessage.authNone,
        args
      })
      const start = message.length - args.length
      const shape: CallShape = {
        message,
        bulkArgs: bulkArgs.map(({ length, offset }) => ({ offset: start + offset, length })),
        maxResultBytes: request.maxResultBytes ?? leastResultBytes,
        bulkResults: request.bulkResults ?? []
      }
      const { isIdempotent = false } = request
      const plan = planCall(shape, thresholds)
      const call = around.queue.begin(plan, { procedure, isIdempotent })
      return Effect.onExit(this.#attempt(call, shape), () =>
        Effect.sync(() => {
          if (call.xid === undefined) return
          // It was sent, and its handler may still run.
          around.queue.addOrphan(call.xid)
          this.#hub.requester?.admit()
        })
      )
    })
  }

  /** Borrows what the call needs, and lets it wait to be sent; again on each connection. */
  #attempt(call: Call, shape: CallShape): Effect.Effect<CallReply, CallError> {
    return Effect.suspend(() => {
      if (this.#hub.around.queue.isClosed) {
        return new ClientClosed({ wasSent: call.sentTo !== undefined })
      }
      call.plan = planCall(shape, this.#hub.thresholds)
      call.outcome = Deferred.makeUnsafe()
      const { ground } = this.#hub
      const { last } = ground
      return Effect.acquireUseRelease(
        borrow(call.plan, last.share),
        (lent) => this.#run(call, lent),
        (lent) => this.#return(call, lent)
      ).pipe(
        // The device was lost: there is memory again when it is back.
        Effect.catchTag("Released", () => ground.replaced(last))
      )
    }).pipe(
      Effect.flatMap((reply) =>
        reply === undefined ? this.#attempt(call, shape) : Effect.succeed(reply)
      )
    )
  }

  #run(call: Call, lent: Lent): Effect.Effect<CallReply | undefined, CallError> {
    return Effect.suspend(() => {
      call.lent = lent
      this.#hub.around.queue.add(call)
      this.#hub.requester?.admit()
      return Effect.flatMap(Deferred.await(call.outcome), (outcome) =>
        outcome._tag === "Again" ? this.#again(call, lent) : this.#read(call, outcome, lent)
      )
    })
  }

  /** After a lost connection the memory stays with the call, so that no newer one goes first. */
  #again(call: Call, lent: Lent): Effect.Effect<CallReply | undefined, CallError> {
    const { around, ground, thresholds } = this.#hub
    const isUsable = lent.share === ground.last.share && fits(call.plan, thresholds)
    if (!isUsable || around.queue.isClosed) return Effect.undefined
    return Effect.flatMap(renew(lent), (isRenewed) => {
      call.outcome = Deferred.makeUnsafe()
      return isRenewed ? this.#run(call, lent) : Effect.undefined
    })
  }

  /** The results are read only when no peer can write any more. */
  #read(call: Call, answer: Answer, lent: Lent): Effect.Effect<CallReply, CallError> {
    const revoked = Effect.forEach(loansOf(lent), ({ revoke }) => revoke, { discard: true })
    return Effect.flatMap(Effect.uninterruptible(revoked), () => {
      const copy = (loan: Loan, bytes: number) => Uint8Array.from(loan.bytes.subarray(0, bytes))
      const { message = copy(lent.reply!, answer.replyBytes), writtenBytes, xid } = answer
      const bulk = lent.writes.map((loan, index) => copy(loan, writtenBytes[index] ?? 0))
      return Effect.map(Effect.fromResult(readResults(call, xid, message)), (results) => ({
        results,
        bulk
      }))
    })
  }

  /** Returns the memory of a call, unless the responder may still use it. */
  #return(call: Call, lent: Lent): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#hub.requester?.abandon(call) === true) return Effect.void
      this.#hub.around.queue.remove(call)
      return Effect.forEach(loansOf(lent), ({ end }) => end, { discard: true })
    })
  }
}

/** Why a client could not be made. */
export type MakeError = SettingsConflict | DeviceOpenError | CreateError | Actor.RecoveryError

const open = Effect.fnUntraced(function* (
  options: ClientOptions
): Effect.fn.Return<RpcClient, MakeError, Verbs | Scope.Scope> {
  const settings = yield* resolve(options)
  const verbs = yield* Verbs
  const { device, memoryBytes, to } = settings
  const name = device === "" ? verbs.route(to.host) : Effect.succeed(device)
  const opening = Effect.flatMap(name, (name) => verbs.open(name))
  const completions = completionsOf(settings)
  const ground = yield* ReopeningGround.make(opening, { completions, memoryBytes })
  yield* validateDepths(ground.last, depthsOf(settings), ["credits"])
  const crypto = yield* WebCrypto.WebCrypto
  const clock = yield* Clock.Clock
  const fork = yield* FiberSet.makeRuntime()
  const offered = offeredBy(settings)
  const rules = yield* Parts
  const said: ConnectionData = {
    sendBytes: settings.inlineBytes,
    receiveBytes: settings.inlineBytes,
    remoteInvalidate: verbs.capabilities.remoteInvalidate,
    extension: { instance: crypto.getRandomValues(new Uint8Array(16)), reverseCalls: offered }
  }
  const hub: Hub = {
    ground,
    settings,
    parts: rules,
    around: {
      queue: new CallQueue(crypto.getRandomValues(new Uint32Array(1))[0]!),
      terms: { requested: settings.credits, reverse: offered },
      program: { program: settings.program, version: settings.version },
      patience: new Patience(settings),
      trustsForeignCache: settings.trustsForeignCache,
      now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
      reverse: new ReverseServing(
        { programs: settings.reverse, calls: offered, principal: to.host },
        rules.Cache,
        (effect) => void fork(effect)
      ),
      share: () => ground.last.share,
      release: (loans) => void fork(Effect.forEach(loans, ({ end }) => end, { discard: true }))
    },
    backoff: yield* Backoff.make({
      firstMs: settings.firstPauseMs,
      longestMs: settings.longestPauseMs
    }),
    said,
    requester: undefined,
    thresholds: leastThresholds
  }
  const id = `${settings.to.host}:${settings.to.port}/${yield* Random.nextInt}`
  const connection = yield* Effect.orDie(Actor.spawn(makeConnection(hub), id))
  yield* Effect.addFinalizer(() => Effect.sync(() => hub.around.queue.close()))
  return new RpcClient(hub, connection)
})

/**
 * Makes a client: with a typed program, its methods. It connects at once, and ends with the Scope;
 * calls that wait then fail.
 * A call waits as long as no responder answers, also where none is or it refuses this client:
 * `states` says why, and `Effect.timeout` bounds it.
 */
export const make: {
  <Rpcs extends Rpc.Any>(
    program: RpcProgram<Rpcs>,
    options: Omit<ClientOptions, "program" | "version">
  ): Effect.Effect<Methods<Rpcs, CallError>, MakeError, Verbs | Scope.Scope>
  (options: ClientOptions): Effect.Effect<RpcClient, MakeError, Verbs | Scope.Scope>
} = (
  first: ClientOptions | RpcProgram<Rpc.Any>,
  second?: Omit<ClientOptions, "program" | "version">
): Effect.Effect<never, MakeError, Verbs | Scope.Scope> => {
  if (second === undefined) return open(first as ClientOptions) as Effect.Effect<never>
  const typed = first as RpcProgram<Rpc.Any>
  const { program, version } = typed
  return Effect.map(
    open({ ...second, program, version }),
    (client) => client.methods(typed) as never
  )
}

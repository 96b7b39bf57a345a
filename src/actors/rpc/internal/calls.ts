/** The calls of a client, from their arguments to their results. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { CreateError } from "../../../native/verbs/VerbsError.ts"
import { copyOf } from "../../../schema/copyBytes.ts"
import * as RpcMessage from "../../../schema/rpc/RpcMessage.ts"
import type { LoanTooLarge } from "../../rdma/RegionPool.ts"
import { type CallRefused, ClientClosed, type OutcomeUnknown } from "../RpcError.ts"
import {
  type Answer,
  type Call,
  type CallFailure,
  type Lent,
  loansOf,
  type Outcome
} from "./callQueue.ts"
import type { Hub } from "./connectionActor.ts"
import { borrow, renew } from "./lending.ts"
import {
  type CallShape,
  fits,
  leastThresholds,
  lendsNothing,
  planCall,
  type Range
} from "./planning.ts"
import { readResults } from "./results.ts"

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

const none: ReadonlyArray<never> = []

const copied = (bytes: Uint8Array): Uint8Array =>
  bytes.length === 0 ? bytes : copyOf(bytes, 0, bytes.length)

const inlineReply = ({ results }: Answer): Effect.Effect<CallReply, CallError> =>
  Result.isSuccess(results!)
    ? Effect.succeed({ results: results.success, bulk: none })
    : Effect.fail(results!.failure)

/**
 * The caller goes on in a turn of its own. One that began its next call in the midst of another's
 * beginning would confuse an `Effect.forEach` over both: it takes one item several times then, and
 * others never.
 */
const failed = (failure: CallFailure): Effect.Effect<never, CallFailure> =>
  Effect.andThen(Effect.yieldNow, Effect.fail(failure))

export class Calls {
  readonly #hub: Hub

  constructor(hub: Hub) {
    this.#hub = hub
  }

  /** Calls a procedure. Interrupting this leaks no credit. */
  call(request: CallRequest): Effect.Effect<CallReply, CallError> {
    return Effect.suspend(() => {
      const { around, settings, thresholds } = this.#hub
      const { args, credential = RpcMessage.authNone, isIdempotent = false, procedure } = request
      const shape: CallShape = {
        rpc: {
          _tag: "Call",
          xid: 0,
          program: settings.program,
          version: settings.version,
          procedure,
          credential: { flavor: credential.flavor, body: copied(credential.body) },
          verifier: RpcMessage.authNone,
          args: copied(args)
        },
        bulkArgs: request.bulkArgs ?? none,
        maxResultBytes: request.maxResultBytes ?? leastResultBytes,
        bulkResults: request.bulkResults ?? none
      }
      const plan = planCall(shape, thresholds)
      const call = around.queue.begin(plan, { procedure, isIdempotent })
      return lendsNothing(plan) ? this.#inline(call, shape) : this.#lending(call, shape)
    })
  }

  /** A call that lends nothing: all of it is in one Send, and its reply too. */
  #inline(call: Call, shape: CallShape): Effect.Effect<CallReply, CallError> {
    return Effect.callback<CallReply, CallError>((resume) => {
      call.resume = (outcome) => {
        if (outcome._tag === "Again") return resume(this.#lending(call, shape))
        this.#leave(call)
        resume(outcome._tag === "Failed" ? failed(outcome.failure) : inlineReply(outcome))
      }
      this.#submit(call)
      return Effect.sync(() => {
        this.#abandon(call)
        this.#leave(call)
      })
    })
  }

  #submit(call: Call): void {
    const { around, requester } = this.#hub
    around.queue.add(call)
    requester?.admit()
  }

  /** A caller is gone. True if the responder may still use the memory of the call. */
  #abandon(call: Call): boolean {
    const isOut = this.#hub.requester?.abandon(call) === true
    if (!isOut) this.#hub.around.queue.remove(call)
    return isOut
  }

  /** A call has ended for its caller. One that was not answered may still have a handler. */
  #leave(call: Call): void {
    const { around, requester } = this.#hub
    const { xid } = call
    if (xid === undefined) return
    call.xid = undefined
    around.queue.addOrphan(xid)
    requester?.admit()
  }

  #lending(call: Call, shape: CallShape): Effect.Effect<CallReply, CallError> {
    return Effect.onExit(this.#attempt(call, shape), () => Effect.sync(() => this.#leave(call)))
  }

  /** Borrows what the call needs, and lets it wait to be sent; again on each connection. */
  #attempt(call: Call, shape: CallShape): Effect.Effect<CallReply, CallError> {
    return Effect.suspend(() => {
      if (this.#hub.around.queue.isClosed) {
        return new ClientClosed({ wasSent: call.sentTo !== undefined })
      }
      call.plan = planCall(shape, this.#hub.thresholds)
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
    const outcome = Effect.callback<Outcome>((resume) => {
      call.lent = lent
      call.resume = (outcome) => resume(Effect.succeed(outcome))
      this.#submit(call)
    })
    return Effect.flatMap(outcome, (outcome): Effect.Effect<CallReply | undefined, CallError> => {
      if (outcome._tag === "Again") return this.#again(call, lent)
      return outcome._tag === "Failed" ? failed(outcome.failure) : this.#read(call, outcome, lent)
    })
  }

  /** After a lost connection the memory stays with the call, so that no newer one goes first. */
  #again(call: Call, lent: Lent): Effect.Effect<CallReply | undefined, CallError> {
    const { around, ground, thresholds } = this.#hub
    const isUsable = lent.share === ground.last.share && fits(call.plan, thresholds)
    if (!isUsable || around.queue.isClosed) return Effect.undefined
    return Effect.flatMap(renew(lent), (isRenewed) =>
      isRenewed ? this.#run(call, lent) : Effect.undefined
    )
  }

  /** The results are read only when no peer can write any more. */
  #read(call: Call, answer: Answer, lent: Lent): Effect.Effect<CallReply, CallError> {
    const revoked = Effect.forEach(loansOf(lent), ({ revoke }) => revoke, { discard: true })
    return Effect.flatMap(Effect.uninterruptible(revoked), () => {
      const { replyBytes, writtenBytes, xid } = answer
      const results =
        answer.results ?? readResults(call, xid, lent.reply!.bytes.subarray(0, replyBytes))
      const bulk = lent.writes.map(({ bytes }, index) => copyOf(bytes, 0, writtenBytes[index] ?? 0))
      return Effect.map(Effect.fromResult(results), (results) => ({ results, bulk }))
    })
  }

  /** Returns the memory of a call, unless the responder may still use it. */
  #return(call: Call, lent: Lent): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.#abandon(call)
        ? Effect.void
        : Effect.forEach(loansOf(lent), ({ end }) => end, { discard: true })
    )
  }
}

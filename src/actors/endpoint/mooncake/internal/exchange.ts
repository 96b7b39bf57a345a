/** One call: connect, send a frame, read one, close. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { bytes } from "../../../../native/io/Framer.ts"
import type { IoPool } from "../../../../native/io/IoPool.ts"
import type { TlsSettings } from "../../../../native/io/IoPool.ts"
import { type Frame, FrameReader } from "../../../../schema/mooncake/Frame.ts"
import type { Address } from "../../../../schema/Address.ts"
import type { HandshakeFailed } from "../../Handshake.ts"
import { Deadlines } from "../../../link/Deadlines.ts"
import { Turns } from "./turns.ts"
import { dial, ofLane } from "./transport.ts"

export interface Limits {
  readonly connectWithinMs: number
  readonly answerWithinMs: number
  readonly callsPerServer: number
  readonly frameBytes: number
}

/** Limits and deadlines that the calls of one caller share. */
export class Bounds {
  readonly limits: Limits
  readonly connect: Deadlines<PendingCall>
  readonly answer: Deadlines<PendingCall>
  readonly turns: Turns
  /** Calls without TLS that are under way. */
  readonly open = new Set<PendingCall>()

  private constructor(
    limits: Limits,
    connect: Deadlines<PendingCall>,
    answer: Deadlines<PendingCall>
  ) {
    this.limits = limits
    this.turns = new Turns(limits.callsPerServer)
    this.connect = connect
    this.answer = answer
  }

  /** Makes them. They end with the Scope, and so do the calls that are under way. */
  static readonly make = (limits: Limits): Effect.Effect<Bounds, never, Scope.Scope> =>
    Effect.gen(function* () {
      const within = (step: "connect" | "answer", millis: number) =>
        Deadlines.make<PendingCall>(millis, (call) => call.fail(step, `none within ${millis} ms`))
      const connect = yield* within("connect", limits.connectWithinMs)
      const answer = yield* within("answer", limits.answerWithinMs)
      const bounds = Effect.sync(() => new Bounds(limits, connect, answer))
      return yield* Effect.acquireRelease(bounds, (made) => Effect.sync(() => made.close()))
    })

  /** Ends the calls that are still under way. */
  close(): void {
    for (const call of this.open) call.fail("answer", "the caller has ended")
  }
}

/** One call to one address of a server. */
export interface Call {
  readonly server: string
  readonly to: Address
  readonly frame: Uint8Array
  /** Whether it goes before other calls that wait for their turn at the server. */
  readonly isUrgent: boolean
}

/** The step at which a call failed, and the detail. */
export interface Failure {
  readonly step: HandshakeFailed["step"]
  readonly detail: string
}

/** Reads the answer, and settles the call once. */
class PendingCall {
  readonly #reader: FrameReader
  readonly #bounds: Bounds
  readonly #settle: (result: Exit.Exit<Frame, Failure>) => void
  #isSettled = false

  constructor(bounds: Bounds, settle: (result: Exit.Exit<Frame, Failure>) => void) {
    this.#reader = new FrameReader(bounds.limits.frameBytes)
    this.#bounds = bounds
    this.#settle = settle
  }

  /** Starts the deadline of the next step. */
  await(step: "connect" | "answer"): void {
    this.#forget()
    this.#bounds[step].start(this)
  }

  readonly fail = (step: Failure["step"], detail: string): void => {
    if (!this.#isSettled) this.#end(Exit.fail({ step, detail }))
  }

  readonly received = (bytes: Uint8Array): void => {
    const reader = this.#reader
    if (this.#isSettled) return
    reader.push(bytes)
    if (reader.fault !== undefined) this.fail("protocol", reader.fault.message)
    else if (reader.frame !== undefined) this.#end(Exit.succeed(reader.frame))
  }

  readonly ended = (): void =>
    this.fail("answer", `the peer ended after ${this.#reader.received} bytes`)

  stop(): void {
    this.#isSettled = true
    this.#forget()
  }

  #forget(): void {
    this.#bounds.connect.stop(this)
    this.#bounds.answer.stop(this)
  }

  #end(result: Exit.Exit<Frame, Failure>): void {
    this.stop()
    this.#settle(result)
  }
}

/**
 * Calls by a socket of the main thread.
 *
 * An open connection is not closed when its caller gives up: Mooncake would die by SIGPIPE when it
 * answers. It stays until its answer or its deadline, and keeps its turn.
 */
export const exchange = (call: Call, bounds: Bounds): Effect.Effect<Frame, Failure> =>
  Effect.callback((resume) => {
    const begin = () => {
      const pending = new PendingCall(bounds, (result) => {
        // The answer has come, or no caller waits for it any more.
        transport.abort()
        bounds.open.delete(pending)
        bounds.turns.release(call.server, Exit.isSuccess(result))
        resume(result)
      })
      bounds.open.add(pending)
      let isOpen = false
      const transport = dial(call.to, {
        opened: () => {
          isOpen = true
          transport.send(call.frame)
          pending.await("answer")
        },
        failed: ({ message }) => pending.fail(isOpen ? "answer" : "connect", message),
        received: pending.received,
        ended: pending.ended,
        closed: pending.ended
      })
      pending.await("connect")
    }
    return Effect.sync(bounds.turns.take(call.server, call.isUrgent, begin))
  })

/** Calls by a lane, whose worker does the TLS. Mooncake has no TLS, so it can be closed early. */
export const exchangeSecurely = (
  pool: IoPool["Service"],
  tls: TlsSettings,
  { frame, isUrgent, server, to }: Call,
  bounds: Bounds
): Effect.Effect<Frame, Failure> => {
  const turn = Effect.callback<void>((resume) =>
    Effect.sync(bounds.turns.take(server, isUrgent, () => resume(Effect.void)))
  )
  const release = (exit: Exit.Exit<Frame, Failure>) =>
    Effect.sync(() => bounds.turns.release(server, Exit.isSuccess(exit)))
  const answer = Effect.scoped(answerOnLane(pool, tls, to, frame, bounds))
  return Effect.uninterruptibleMask((restore) =>
    Effect.andThen(restore(turn), Effect.onExit(restore(answer), release))
  )
}

const answerOnLane = Effect.fnUntraced(function* (
  pool: IoPool["Service"],
  tls: TlsSettings,
  to: Address,
  frame: Uint8Array,
  bounds: Bounds
) {
  const { connectWithinMs } = bounds.limits
  const lane = yield* pool.connect({ framer: bytes, to, tls }).pipe(
    Effect.mapError(({ message }): Failure => ({ step: "connect", detail: message })),
    Effect.timeoutOrElse({
      duration: connectWithinMs,
      orElse: () =>
        Effect.fail<Failure>({ step: "connect", detail: `none within ${connectWithinMs} ms` })
    })
  )
  const answered = Effect.callback<Frame, Failure>((resume) => {
    const pending = new PendingCall(bounds, resume)
    const { ended, received } = pending
    ofLane(lane, { received, ended, closed: ended })
    lane.send(frame)
    pending.await("answer")
    return Effect.sync(() => pending.stop())
  })
  return yield* Effect.ensuring(answered, lane.abort)
})

/** One call: connect, send a frame, read one, close. */
import * as Effect from "effect/Effect"
import { octets } from "../../../native/Framer.ts"
import type { IoPool } from "../../../native/IoPool.ts"
import type { TlsSettings } from "../../../native/lanes/jobs.ts"
import { type Frame, FrameReader } from "../../../schema/mooncake/Frame.ts"
import type { Address } from "../../../schema/mooncake/NicPath.ts"
import type { HandshakeFailed } from "../Handshake.ts"
import { Deadlines } from "./deadlines.ts"
import { dial, ofLane } from "./wires.ts"

export interface Limits {
  readonly connectWithin: number
  readonly answerWithin: number
  readonly frameBytes: number
}

/** What the calls of one caller share. */
export class Bounds {
  readonly limits: Limits
  readonly connect: Deadlines<Answering>
  readonly answer: Deadlines<Answering>

  constructor(limits: Limits) {
    const { answerWithin, connectWithin } = limits
    this.limits = limits
    this.connect = new Deadlines(connectWithin, (call) =>
      call.fail("connect", `none within ${connectWithin} ms`)
    )
    this.answer = new Deadlines(answerWithin, (call) =>
      call.fail("answer", `none within ${answerWithin} ms`)
    )
  }
}

/** Where a call failed, and what is known of it. */
export interface Failure {
  readonly step: HandshakeFailed["step"]
  readonly detail: string
}

/** Reads the answer, and settles the call once. */
class Answering {
  readonly #reader: FrameReader
  readonly #bounds: Bounds
  readonly #settle: (result: Effect.Effect<Frame, Failure>) => void
  #isSettled = false

  constructor(bounds: Bounds, settle: (result: Effect.Effect<Frame, Failure>) => void) {
    this.#reader = new FrameReader(bounds.limits.frameBytes)
    this.#bounds = bounds
    this.#settle = settle
  }

  /** From here on time runs before which the next step must be reached. */
  await(step: "connect" | "answer"): void {
    this.#forget()
    this.#bounds[step].start(this)
  }

  readonly fail = (step: Failure["step"], detail: string): void => {
    if (!this.#isSettled) this.#end(Effect.fail({ step, detail }))
  }

  readonly octets = (bytes: Uint8Array): void => {
    const reader = this.#reader
    if (this.#isSettled) return
    reader.push(bytes)
    if (reader.fault !== undefined) this.fail("protocol", reader.fault.message)
    else if (reader.frame !== undefined) this.#end(Effect.succeed(reader.frame))
  }

  readonly ended = (): void =>
    this.fail("answer", `the peer ended after ${this.#reader.received} octets`)

  stop(): void {
    this.#isSettled = true
    this.#forget()
  }

  #forget(): void {
    this.#bounds.connect.stop(this)
    this.#bounds.answer.stop(this)
  }

  #end(result: Effect.Effect<Frame, Failure>): void {
    this.stop()
    this.#settle(result)
  }
}

/** By a socket of the main thread. */
export const exchange = (
  to: Address,
  frame: Uint8Array,
  bounds: Bounds
): Effect.Effect<Frame, Failure> =>
  Effect.callback((resume) => {
    const answering = new Answering(bounds, (result) => {
      // The answer is here, or nobody waits for it any more.
      wire.abort()
      resume(result)
    })
    let isOpen = false
    const wire = dial(to, {
      opened: () => {
        isOpen = true
        wire.send(frame)
        answering.await("answer")
      },
      failed: ({ message }) => answering.fail(isOpen ? "answer" : "connect", message),
      octets: answering.octets,
      ended: answering.ended,
      closed: answering.ended
    })
    answering.await("connect")
    return Effect.sync(() => {
      answering.stop()
      wire.abort()
    })
  })

/** By a lane, whose worker does the arithmetic. */
export const exchangeSecurely = (
  pool: IoPool["Service"],
  tls: TlsSettings,
  to: Address,
  frame: Uint8Array,
  bounds: Bounds
): Effect.Effect<Frame, Failure> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { connectWithin } = bounds.limits
      const lane = yield* pool.connect({ framer: octets, to, tls }).pipe(
        Effect.mapError(({ message }): Failure => ({ step: "connect", detail: message })),
        Effect.timeoutOrElse({
          duration: connectWithin,
          orElse: () =>
            Effect.fail<Failure>({ step: "connect", detail: `none within ${connectWithin} ms` })
        })
      )
      const answered = Effect.callback<Frame, Failure>((resume) => {
        const answering = new Answering(bounds, resume)
        const { ended, octets } = answering
        ofLane(lane, { octets, ended, closed: ended })
        lane.send(frame)
        answering.await("answer")
        return Effect.sync(() => answering.stop())
      })
      return yield* Effect.ensuring(answered, lane.abort)
    })
  )

/** Connections to the handshake port: their limit, their deadline, and their outcomes. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { ConnectionLimiter } from "../../../../native/io/ConnectionLimiter.ts"
import type { PeerInfo } from "../../../../native/io/internal/messages.ts"
import type { TextFault } from "../../../../schema/mooncake/Fault.ts"
import { encode, type Frame, FrameReader } from "../../../../schema/mooncake/Frame.ts"
import * as Metrics from "../HandshakeMetrics.ts"
import { Deadlines } from "../../../link/Deadlines.ts"
import type { Answer, RequestHandler } from "./requestHandler.ts"
import type { Transport, TransportEvents } from "./transport.ts"

export interface Limits {
  readonly exchangeWithinMs: number
  readonly connections: number
  readonly frameBytes: number
  /** Whether to read anything from a caller. */
  readonly hears: (peer: PeerInfo) => boolean
}

const counted = (outcome: string) => Metric.withAttributes(Metrics.connections, { outcome })

const counters = {
  answered: counted("answered"),
  refused: counted("refused"),
  expired: counted("expired"),
  hostile: counted("hostile"),
  gone: counted("gone"),
  failed: counted("failed")
}
type Outcome = keyof typeof counters

export class Port {
  readonly handler: RequestHandler
  readonly limits: Limits
  readonly context: Context.Context<never>
  readonly deadlines: Deadlines<Connection>
  readonly #open = new Set<Connection>()
  readonly #limiter: ConnectionLimiter<Connection>
  /** Called when the last connection is closed. */
  #drained: (() => void) | undefined = undefined

  private constructor(
    handler: RequestHandler,
    limits: Limits,
    context: Context.Context<never>,
    deadlines: Deadlines<Connection>
  ) {
    this.handler = handler
    this.limits = limits
    this.context = context
    const { connections } = limits
    this.#limiter = new ConnectionLimiter({ connections, perAddress: connections })
    this.deadlines = deadlines
  }

  /** Makes a port whose connections are closed with the Scope. */
  static readonly make = (
    handler: RequestHandler,
    limits: Limits
  ): Effect.Effect<Port, never, Scope.Scope> =>
    Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      const expired = (connection: Connection) => connection.end("expired")
      const deadlines = yield* Deadlines.make(limits.exchangeWithinMs, expired)
      const port = Effect.sync(() => new Port(handler, limits, context, deadlines))
      return yield* Effect.acquireRelease(port, ({ close }) => close)
    })

  accept(make: (events: TransportEvents) => Transport): void {
    const connection = new Connection(this, make)
    this.deadlines.start(connection)
    this.#open.add(connection)
    if (!connection.isHeard) return connection.end("refused")
    this.#limiter.admit(connection, "")?.end("refused")
  }

  busy(connection: Connection): void {
    this.#limiter.setBusy(connection)
  }

  idle(connection: Connection): void {
    this.#limiter.setIdle(connection)
  }

  gone(connection: Connection): void {
    this.deadlines.stop(connection)
    this.#limiter.release(connection)
    this.#open.delete(connection)
    if (this.#open.size === 0) this.#drained?.()
  }

  /** Closes all connections, and waits until they are. */
  readonly close: Effect.Effect<void> = Effect.callback((resume) => {
    this.#drained = () => resume(Effect.void)
    for (const connection of this.#open) connection.end("refused")
    if (this.#open.size === 0) resume(Effect.void)
  })
}

/** One connection: a request, its answer, and the peer's end. */
class Connection implements TransportEvents {
  readonly #port: Port
  readonly #transport: Transport
  readonly #reader: FrameReader
  readonly #since = performance.now()
  #answering: Fiber.Fiber<Answer, TextFault> | undefined = undefined
  #outcome: Outcome | undefined = undefined
  #isOver = false

  constructor(port: Port, make: (events: TransportEvents) => Transport) {
    this.#port = port
    this.#reader = new FrameReader(port.limits.frameBytes)
    this.#transport = make(this)
  }

  /** Whether to read from the peer; false if the program's check throws. */
  get isHeard(): boolean {
    const { context, limits } = this.#port
    try {
      return limits.hears(this.#transport.peer)
    } catch (error) {
      Effect.runForkWith(context)(Effect.logError("the check of a caller threw", error))
      return false
    }
  }

  readonly received = (bytes: Uint8Array): void => {
    if (this.#isOver) return
    const reader = this.#reader
    // Nothing may follow the frame.
    const isOver = reader.frame !== undefined || reader.push(bytes) < bytes.length
    if (isOver || reader.fault !== undefined) this.end("hostile")
    else if (reader.frame !== undefined) this.#answer(reader.frame)
  }

  readonly ended = (): void => {
    if (this.#reader.frame === undefined) this.end("gone")
  }

  readonly closed = (): void => {
    this.end("gone")
    this.#port.gone(this)
  }

  /** Closes at once. An outcome that is already counted stays. */
  end(outcome: Outcome): void {
    this.#isOver = true
    this.#count(outcome)
    this.#answering?.interruptUnsafe()
    this.#transport.abort()
  }

  #answer(frame: Frame): void {
    const { context, handler } = this.#port
    this.#port.busy(this)
    const fiber = Effect.runForkWith(context)(handler.answer(frame, this.#transport))
    this.#answering = fiber
    fiber.addObserver((exit) => {
      this.#answering = undefined
      if (Exit.isSuccess(exit)) this.#reply(frame, exit.value)
      else this.#failed(exit.cause)
    })
  }

  /** Sends the answer. The connection closes in order when the peer has ended its side, too. */
  #reply(frame: Frame, { outcome, text }: Answer): void {
    if (this.#outcome !== undefined) return
    if (text === undefined) return this.end(outcome)
    const seconds = (performance.now() - this.#since) / 1_000
    Metrics.duration.updateUnsafe(seconds, this.#port.context)
    this.#count(outcome)
    this.#transport.end(encode({ ...frame, text }))
    this.#port.idle(this)
  }

  #failed(cause: Cause.Cause<TextFault>): void {
    if (Cause.hasFails(cause)) return this.end("hostile")
    if (!Cause.hasInterruptsOnly(cause)) {
      Effect.runForkWith(this.#port.context)(Effect.logError("a handshake failed", cause))
    }
    this.end("failed")
  }

  #count(outcome: Outcome): void {
    if (this.#outcome !== undefined) return
    this.#outcome = outcome
    counters[outcome].updateUnsafe(1, this.#port.context)
  }
}

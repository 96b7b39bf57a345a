/** The main thread's handle of a connection: a lane, and the events of its session. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { FrameBatch } from "../io/FrameBatch.ts"
import type { Lane } from "../io/Lane.ts"
import { LaneClosed, LaneError } from "../io/LaneError.ts"
import {
  type NegotiatedParams,
  type Command,
  encode,
  type Event,
  type Failure,
  isText,
  kickBytes,
  readEvent
} from "./sessionProtocol.ts"

/** The owner of a connection, which receives its events. */
export interface SessionOwner {
  /** Records of ends: `bytes[from, to)`. */
  readonly records: (bytes: Uint8Array, from: number, to: number) => void
  readonly opened: () => void
  readonly failed: (failure: Failure) => void
  readonly ended: (error: LaneError) => void
}

/** The outcome of a connect request. */
export type Answer =
  | Extract<Event, { say: "settled" }>
  | Extract<Event, { say: "declined" }>
  | { readonly say: "failed"; readonly detail: string }
  | { readonly say: "ended"; readonly error: LaneError }

/** One connection. */
export class SessionHandle {
  readonly lane: Lane
  readonly request = Deferred.makeUnsafe<Extract<Event, { say: "request" }>, LaneError>()
  readonly answer = Deferred.makeUnsafe<Answer>()
  /** True once the peer is known to be ready; false if the connection ended before. */
  readonly ready = Deferred.makeUnsafe<boolean>()
  /** Done when the peer has sent a valid FPDU, or the connection ended before. */
  readonly proven = Deferred.makeUnsafe<void>()
  /** Completed by `disconnect`. */
  readonly disconnecting = Deferred.makeUnsafe<"in order" | "at once">()
  negotiated: NegotiatedParams | undefined = undefined
  owner: SessionOwner | undefined = undefined
  hasEnded = false

  constructor(lane: Lane) {
    this.lane = lane
    lane.onFrames((batch) => this.#frames(batch))
  }

  command(command: Command): void {
    this.lane.send(encode(command))
  }

  kick(): void {
    this.lane.send(kickBytes())
  }

  /** Ends the connection: in order, after written bytes, or at once. */
  disconnect(how: "in order" | "at once"): void {
    this.owner = undefined
    Deferred.doneUnsafe(this.disconnecting, Effect.succeed(how))
  }

  /** Handles the end of the lane. */
  ended(error: LaneError): void {
    if (this.hasEnded) return
    this.hasEnded = true
    this.#release()?.ended(error)
    Deferred.doneUnsafe(this.request, Effect.fail(error))
    Deferred.doneUnsafe(this.answer, Effect.succeed({ say: "ended", error }))
    Deferred.doneUnsafe(this.ready, Effect.succeed(false))
    Deferred.doneUnsafe(this.proven, Effect.void)
  }

  #frames(batch: FrameBatch): void {
    const { bytes, count } = batch
    for (let index = 0; index < count; index++) {
      const [from, to] = [batch.start(index), batch.end(index)]
      if (isText(bytes, from)) this.#said(readEvent(bytes, from, to))
      else this.owner?.records(bytes, from, to)
    }
  }

  #said(event: Event): void {
    switch (event.say) {
      case "request":
        Deferred.doneUnsafe(this.request, Effect.succeed(event))
        return
      case "settled":
        this.negotiated = event
        if (event.open) this.#open()
        Deferred.doneUnsafe(this.answer, Effect.succeed(event))
        return
      case "declined":
        Deferred.doneUnsafe(this.answer, Effect.succeed(event))
        return
      case "open":
        Deferred.doneUnsafe(this.proven, Effect.void)
        this.#open()
        return
      case "failed": {
        const { detail } = event
        this.#release()?.failed(event)
        Deferred.doneUnsafe(this.answer, Effect.succeed({ say: "failed", detail }))
        Deferred.doneUnsafe(this.ready, Effect.succeed(false))
      }
    }
  }

  /** Returns the owner to notify of the end; undefined before there was a connection. */
  #release(): SessionOwner | undefined {
    const owner = this.negotiated === undefined ? undefined : this.owner
    this.owner = undefined
    return owner
  }

  #open(): void {
    // The owner first: fibers that wait for `ready` run at once.
    this.owner?.opened()
    Deferred.doneUnsafe(this.ready, Effect.succeed(true))
  }
}

/** Runs a connection until its lane has ended; to be forked in the device's Scope. */
const run = (link: SessionHandle): Effect.Effect<void> =>
  Effect.raceFirst(
    link.lane.closed,
    Effect.flatMap(Deferred.await(link.disconnecting), (how) =>
      Effect.andThen(how === "in order" ? link.lane.close : link.lane.abort, link.lane.closed)
    )
  ).pipe(Effect.map((error) => link.ended(error)))

/** Makes the handle of a lane, and runs it in `home` until the lane has ended. */
export const open = <E>(
  lane: Effect.Effect<Lane, E, Scope.Scope>,
  home: Scope.Scope
): Effect.Effect<SessionHandle, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const link = new SessionHandle(
        yield* restore(Scope.provide(lane, scope)).pipe(
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
      )
      const gone = new LaneError({
        peer: link.lane.peer.address,
        reason: new LaneClosed({ unsent: 0 })
      })
      const running = Effect.interruptible(run(link)).pipe(
        Effect.ensuring(Scope.close(scope, Exit.void)),
        Effect.ensuring(Effect.sync(() => link.ended(gone)))
      )
      yield* Effect.forkIn(running, home, { startImmediately: true })
      return link
    })
  )

/**
 * Connecting, listening and accepting as effects that can be interrupted at any moment: an
 * attempt is waited for until it has ended, and a connection is taken only in a step that cannot
 * be interrupted.
 */
import * as Effect from "effect/Effect"
import * as Lane from "../Lane.ts"
import { SocketOpenError } from "../PoolError.ts"
import type { Cancellable, LanePool } from "./lanePool.ts"
import { failureOf, type OpenFailure } from "./messages.ts"
import type { LaneHandle } from "./laneHandle.ts"
import type { Opener } from "./openJobs.ts"
import { certificateEnd, type TlsSettings } from "./tls.ts"
import { Waiters } from "./waiters.ts"

/** The error of a failed job. */
export const openErrorOf = (address: string, failure: OpenFailure): SocketOpenError =>
  new SocketOpenError({ address, ...failure })

/** The answer of a job, which comes once; a listener fails after it was open. */
class Outcome<A> {
  value: A | undefined
  failure: SocketOpenError | undefined
  readonly #address: string
  readonly #waiters = new Waiters()

  constructor(address: string) {
    this.#address = address
  }

  readonly succeed = (value: A): void => {
    this.value = value
    this.#waiters.wake()
  }

  readonly fail = (failure: OpenFailure): void => {
    this.failure = openErrorOf(this.#address, failure)
    this.#waiters.wake()
  }

  readonly result: Effect.Effect<A, SocketOpenError> = Effect.suspend(() => {
    if (this.value !== undefined) return Effect.succeed(this.value)
    if (this.failure !== undefined) return Effect.fail(this.failure)
    return Effect.andThen(
      this.#until(() => this.value !== undefined || this.failure !== undefined),
      this.result
    )
  })

  /** Waits for the last answer of a listener. */
  readonly failed: Effect.Effect<void> = Effect.suspend(() =>
    this.#until(() => this.failure !== undefined)
  )

  #until(isOver: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const wake = (): void => {
        if (isOver()) resume(Effect.void)
        else giveUp = this.#waiters.add(wake)
      }
      let giveUp = (): void => {}
      wake()
      return Effect.sync(() => giveUp())
    })
  }
}

type Job = Pick<Opener, "job" | "takesCommands">
const ignore = (): void => {}

/**
 * An attempt to open a connection: the resource that a lane's Scope holds. However early the
 * Scope closes, releasing it waits until the attempt has failed or its lane has ended.
 */
export class OpenAttempt {
  readonly result: Effect.Effect<LaneHandle, SocketOpenError>
  readonly #answer: Outcome<LaneHandle>
  readonly #ticket: Cancellable

  constructor(pool: LanePool, job: Job, inWorker: boolean, address: string) {
    this.#answer = new Outcome(address)
    const { fail, result, succeed } = this.#answer
    this.result = result
    const opener = { ...job, opened: succeed, failed: fail, listening: ignore, accepted: ignore }
    this.#ticket = pool.open(opener, inWorker)
  }

  readonly release: Effect.Effect<void> = Effect.suspend(() => {
    const { failure, result, value } = this.#answer
    if (value !== undefined) return Lane.close(value)
    if (failure !== undefined) return Effect.void
    this.#ticket.cancel()
    return Effect.matchEffect(result, { onFailure: () => Effect.void, onSuccess: Lane.abort })
  })
}

/** Until when certificates are valid; a failure if they cannot be used. */
export const checkCertificates = (tls: TlsSettings, address: string) =>
  Effect.try({
    try: () => certificateEnd(tls),
    catch: (error) => openErrorOf(address, failureOf("tls", error))
  })

interface Bound {
  readonly address: string
  readonly port: number
}

/**
 * A listener, open or about to be: the resource that its Scope holds. Releasing it waits until no
 * thread accepts at its address any more, and the connections not yet accepted have ended.
 */
export class ListenAttempt {
  readonly bound: Effect.Effect<Bound, SocketOpenError>
  readonly release: Effect.Effect<void>
  readonly renewCertificates: (tls: TlsSettings) => Effect.Effect<void, SocketOpenError>

  constructor(
    pool: LanePool,
    waiting: AcceptQueue,
    job: Job,
    { address, inWorkers }: { readonly address: string; readonly inWorkers: boolean }
  ) {
    const answer = new Outcome<Bound>(address)
    this.bound = answer.result
    const opener: Opener = {
      ...job,
      opened: ignore,
      failed: answer.fail,
      listening: (address, port) => answer.succeed({ address, port }),
      accepted: (handle) => waiting.offer(handle)
    }
    const ticket = pool.listen(opener, inWorkers)
    this.renewCertificates = (tls) =>
      Effect.andThen(
        checkCertificates(tls, address),
        Effect.sync(() => ticket.renewCertificates(tls))
      )
    this.release = Effect.suspend(() => {
      if (answer.failure === undefined) ticket.cancel()
      return Effect.andThen(answer.failed, waiting.close)
    })
  }
}

/** Connections that wait to be accepted. */
export class AcceptQueue {
  readonly #limit: number
  readonly #waiting: Array<LaneHandle> = []
  #wake: Array<() => void> = []
  #closed = false

  constructor(limit: number) {
    this.#limit = limit
  }

  offer(handle: LaneHandle): void {
    if (this.#closed || this.#waiting.length >= this.#limit) handle.abort()
    else {
      this.#waiting.push(handle)
      this.#wake.shift()?.()
    }
  }

  /** Takes a connection only in the step that cannot be interrupted, so none is lost. */
  next(restore: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>): Effect.Effect<LaneHandle> {
    return Effect.suspend(() => {
      const handle = this.#waiting.shift()
      if (handle !== undefined) {
        handle.start()
        return Effect.succeed(handle)
      }
      return Effect.andThen(restore(this.#available), this.next(restore))
    })
  }

  /** Closes the connections that were not accepted. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.#closed = true
    const waiting = this.#waiting.splice(0)
    return Effect.forEach(waiting, Lane.abort, { discard: true })
  })

  /** Goes on within the `offer` that wakes it: no interruption comes before it has taken. */
  readonly #available = Effect.callback<void>((resume) => {
    const wake = (): void => resume(Effect.void)
    // A connection may have come since the caller looked: its fiber can have yielded in between.
    if (this.#waiting.length > 0) {
      wake()
      return Effect.void
    }
    this.#wake.push(wake)
    return Effect.sync(() => {
      const at = this.#wake.indexOf(wake)
      if (at >= 0) this.#wake.splice(at, 1)
    })
  })
}

/**
 * Deadlines of one length, for many things that mostly end long before.
 *
 * One fiber sleeps until the oldest deadline, on Effect's clock, so that starting and stopping one
 * costs next to nothing. Effect has no such thing: `Effect.timeout` costs a fiber and a timer each,
 * which shows in what a handshake costs.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { WaitingWork } from "./WaitingWork.ts"

export class Deadlines<A> {
  readonly durationMs: number
  readonly #expired: (item: A) => void
  readonly #clock: Clock.Clock
  readonly #fork: (effect: Effect.Effect<void>) => void
  /** Running items, the oldest first, and their start times. */
  readonly #running = new WaitingWork<A>()
  readonly #since = new Map<A, number>()
  #isSleeping = false

  private constructor(
    durationMs: number,
    expired: (item: A) => void,
    clock: Clock.Clock,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.durationMs = durationMs
    this.#expired = expired
    this.#clock = clock
    this.#fork = fork
  }

  /** Makes deadlines that run until the Scope closes. `expired` is called for each that passes. */
  static readonly make = <A>(
    durationMs: number,
    expired: (item: A) => void
  ): Effect.Effect<Deadlines<A>, never, Scope.Scope> =>
    Effect.gen(function* () {
      const run = yield* FiberSet.makeRuntime()
      const fork = (effect: Effect.Effect<void>) => void run(effect)
      return new Deadlines(durationMs, expired, yield* Clock.Clock, fork)
    })

  get #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1_000_000
  }

  /** Starts a deadline. The one of an item that has one already begins anew. */
  start(item: A): void {
    this.#running.remove(item)
    this.#running.add(item)
    this.#since.set(item, this.#now)
    if (this.#isSleeping) return
    this.#isSleeping = true
    this.#fork(this.#watch())
  }

  stop(item: A): void {
    this.#running.remove(item)
    this.#since.delete(item)
  }

  /** Sleeps until the oldest deadline, again and again, while there is one. */
  #watch(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const oldest = this.#running.first
      if (oldest === undefined) return Effect.sync(() => void (this.#isSleeping = false))
      const leftMs = (this.#since.get(oldest) ?? 0) + this.durationMs - this.#now
      const step = leftMs > 0 ? Effect.sleep(Math.ceil(leftMs)) : this.#expire(oldest)
      return Effect.andThen(step, this.#watch())
    })
  }

  /** A handler that throws does not stop the other deadlines. */
  #expire(item: A): Effect.Effect<void> {
    return Effect.catchCause(
      Effect.sync(() => {
        this.stop(item)
        this.#expired(item)
      }),
      (cause) => Effect.logError("the handler of a deadline failed", cause)
    )
  }
}

/**
 * Restarts what crashed, and what must not go on without it.
 *
 * Before a new generation begins, the Scope of the old one is closed, whatever the strategy:
 * acquire 1, release 1, acquire 2. Restarts are bounded within a window; beyond it the
 * supervisor ends its children and fails, which its own supervisor sees as a crash.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { type Actor, makeCell, type RecoveryError, reference } from "./Actor.ts"
import type { RestartsExhausted } from "./ActorError.ts"
import type { Behavior, Tagged } from "./Behavior.ts"
import { SupervisedActor, supervisedEffect, supervisedLife } from "./internal/children.ts"
import { recover } from "./internal/recovering.ts"
import { type Strategy, Supervision } from "./internal/supervising.ts"

/**
 * What a supervisor does and how long it keeps trying.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Who is restarted with a child that crashed: nobody, all, or those started after it. Default
   * `"one-for-one"`.
   */
  readonly strategy?: Strategy
  /**
   * How many crashes are answered with a restart within a window. Default 5 within 10 seconds:
   * a fault that outlives five restarts is not one that restarting cures.
   */
  readonly restarts?: { readonly max: number; readonly within: Duration.Input }
  /**
   * How long to wait before a restart; it begins anew after a quiet window. When it ends, the
   * supervisor fails. Default: 100 milliseconds, doubled each time, with jitter.
   */
  readonly backoff?: Schedule.Schedule<unknown, Cause.Cause<unknown>>
  /** The supervisor that sees this one's failure as the crash of a child. */
  readonly parent?: Supervisor
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Supervisor {
  readonly "~handfast/actors/Supervisor": Supervision
  /** Starts a child actor and waits until it has recovered. It lives as long as the supervisor. */
  readonly spawn: <State, Commands extends Rpc.Any, Signal extends Tagged, Event extends Tagged, R>(
    behavior: Behavior<State, Commands, Signal, Event, R>,
    id: string
  ) => Effect.Effect<Actor<State, Commands, Event>, RecoveryError, Exclude<R, Scope.Scope>>
  /** Runs an effect as a child, in a Scope of its own; it is run again when it fails. */
  readonly run: <E, R>(
    name: string,
    effect: Effect.Effect<unknown, E, R>
  ) => Effect.Effect<void, never, Exclude<R, Scope.Scope>>
  /** Never succeeds; fails when the supervisor has given up. */
  readonly failed: Effect.Effect<never, RestartsExhausted>
}

const defaultBackoff = Schedule.jittered(Schedule.exponential("100 millis"))

/**
 * Makes a supervisor. Its children end with its Scope, in the reverse order of their start.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Supervisor, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const { max, within } = options.restarts ?? { max: 5, within: "10 seconds" }
  const supervision = new Supervision({
    strategy: options.strategy ?? "one-for-one",
    max,
    withinMillis: Duration.toMillis(Duration.fromInputUnsafe(within)),
    backoff: options.backoff ?? defaultBackoff,
    parent: options.parent?.["~handfast/actors/Supervisor"],
    context: yield* Effect.context<never>(),
    scope
  })
  const life = supervisedLife(supervision)
  const inScope = <A, E, R>(effect: Effect.Effect<A, E, R>) => Scope.provide(effect, scope)
  return {
    "~handfast/actors/Supervisor": supervision,
    spawn: (behavior, id) =>
      inScope(
        Effect.gen(function* () {
          const cell = yield* makeCell(behavior, id, life)
          const child = new SupervisedActor(cell, supervision)
          supervision.add(cell, child)
          yield* Effect.onError(recover(cell), () => child.end("could not recover"))
          return reference(cell)
        })
      ),
    run: (name, effect) => inScope(supervisedEffect(name, effect, supervision)),
    failed: supervision.failed
  }
})

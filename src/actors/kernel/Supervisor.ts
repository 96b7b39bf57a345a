/**
 * Restarts children that crash, and those that depend on them.
 *
 * Before a new generation begins, the Scope of the old one is closed, with every strategy: acquire
 * 1, release 1, acquire 2. Restarts are bounded within a window; beyond it the supervisor ends its
 * children and fails, which its own supervisor sees as a crash.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Rpc from "effect/rpc/Rpc"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { type Actor, type RecoveryError, spawnWith } from "./Actor.ts"
import type { AlreadyRunning, RestartsExhausted, SupervisorStopped } from "./ActorError.ts"
import type { Behavior, Tagged } from "./Behavior.ts"
import type { Cell } from "./internal/cell.ts"
import type { Crash } from "./internal/child.ts"
import { SupervisedActor, supervisedLife, SupervisedRun } from "./internal/children.ts"
import type { Strategy } from "./internal/restarting.ts"
import { assertSettings, millisOf } from "./internal/settingRules.ts"
import { Supervision } from "./internal/supervising.ts"
import { withoutSpan } from "./internal/tracing.ts"

/** Which children a supervisor restarts, how often and after what delay. */
export interface Options {
  /**
   * Which children are restarted with one that crashed: none, all, or those started after it.
   * Default `"one-for-one"`.
   */
  readonly strategy?: Strategy
  /**
   * Crashes that are answered with a restart within a window of monotonic time: `max` is a whole
   * number from 0, `within` longer than nothing, and both may be infinite. Children that crash
   * while a restart of them is under way are not counted again. Default 5 within 10 seconds: a
   * fault that outlives five restarts will not be cured by another.
   *
   * With `per: "child"` each child has a separate budget, and a separate outage of the journal. One
   * that has spent it ends alone, with an error log, and may be spawned again; the supervisor never
   * gives up. It is for many unrelated children of which a few may always be failing. Default
   * `"supervisor"`.
   */
  readonly restarts?: {
    readonly max: number
    readonly within: Duration.Input
    readonly per?: "supervisor" | "child"
  }
  /**
   * How long the journal may keep failing before the supervisor gives up. Such a failure crashes
   * every actor that writes, and no restart cures it, so it is not counted in `restarts`; it is
   * over once an actor that it has failed has stored events again, and after as long without
   * another failure. Default 1 minute: longer than network storage takes to fail over.
   */
  readonly journalOutage?: Duration.Input
  /**
   * How long to wait before a restart, for each child: its schedule begins anew when there was no
   * crash for a window after the restart. When it ends, the supervisor fails. Default: 100
   * milliseconds, doubled each time up to 5 seconds, with jitter.
   */
  readonly backoff?: Schedule.Schedule<unknown, Cause.Cause<unknown>>
  /** The supervisor that sees this one's failure as the crash of a child. */
  readonly parent?: Supervisor
}

/** Why a child actor was not started. */
export type SpawnError = RecoveryError | AlreadyRunning | SupervisorStopped

export interface Supervisor {
  readonly "~handfast/actors/Supervisor": Supervision
  /**
   * Starts a child actor and waits until it has recovered. It lives as long as the supervisor.
   * While the parent restarts this supervisor, it waits for that first; if a sibling's crash
   * restarts the new child too, it does not wait for the second recovery.
   */
  readonly spawn: <State, Commands extends Rpc.Any, Signal extends Tagged, Event extends Tagged, R>(
    behavior: Behavior<State, Commands, Signal, Event, R>,
    id: string
  ) => Effect.Effect<Actor<State, Commands, Event>, SpawnError, Exclude<R, Scope.Scope>>
  /** Runs an effect as a child, with a new Scope for each run; it is run again when it fails. */
  readonly run: <E, R>(
    name: string,
    effect: Effect.Effect<unknown, E, R>
  ) => Effect.Effect<void, SupervisorStopped, Exclude<R, Scope.Scope>>
  /** Never succeeds; fails when the supervisor, or one above it, has given up for good. */
  readonly failed: Effect.Effect<never, RestartsExhausted>
}

const defaultBackoff = Schedule.jittered(
  Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])
)

const defaultRestarts: NonNullable<Options["restarts"]> = { max: 5, within: "10 seconds" }

/**
 * Makes a supervisor. Its children end with its Scope, in the reverse order of their start. A
 * child supervisor also ends with the Scope of its parent. An option out of its range is a defect
 * (`SettingsRefused`).
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Supervisor, never, Scope.Scope> {
  const { max, per = "supervisor", within } = options.restarts ?? defaultRestarts
  const withinMillis = millisOf(within)
  const outageMillis = millisOf(options.journalOutage ?? "1 minute")
  assertSettings("supervisor", {
    "restarts.max": max,
    "restarts.within": withinMillis,
    journalOutage: outageMillis
  })
  const parent = options.parent?.["~handfast/actors/Supervisor"]
  const { children, lifetime } = yield* scopes(parent)
  const settings = {
    strategy: options.strategy ?? "one-for-one",
    max,
    per,
    withinMillis,
    outageMillis,
    backoff: options.backoff ?? defaultBackoff,
    parent,
    context: withoutSpan(yield* Effect.context<never>()),
    scope: children
  }
  const supervision = new Supervision(settings, yield* Queue.unbounded<Crash>())
  yield* Scope.addFinalizer(
    lifetime,
    Effect.andThen(supervision.close("closed"), Scope.close(children, Exit.void))
  )
  yield* parent === undefined ? supervision.begin() : parent.adopt(supervision)
  return handleOf(supervision)
})

/**
 * The Scope in which children live, and the one that ends them: a child of the parent's, so that a
 * closed supervisor leaves nothing in its parent.
 */
const scopes = Effect.fnUntraced(function* (parent: Supervision | undefined) {
  const callerScope = yield* Effect.scope
  const lifetime = yield* Scope.fork(parent === undefined ? callerScope : parent.settings.scope)
  if (parent !== undefined) yield* Scope.addFinalizer(callerScope, Scope.close(lifetime, Exit.void))
  return { lifetime, children: Scope.makeUnsafe() }
})

const handleOf = (supervision: Supervision): Supervisor => {
  const { scope } = supervision.settings
  const life = supervisedLife(supervision)
  // The span is removed before the Scope is added: the context is shared by all children.
  const inScope = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.updateContext(Scope.provide(effect, scope), withoutSpan<Exclude<R, Scope.Scope>>)
  return {
    "~handfast/actors/Supervisor": supervision,
    spawn: (behavior, id) => {
      const start = (cell: Cell) => supervision.start(new SupervisedActor(cell, supervision))
      return inScope(spawnWith(behavior, id, life, start))
    },
    run: (name, effect) => inScope(run(supervision, name, effect)),
    failed: supervision.failed
  }
}

const run = Effect.fnUntraced(function* <E, R>(
  supervision: Supervision,
  name: string,
  effect: Effect.Effect<unknown, E, R>
) {
  const lifetime = yield* Scope.fork(supervision.settings.scope)
  const fork = Effect.runForkWith(yield* Effect.context<R>())
  const child = new SupervisedRun(
    name,
    (scope) => fork(Scope.provide(effect, scope)),
    supervision,
    lifetime
  )
  yield* Scope.addFinalizer(lifetime, child.halt)
  yield* Effect.onError(supervision.start(child), () => child.end())
})

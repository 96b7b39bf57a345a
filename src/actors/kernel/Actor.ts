/**
 * A running behavior: one mailbox, one state, one history, one message at a time.
 *
 * An idle actor is a plain object without a fiber. A message to it starts a turn: messages are
 * decided in batches, a batch's events are stored with one append, and only then do its effects
 * start and its callers get their answers.
 */

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AlreadyRunning, type AskTimedOut, type MailboxFull, type Stopped } from "./ActorError.ts"
import type { Arguments, Behavior, Tagged, Tell } from "./Behavior.ts"
import { endedBy } from "./internal/answering.ts"
import { Cell, type Ending, forgotten, type Life, type Watcher } from "./internal/cell.ts"
import { close, halt } from "./internal/halting.ts"
import { handle } from "./internal/handles.ts"
import { lifeWith } from "./internal/recovering.ts"
import { newestState, recoverNow } from "./internal/recovering.ts"
import { endFailed, endingOf, endWith, onEnd } from "./internal/releasing.ts"
import type { RecoveryError } from "./internal/restoring.ts"
import { takeAddress } from "./internal/running.ts"
import type { Sent } from "./internal/sending.ts"
import { withoutSpan } from "./internal/tracing.ts"
import { Journal } from "./Journal.ts"

export type {
  /** Why an actor could not begin: the journal failed, or its history cannot be read. */
  RecoveryError,
  /** Result of sending a message with `tellUnsafe`. */
  Sent
}

/**
 * A function per command that waits for the answer. The answer leaves the actor only after the
 * events behind it are durable. Interrupting the caller does not take the command back.
 *
 * Within a process the types of payloads are trusted, and not checked by their Schema: `decide` may
 * see 1.5 where that says `Int`. Events are checked as they are encoded, and so are calls by
 * `ActorRpc`.
 */
export type Ask<Commands extends Rpc.Any, E = never> = {
  readonly [C in Commands as Rpc.Tag<C>]: (
    ...args: Arguments<Rpc.Payload<C>>
  ) => Effect.Effect<Rpc.Success<C>, Rpc.Error<C> | MailboxFull | Stopped | E>
}

/** A function per command that leaves it in the mailbox without an Effect: for callbacks. */
export type TellUnsafe<Commands extends Rpc.Any> = {
  readonly [C in Commands as Rpc.Tag<C>]: (...args: Arguments<Rpc.Payload<C>>) => Sent
}

/** A reference to a running actor. */
export interface Actor<State, Commands extends Rpc.Any, Event> {
  readonly id: string
  /** The name of the actor's history in the journal. */
  readonly address: string
  readonly ask: Ask<Commands>
  /** `ask`, with a bound on the time to the answer. */
  readonly askWithin: (duration: Duration.Input) => Ask<Commands, AskTimedOut>
  readonly tell: Tell<Commands>
  readonly tellUnsafe: TellUnsafe<Commands>
  /**
   * The newest state that callers may see. That of a passive actor is read from the journal, and
   * the actor stays passive; a journal that cannot be read is a defect here.
   */
  readonly state: Effect.Effect<State>
  /**
   * The state now, and after each further event. A recovery that finds another state than the one
   * last emitted emits the one it found: with the events of an append that failed but was stored,
   * or the initial one without a history. A subscriber that lags behind by more than the limit
   * `watch` misses the oldest ones, without a sign. It ends with the actor.
   */
  readonly states: Stream.Stream<State>
  /**
   * Each further event, once its append has succeeded. An event whose append failed is not among
   * them, even if a recovery finds it in the journal; `states` then emits the state with it. A
   * subscriber that lags behind by more than the limit `watch` misses the oldest ones, without a
   * sign: a projection reads the journal instead. It ends with the actor.
   */
  readonly events: Stream.Stream<Event>
  /** Takes no more messages, handles those it has, releases everything, and returns. */
  readonly stop: Effect.Effect<Stopped>
  /** Waits for the end of the actor. */
  readonly ended: Effect.Effect<Stopped>
}

/** An actor of a given behavior. */
export type Of<B> =
  B extends Behavior<infer State, infer Commands, Tagged, infer Event, unknown>
    ? Actor<State, Commands, Event>
    : never

/** The services that an actor of a behavior needs. */
export type Services<B> =
  B extends Behavior<infer _State, infer _Commands, Tagged, infer _Event, infer R> ? R : never

class ActorReference implements Actor<unknown, Rpc.Any, unknown> {
  readonly #cell: Cell
  constructor(cell: Cell) {
    this.#cell = cell
  }
  get id() {
    return this.#cell.id
  }
  get address() {
    return this.#cell.address
  }
  get ask() {
    return handle(this.#cell, "ask") as Ask<Rpc.Any>
  }
  askWithin(duration: Duration.Input) {
    const within = Duration.fromInputUnsafe(duration)
    return handle(this.#cell, "askWithin", within) as Ask<Rpc.Any, AskTimedOut>
  }
  get tell() {
    return handle(this.#cell, "tell") as Tell<Rpc.Any>
  }
  get tellUnsafe() {
    return handle(this.#cell, "tellUnsafe") as TellUnsafe<Rpc.Any>
  }
  get state() {
    return Effect.orDie(newestState(this.#cell))
  }
  get states() {
    return watch(this.#cell, (_, state) => state, true)
  }
  get events() {
    return watch(this.#cell, (event) => event, false)
  }
  get stop() {
    return Effect.suspend(() => {
      close(this.#cell)
      return awaitEnd(this.#cell)
    })
  }
  get ended() {
    return awaitEnd(this.#cell)
  }
}

const awaitEnd = (cell: Cell): Effect.Effect<Stopped> =>
  Effect.callback((resume) => Effect.sync(onEnd(cell, () => resume(Effect.succeed(endedBy(cell))))))

/** Streams states or events; with `current`, it begins with the present state. */
const watch = <A>(
  cell: Cell,
  pick: (event: Tagged | undefined, state: unknown) => A,
  current: boolean
): Stream.Stream<A> =>
  Stream.callback<A>(
    Effect.fnUntraced(function* (queue) {
      let seen = false
      const watcher: Watcher = (event, state) => {
        // A recovered state is not an event.
        if (event === undefined && !current) return
        seen = true
        Queue.offerUnsafe(queue, pick(event, state))
      }
      const watchers = (cell.watchers ??= new Set())
      if (current && cell.state !== forgotten) watcher(undefined, cell.state)
      watchers.add(watcher)
      yield* Effect.addFinalizer(() => Effect.sync(() => watchers.delete(watcher)))
      if (current && !seen) {
        const state = yield* Effect.orDie(newestState(cell))
        // A state that was emitted since is newer.
        if (!seen) watcher(undefined, state)
      }
      yield* awaitEnd(cell)
      yield* Queue.end(queue)
    }),
    { bufferSize: cell.definition.limits.watch, strategy: "sliding" }
  )

/** Actors without a supervisor that have crashed and are about to end. */
const doomed = new WeakSet<Cell>()

/** An actor without a supervisor ends with its first crash. */
const alone: Life = lifeWith((cell, _, cause) => {
  doomed.add(cell)
  cell.fork(
    Effect.andThen(
      halt(cell),
      Effect.sync(() => endFailed(cell, cause))
    )
  )
})

/**
 * Starts an actor and waits until it has recovered. It ends with the Scope: then its effects are
 * interrupted and waiting callers get `Stopped`. Use `stop` to let it finish first. Interrupting
 * this before the actor has recovered ends the actor.
 *
 * A second actor of one address would fence the first. Within a process and a journal (the same
 * `Journal` service) it is refused with `AlreadyRunning`; elsewhere the newer one takes over. If
 * the earlier actor is about to end, this waits for its end.
 */
export const spawn = <
  State,
  Commands extends Rpc.Any,
  Signal extends Tagged,
  Event extends Tagged,
  R
>(
  behavior: Behavior<State, Commands, Signal, Event, R>,
  id: string
): Effect.Effect<Actor<State, Commands, Event>, RecoveryError | AlreadyRunning, Scope.Scope | R> =>
  spawnWith(behavior, id, alone, recoverNow)

/**
 * Makes a cell, takes its address and starts it. A failure or an interruption of this ends the cell
 * again, since no caller has a reference to stop it.
 */
export const spawnWith = <
  State,
  Commands extends Rpc.Any,
  Signal extends Tagged,
  Event extends Tagged,
  R,
  E
>(
  behavior: Behavior<State, Commands, Signal, Event, R>,
  id: string,
  life: Life,
  start: (cell: Cell) => Effect.Effect<void, E>
): Effect.Effect<Actor<State, Commands, Event>, E | AlreadyRunning, Scope.Scope | R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(makeCell(behavior, id, life), (cell) =>
      restore(settle(cell, start)).pipe(
        Effect.onError((cause) => endWith(cell, endingOf(cause))),
        Effect.as(reference<State, Commands, Event>(cell))
      )
    )
  )

const released: Ending = { reason: "released", detail: "" }

/** Makes the cell of an actor that has not begun yet, tied to the Scope of the caller. */
export const makeCell = Effect.fnUntraced(function* <R>(
  behavior: Behavior<unknown, Rpc.Any, Tagged, Tagged, R>,
  id: string,
  life: Life
) {
  const context = withoutSpan(yield* Effect.context<Scope.Scope | R>())
  const { definition } = behavior
  const journal = definition.durable ? Context.getOption(context, Journal) : Option.none()
  const lifetime = yield* Scope.fork(Context.get(context, Scope.Scope))
  const cell = new Cell(definition, id, context, Option.getOrUndefined(journal), life, lifetime)
  yield* Scope.addFinalizerExit(lifetime, () => endWith(cell, released))
  return cell
})

/** A Scope runs its finalizers in order, so another one may delay the end of a cell for long. */
const isAboutToEnd = (cell: Cell): boolean =>
  cell.closing ||
  doomed.has(cell) ||
  Context.get(cell.context as Context.Context<Scope.Scope>, Scope.Scope).state._tag === "Closed"

/**
 * Takes the cell's address and starts the cell, in one step. Waits for an earlier actor that is
 * about to end. A cell whose Scope has closed has ended, and must not take an address.
 */
const settle = <E>(
  cell: Cell,
  start: (cell: Cell) => Effect.Effect<void, E>
): Effect.Effect<void, E | AlreadyRunning> =>
  Effect.suspend((): Effect.Effect<void, E | AlreadyRunning> => {
    // A supervisor reports why it has closed the Scope.
    if (cell.closing) return Effect.andThen(start(cell), Effect.interrupt)
    const holder = takeAddress(cell)
    if (holder === undefined) return start(cell)
    if (isAboutToEnd(holder)) {
      return Effect.andThen(awaitEnd(holder), settle(cell, start))
    }
    return Effect.fail(new AlreadyRunning({ actor: cell.address }))
  })

/** Makes the actor that users get from a cell. */
export const reference = <State, Commands extends Rpc.Any, Event>(
  cell: Cell
): Actor<State, Commands, Event> =>
  new ActorReference(cell) as Actor<unknown, Rpc.Any, unknown> as Actor<State, Commands, Event>

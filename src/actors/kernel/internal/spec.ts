/** The types of a behavior's declaration. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { MailboxFull, Stopped } from "../ActorError.ts"
import type { Decision, Stashed } from "../Decision.ts"
import type { Journal } from "../Journal.ts"
import type { Limits } from "../Limits.ts"
import type { SnapshotPolicy, Upcast } from "./snapshotPolicy.ts"

/** A value with a `_tag`. */
export interface Tagged {
  readonly _tag: string
}

/** Inputs of `decide` besides the state and the command. */
export interface DecideContext {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly now: number
  /** Draws a new epoch; put it into the event that opens it. */
  readonly fresh: () => Epoch
}

/** The fields of a tagged value without the tag. */
export type Fields<T extends Tagged> = Omit<T, "_tag">

/** Commands and signals without fields are sent without an argument. */
export type Arguments<P> = [P] extends [void] ? [] : keyof P extends never ? [] : [payload: P]

/** A function per command that leaves it in the mailbox. */
export type Tell<Commands extends Rpc.Any> = {
  readonly [C in Commands as Rpc.Tag<C>]: (
    ...args: Arguments<Rpc.Payload<C>>
  ) => Effect.Effect<void, MailboxFull | Stopped>
}

/**
 * The actor as its own effects see it. Signals sent through it carry the epoch in which the effect
 * was started.
 */
export interface Self<State, Commands extends Rpc.Any, Signal extends Tagged> {
  readonly id: string
  readonly epoch: Epoch
  readonly tell: Tell<Commands>
  readonly signal: {
    readonly [S in Signal as S["_tag"]]: (
      ...args: Arguments<Fields<S>>
    ) => Effect.Effect<void, MailboxFull | Stopped>
  }
  /**
   * The newest durable state. A passive actor has forgotten it: effects that outlive their epoch
   * then see the initial one.
   */
  readonly state: () => State
}

/** How a recovery went, for `reconcile` and `start`. */
export interface Recovery {
  /** 1 for the first generation of the actor in this process, then one more for each. */
  readonly generation: number
  /** The sequence number of the last event, 0 if the history was empty. */
  readonly last: number
  readonly replayed: number
  /** How many of them were stored by an older version of the event schema. */
  readonly upcasted: number
  /** The sequence number of the snapshot that recovery began with, 0 if there was none. */
  readonly snapshot: number
  /**
   * The sequence numbers of newer snapshots that were skipped, because they are damaged or of a
   * version that the behavior does not read; 0 stands for one whose number is damaged, too. Each
   * one is logged as a warning, with the reason.
   */
  readonly unreadableSnapshots: ReadonlyArray<number>
}

export interface Signals<out Signal> {
  readonly "~handfast/actors/Signals"?: Signal
}

type DecideTable<State, Commands extends Rpc.Any, Signal extends Tagged, Event> = {
  readonly [Tag in Rpc.Tag<Commands> | Signal["_tag"]]: (
    state: State,
    message: Message<Commands, Signal, Tag>,
    context: DecideContext
  ) => Decision<Event, Answer<Commands, Tag>, Failure<Commands, Tag>, State> | Stashed
}

type Message<Commands extends Rpc.Any, Signal extends Tagged, Tag extends string> =
  Tag extends Rpc.Tag<Commands>
    ? Rpc.Payload<Rpc.ExtractTag<Commands, Tag>>
    : Extract<Signal, { _tag: Tag }>
type Answer<Commands extends Rpc.Any, Tag extends string> =
  Tag extends Rpc.Tag<Commands> ? Rpc.Success<Rpc.ExtractTag<Commands, Tag>> : unknown
type Failure<Commands extends Rpc.Any, Tag extends string> =
  Tag extends Rpc.Tag<Commands> ? Rpc.Error<Rpc.ExtractTag<Commands, Tag>> : never

declare const noState: unique symbol

/** Matches no value. As a possible result, it keeps literal types. */
interface KeepsLiterals {
  readonly [noState]: never
  readonly [field: string]: "" | 0 | false
}

type EvolveTable<State, Event extends Tagged> = {
  readonly [Tag in Event["_tag"]]: (
    state: State,
    event: Extract<Event, { _tag: Tag }>
  ) => State | KeepsLiterals
}

export type ReactTable<
  State,
  Commands extends Rpc.Any,
  Signal extends Tagged,
  Event extends Tagged
> = {
  readonly [Tag in Event["_tag"]]?: (
    event: Extract<Event, { _tag: Tag }>,
    self: Self<State, Commands, Signal>,
    state: State
  ) => Effect.Effect<unknown, unknown, unknown>
}

export type ServicesOf<Reactions> = {
  [K in keyof Reactions]-?: NonNullable<Reactions[K]> extends (
    ...args: never
  ) => Effect.Effect<unknown, unknown, infer R>
    ? R
    : never
}[keyof Reactions]

/** Services of the effects, without the Scope; a history needs a journal. */
export type Needs<R, Durability> =
  | Exclude<R, Scope.Scope>
  | (Durability extends "none" ? never : Journal)

/** Parameter of `make`. */
export interface Spec<
  State,
  Commands extends Rpc.Any,
  Signal extends Tagged,
  Events extends Schema.Codec<Tagged, unknown>,
  Reactions,
  StartR,
  Durability
> {
  readonly commands: ReadonlyArray<Commands>
  readonly signals?: Signals<Signal>
  readonly events: Events
  readonly initial: State
  readonly decide: DecideTable<NoInfer<State>, Commands, Signal, Events["Type"]>
  readonly evolve: EvolveTable<NoInfer<State>, Events["Type"]>
  /**
   * Effects of events, each started once its event is stored. A failure of one crashes the actor.
   * They are not run again after a restart or a passivation: `reconcile` and `start` resume work.
   */
  readonly react?: Reactions & ReactTable<NoInfer<State>, Commands, Signal, Events["Type"]>
  /**
   * The epoch that a state belongs to, if any. Effects of an event run in the Scope of the epoch
   * of the state after it; that Scope closes when the state moves on to another epoch or to none.
   * Without this, an epoch lasts from recovery to the end of the actor.
   */
  readonly epoch?: (state: NoInfer<State>) => Epoch | undefined
  /**
   * Decides after each recovery and before the first message how to continue: open a new epoch,
   * resume accepted work. Its reply is discarded.
   */
  readonly reconcile?: (
    state: NoInfer<State>,
    recovery: Recovery,
    context: DecideContext
  ) => Decision<Events["Type"], unknown>
  /** Effects that a recovered state needs at once, such as its timers. */
  readonly start?: (
    state: NoInfer<State>,
    self: Self<NoInfer<State>, Commands, Signal>,
    recovery: Recovery
  ) => Effect.Effect<unknown, unknown, StartR>
  /**
   * `"journal"` (the default) keeps the events; `"none"` is for actors whose state may end with
   * them, and needs no journal at all.
   */
  readonly history?: Durability
  /**
   * Events that only record; no reply depends on them. They are stored in order, but no reply waits
   * for them, and later decisions build on them at once. Everything else waits as for any event:
   * `react`, watchers, `state`, and callers that wait for a later decision. If their append fails,
   * a reply may have reported an event that was never stored.
   */
  readonly writtenBehind?: ReadonlyArray<Events["Type"]["_tag"]>
  /**
   * When events that are written behind are shown: `react`, watchers, `state`, and callers that
   * wait for a later decision. `"stored"` is the default. `"decided"` is for actors whose resources
   * end with their process, so that their events only record: nothing of them waits for the
   * journal. If an append fails, the actor begins again as after any crash, and those callers fail.
   */
  readonly shown?: "stored" | "decided"
  /**
   * Handles a command whose `decide` throws, or whose events cannot be evolved, encoded or stored
   * (`Store.unstorable`). `"refuse"` (the default) only fails the caller, with `Stopped` and
   * the reason `"defect"`, and the actor goes on: deciding has no effects, so nothing of the
   * command is left, and the state is still the fold of the stored events. A restart would replay
   * that same state, cure nothing, and spend the supervisor's restarts, so that a few malformed
   * commands ended its other children. `"crash"` ends the generation: for a behavior that keeps
   * state in its closures, or without a history, whose state a restart does reset. Signals and
   * `reconcile` always crash.
   */
  readonly onDefect?: "refuse" | "crash"
  /** Labels for projections. */
  readonly tags?: (event: Events["Type"]) => ReadonlyArray<string>
  /**
   * Steps from older event schemas: the first one turns version 1 into version 2, and so on. The
   * current version is one more than their number. They see and return decoded JSON.
   */
  readonly upcasts?: ReadonlyArray<Upcast>
  readonly snapshot?: SnapshotPolicy<NoInfer<State>, Events["Type"]>
  /**
   * Forgets the state after this long without work; the next message recovers it. Work is a
   * message, an append, a waiting caller, and each effect of `react` and `start` until it returns:
   * one that never returns keeps the actor awake. A resource or a fiber that an effect leaves in
   * its Scope does not; it is released. Counted on the monotonic clock.
   */
  readonly passivateAfter?: Duration.Input
  readonly limits?: Partial<Limits>
}

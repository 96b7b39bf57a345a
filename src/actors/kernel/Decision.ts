/**
 * What a behavior wants to happen after a command: events to store, a reply, and what becomes
 * of the actor. A decision is a value; nothing has happened yet when it is made.
 *
 * The types hold a behavior to its commands: a command that promises a number needs a decision
 * that replies with a number, on every path.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import * as Pipeable from "effect/Pipeable"

/**
 * A decision that stores events `E`, answers with `A` or fails the caller with `Err`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decision<out E, out A = void, out Err = never> extends Pipeable.Pipeable {
  readonly "~handfast/actors/Decision": { readonly answer: A; readonly error: Err }
  /** Stored together or not at all. */
  readonly events: ReadonlyArray<E>
  /** How the caller is answered: `answer` as it is, of the state after the events, or failed. */
  readonly kind: "value" | "from-state" | "error"
  readonly answer: unknown
  /** What becomes of the actor, and of the messages it put aside. */
  readonly next: "continue" | "stop" | "stash" | "unstash"
}

type Untyped = Decision<never, unknown, unknown>

class DecisionValue extends Pipeable.Class {
  declare readonly "~handfast/actors/Decision": never
  readonly events: ReadonlyArray<never>
  readonly kind: Untyped["kind"]
  readonly answer: unknown
  readonly next: Untyped["next"]

  constructor(
    events: ReadonlyArray<unknown>,
    kind: Untyped["kind"],
    answer: unknown,
    next: Untyped["next"]
  ) {
    super()
    this.events = events as ReadonlyArray<never>
    this.kind = kind
    this.answer = answer
    this.next = next
  }
}

const noEvents: ReadonlyArray<never> = []

/**
 * Nothing is stored; a caller gets `void`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: Decision<never> = new DecisionValue(noEvents, "value", undefined, "continue")

/**
 * Stores one or many events, atomically. A caller gets `void` once they are durable.
 *
 * @category constructors
 * @since 0.1.0
 */
export const persist = <E>(...events: ReadonlyArray<E>): Decision<E> =>
  new DecisionValue(events, "value", undefined, "continue")

/**
 * Answers without an event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reply = <A>(value: A): Decision<never, A> =>
  new DecisionValue(noEvents, "value", value, "continue")

/**
 * Refuses the command with one of its own errors. Nothing is stored.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail = <Err>(error: Err): Decision<never, never, Err> =>
  new DecisionValue(noEvents, "error", error, "continue")

/**
 * Puts the message aside until a later decision says `thenUnstash`. The stash is bounded.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stash: Decision<never, never> = new DecisionValue(
  noEvents,
  "value",
  undefined,
  "stash"
)

/**
 * Ends the actor: the caller gets `void`, messages behind this one fail with `Stopped`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stop: Decision<never> = new DecisionValue(noEvents, "value", undefined, "stop")

/**
 * Answers with a value of the state after the events, once they are durable.
 *
 * @category combinators
 * @since 0.1.0
 */
export const thenReply: {
  <State, A>(answer: (state: State) => A): <E>(self: Decision<E>) => Decision<E, A>
  <E, State, A>(self: Decision<E>, answer: (state: State) => A): Decision<E, A>
} = dual(
  2,
  <E, State, A>(self: Decision<E>, answer: (state: State) => A): Decision<E, A> =>
    new DecisionValue(self.events, "from-state", answer, self.next)
)

/**
 * Ends the actor after the events are stored and the caller is answered.
 *
 * @category combinators
 * @since 0.1.0
 */
export const thenStop = <E, A, Err>(self: Decision<E, A, Err>): Decision<E, A, Err> =>
  new DecisionValue(self.events, self.kind, self.answer, "stop")

/**
 * Takes up every message that was put aside, in order, before any newer one.
 *
 * @category combinators
 * @since 0.1.0
 */
export const thenUnstash = <E, A, Err>(self: Decision<E, A, Err>): Decision<E, A, Err> =>
  new DecisionValue(self.events, self.kind, self.answer, "unstash")

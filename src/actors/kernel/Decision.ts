/**
 * The result of a behavior's `decide`: events to store, a reply, and whether the actor goes on. A
 * decision is a value; nothing has happened yet when it is made.
 *
 * The types hold a behavior to its commands: a command that promises a number needs a decision that
 * replies with a number, on every path.
 */
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Pipeable from "effect/Pipeable"

/**
 * A decision that stores events `E`, answers with `A` or fails the caller with `Err`. An answer
 * that is made from the state names that `State`; signatures may leave it out.
 */
// Only `any` fits every state in both directions.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export interface Decision<out E, out A = void, out Err = never, in State = any>
  extends Pipeable.Pipeable {
  readonly "~handfast/actors/Decision": {
    readonly answer: A
    readonly error: Err
    readonly state: (_: State) => void
  }
  /** Stored together or not at all. */
  readonly events: ReadonlyArray<E>
  /** The reply to the caller: `answer`, a function of the new state, or an error. */
  readonly kind: "value" | "from-state" | "error"
  readonly answer: unknown
  /** Whether the actor goes on, and whether messages are stashed or taken up again. */
  readonly next: "continue" | "stop" | "stash" | "unstash"
  /** The caller waits under this key instead of being answered. */
  readonly pending: string | undefined
  /** Answers to callers that wait under a key, in this order. */
  readonly settlements: ReadonlyArray<Settlement>
}

/** The answer to all callers that wait under a key. */
export interface Settlement {
  readonly key: string
  readonly exit: Exit.Exit<unknown, unknown>
}

/**
 * A key under which callers wait for an answer that a later decision gives. Its types hold both
 * decisions to the same command.
 */
export interface Pending<in out A, in out Err = never> {
  readonly "~handfast/actors/Pending": {
    readonly answer: (_: A) => A
    readonly error: (_: Err) => Err
  }
  readonly key: string
}

/** Makes a key. Within an actor, equal texts are the same key. */
export const pending = <A, Err = never>(key: string): Pending<A, Err> =>
  ({ key }) as Pending<A, Err>

type Untyped = Decision<never, unknown, unknown>

const noEvents: ReadonlyArray<never> = []
const noSettlements: ReadonlyArray<Settlement> = []

class DecisionValue extends Pipeable.Class {
  declare readonly "~handfast/actors/Decision": never
  readonly events: ReadonlyArray<never>
  readonly kind: Untyped["kind"]
  readonly answer: unknown
  readonly next: Untyped["next"]
  readonly pending: string | undefined
  readonly settlements: ReadonlyArray<Settlement>

  constructor(
    events: ReadonlyArray<unknown>,
    kind: Untyped["kind"],
    answer: unknown,
    next: Untyped["next"],
    settlements: ReadonlyArray<Settlement> = noSettlements,
    pending?: string
  ) {
    super()
    this.events = events as ReadonlyArray<never>
    this.kind = kind
    this.answer = answer
    this.next = next
    this.settlements = settlements
    this.pending = pending
  }
}

/** Nothing is stored; a caller gets `void`. */
export const none: Decision<never> = new DecisionValue(noEvents, "value", undefined, "continue")

/** Stores one or many events, atomically. A caller gets `void` once they are durable. */
export const persist = <E>(...events: ReadonlyArray<E>): Decision<E> =>
  new DecisionValue(events, "value", undefined, "continue")

/** Answers without an event. */
export const reply = <A>(value: A): Decision<never, A> =>
  new DecisionValue(noEvents, "value", value, "continue")

/** Refuses the command with one of its own errors. Nothing is stored. */
export const fail = <Err>(error: Err): Decision<never, never, Err> =>
  new DecisionValue(noEvents, "error", error, "continue")

/** A stashed message. Nothing can follow on that: it is decided anew when it is taken up. */
export interface Stashed {
  readonly next: "stash"
}

/**
 * Stashes the message until a later decision says `thenUnstash`, or the actor is restarted: it is
 * then decided again, before the messages in the mailbox. The stash is bounded.
 */
export const stash: Stashed = new DecisionValue(noEvents, "value", undefined, "stash") as Stashed

/** Ends the actor: the caller gets `void`, messages behind this one fail with `Stopped`. */
export const stop: Decision<never> = new DecisionValue(noEvents, "value", undefined, "stop")

/**
 * Answers with a value of the state after the events, once they are durable. Where `decide` returns
 * it from a function with parameters, the state has the behavior's type; elsewhere annotate it.
 * After `thenWait` the answer comes later: replying then is a `TypeError`.
 */
export const thenReply: {
  <State, A>(answer: (state: State) => A): <E>(self: Decision<E>) => Decision<E, A, never, State>
  <E, State, A>(self: Decision<E>, answer: (state: State) => A): Decision<E, A, never, State>
} = dual(
  2,
  <E, State, A>(self: Decision<E>, answer: (state: State) => A): Decision<E, A, never, State> => {
    if (self.pending !== undefined) throw new TypeError("a caller that waits gets no other reply")
    return new DecisionValue(self.events, "from-state", answer, self.next, self.settlements)
  }
)

/**
 * Lets the caller wait until a decision settles the key. The events are stored as usual, and the
 * wait begins when they are durable. An actor with a history keeps it over its restarts:
 * `reconcile` should settle waits whose work has ended, since an append that failed may have been
 * stored; work that it resumes can still answer. The end of the actor ends the wait.
 */
export const thenWait: {
  <A, Err>(key: Pending<A, Err>): <E>(self: Decision<E>) => Decision<E, A, Err>
  <E, A, Err>(self: Decision<E>, key: Pending<A, Err>): Decision<E, A, Err>
} = dual(
  2,
  <E, A, Err>(self: Decision<E>, { key }: Pending<A, Err>): Decision<E, A, Err> =>
    new DecisionValue(self.events, "value", undefined, self.next, self.settlements, key)
)

/** Answers all callers that wait under a key, once the events are durable. */
export const thenSettle: {
  <A, Err>(
    key: Pending<A, Err>,
    exit: Exit.Exit<A, Err>
  ): <E, B, F, State>(self: Decision<E, B, F, State>) => Decision<E, B, F, State>
  <E, B, F, A, Err, State>(
    self: Decision<E, B, F, State>,
    key: Pending<A, Err>,
    exit: Exit.Exit<A, Err>
  ): Decision<E, B, F, State>
} = dual(
  3,
  <E, B, F, A, Err, State>(
    self: Decision<E, B, F, State>,
    { key }: Pending<A, Err>,
    exit: Exit.Exit<A, Err>
  ): Decision<E, B, F, State> => {
    const settlements = [...self.settlements, { key, exit }]
    return new DecisionValue(
      self.events,
      self.kind,
      self.answer,
      self.next,
      settlements,
      self.pending
    )
  }
)

/** Ends the actor after the events are stored and the caller is answered. */
export const thenStop = <E, A, Err, State>(
  self: Decision<E, A, Err, State>
): Decision<E, A, Err, State> => withNext(self, "stop")

/**
 * Takes up every stashed message, in order, before any newer one. An actor that ends with this
 * decision takes none up.
 */
export const thenUnstash = <E, A, Err, State>(
  self: Decision<E, A, Err, State>
): Decision<E, A, Err, State> => withNext(self, self.next === "stop" ? "stop" : "unstash")

const withNext = <E, A, Err, State>(
  { answer, events, kind, pending, settlements }: Decision<E, A, Err, State>,
  next: Untyped["next"]
): Decision<E, A, Err, State> => new DecisionValue(events, kind, answer, next, settlements, pending)

/** Children of a supervisor, and how it classifies their failures. */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import { StorageFailed } from "../../../schema/JournalRecord.ts"
import { type RestartsExhausted, Stopped } from "../ActorError.ts"
import { hasError, report } from "./logging.ts"
import type { ChildRecord, SupervisorState } from "./restarting.ts"

/** Something that can be supervised. It begins halted. */
export interface Child<E = unknown> {
  /** The key by which reports of its crashes find the child. */
  readonly subject: object
  readonly name: string
  /** Rises when a generation begins, never while the child is halted. */
  readonly generation: number
  record: ChildRecord
  /** How many events it has stored; 0 for a child that stores none. */
  readonly stored: number
  /** The value of `stored` at the last failure of the journal. */
  storedAtFailure: number
  /** The budget of this child, after its first crash, if each child has one. */
  account: SupervisorState | undefined
  /** The backoff of this child's crashes. */
  backoff: BackoffStep | undefined
  /** A generation was begun, and is not ready or failed to begin. */
  readonly isBeginning: boolean
  /** Begins a generation at once, unless it has ended; the effect waits until it is ready. */
  readonly begin: () => Effect.Effect<void, E>
  /**
   * Ends the generation and waits until everything of it is released. Halting what is halted does
   * nothing, and a halt that was interrupted may be repeated.
   */
  readonly halt: Effect.Effect<void>
  /** Ends the child for good: its supervisor has given up. */
  readonly end: (failure: RestartsExhausted) => Effect.Effect<void>
}

const finalizerFailed =
  ({ name }: Child) =>
  (cause: Cause.Cause<unknown>) =>
    report("Error", "a finalizer failed", cause, { child: name })

/** Halts a child. A finalizer that fails must not keep other children alive. */
export const haltSafely = (child: Child): Effect.Effect<void> =>
  Effect.catchCause(child.halt, finalizerFailed(child))

/** The same, for a child that ends for good. */
export const endSafely = (child: Child, failure: RestartsExhausted): Effect.Effect<void> =>
  Effect.catchCause(
    Effect.suspend(() => child.end(failure)),
    finalizerFailed(child)
  )

export type BackoffStep = (
  now: number,
  cause: Cause.Cause<unknown>
) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

export interface Crash {
  readonly subject: object
  readonly generation: number
  readonly cause: Cause.Cause<unknown>
}

/**
 * Whether the journal failed, and not the child: its journal, or that of an actor which it asked. A
 * store that is closed stays closed, and a body that is too large is the actor's fault.
 */
export const isOutage = (cause: Cause.Cause<unknown>): boolean => hasError(cause, isOfJournal)

const isOfJournal = (error: unknown): boolean =>
  error instanceof StorageFailed
    ? error.reason !== "closed" && error.reason !== "too-large"
    : error instanceof Stopped && error.reason === "journal"

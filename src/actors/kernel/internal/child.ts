/** What a supervisor supervises, and what it hears of it. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import { StorageFailed } from "../../../schema/JournalRecord.ts"
import type { RestartsExhausted } from "../ActorError.ts"
import type { ChildRecord, SupervisorState } from "./restarting.ts"

/** What can be supervised. It begins halted. */
export interface Child<E = unknown> {
  /** Under this the child is found: what reports its crashes. */
  readonly subject: object
  readonly name: string
  /** Rises when a generation begins, never while the child is halted. */
  readonly generation: number
  record: ChildRecord
  /** Its budget, once it has crashed, where each child has one. */
  account: SupervisorState | undefined
  /** The backoff of this child's crashes. */
  backoff: BackoffStep | undefined
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
 * Whether the journal failed, and not the actor: a store that is closed stays closed, and a body
 * that is too large is the actor's fault.
 */
export const isOutage = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some(
    (reason) =>
      Cause.isFailReason(reason) &&
      reason.error instanceof StorageFailed &&
      reason.error.reason !== "closed" &&
      reason.error.reason !== "too-large"
  )

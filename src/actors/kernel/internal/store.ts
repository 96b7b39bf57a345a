/** The interface of a journal. Its layers import this, and not the service. */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type {
  Append,
  Claim,
  JournalError,
  NewEvent,
  Projection,
  StoredEvent,
  StoredSnapshot
} from "../../../schema/JournalRecord.ts"

/**
 * The operations that every journal layer offers. Values that cannot be stored exactly, such as
 * text with a lone surrogate or a number out of range, fail with `NotStorable`, for their caller
 * alone.
 */
export interface Store {
  /**
   * Takes over an actor's history. From here on every older claim is fenced: its appends fail
   * with `Fenced`, also those that are under way and not yet stored.
   */
  readonly claim: (actor: string) => Effect.Effect<Claim, JournalError>
  /**
   * Stores events directly after `expected`, all of them or none, and returns when they
   * survive the process. After `StorageFailed` it is unknown whether they were stored.
   */
  readonly append: (append: Append) => Effect.Effect<void, JournalError>
  /**
   * Why an event cannot be stored: text with a lone surrogate, a body over a limit; `undefined` if
   * it can. An actor asks before it takes a decision, so that only the command that led to such an
   * event is refused. Without this the append fails, which crashes the actor.
   */
  readonly unstorable?: (event: NewEvent) => string | undefined
  /**
   * The stored events from `from` (default 1) on, in order, in batches. It begins with the oldest
   * one that is left: sequence numbers are dense, so the first one shows what was deleted.
   */
  readonly read: (actor: string, from?: number) => Stream.Stream<StoredEvent, JournalError>
  /**
   * Stores a snapshot of the state after an event that is already stored, in place of an earlier
   * one of the same event. `SequenceConflict` if the event is not there.
   */
  readonly saveSnapshot: (
    claim: Claim,
    snapshot: StoredSnapshot
  ) => Effect.Effect<void, JournalError>
  /**
   * The newest snapshot, or the newest one not after `atMost`.
   */
  readonly loadSnapshot: (
    actor: string,
    atMost?: number
  ) => Effect.Effect<Option.Option<StoredSnapshot>, JournalError>
  /**
   * Deletes events up to and with `eventsTo`, and then all snapshots before `snapshotsBefore`.
   * It stops before the first event that a registered projection has not acknowledged; a later
   * deletion goes on from there. The last sequence number is never forgotten. Other operations go
   * on meanwhile, so a long deletion is not atomic: it can be seen half done, and is begun again
   * after a failure.
   */
  readonly prune: (
    claim: Claim,
    limits: { readonly eventsTo?: number; readonly snapshotsBefore?: number }
  ) => Effect.Effect<void, JournalError>
  /**
   * Events of all actors that carry a tag, after an offset, in the order of their commits.
   * It ends at the newest one: a projection stores the last offset and asks again.
   * `EventsPruned` if events with that tag after that offset were deleted, also while it reads.
   */
  readonly tagged: (tag: string, after?: number) => Stream.Stream<StoredEvent, JournalError>
  /**
   * Registers a projection, and answers with its position: the offset after which to read on, 0 for
   * a new one. If events were deleted before, the first read of a new one fails with
   * `EventsPruned`, whose `prunedTo` is the offset where it may begin. From here on `prune` keeps
   * the events that it has not acknowledged. Registering it again, for example after a restart,
   * changes nothing.
   */
  readonly register: (projection: Projection) => Effect.Effect<number, JournalError>
  /**
   * Stores that a registered projection has processed the events up to an offset: they may be
   * deleted. A position never goes back, nor beyond the newest event. `UnknownProjection` if it is
   * not registered.
   */
  readonly acknowledge: (
    projection: Projection,
    offset: number
  ) => Effect.Effect<void, JournalError>
  /** Removes a projection that is not needed any more: until then, it delays deletions. */
  readonly unregister: (projection: Projection) => Effect.Effect<void, JournalError>
}

/**
 * Where actors keep their events: appended in order, read back on recovery.
 *
 * One actor has one history with dense sequence numbers and one writer at a time. A promise
 * leaves an actor only after the events behind it are in the journal, so a journal layer may
 * answer an append only when the events survive the process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type {
  Append,
  Claim,
  JournalError,
  StoredEvent,
  StoredSnapshot
} from "../../schema/JournalRecord.ts"
import { makeMemory } from "./internal/memoryJournal.ts"

/**
 * The operations that every journal layer offers.
 *
 * @category models
 * @since 0.1.0
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
   * The stored events from `from` (default 1) on, in order, in batches.
   */
  readonly read: (actor: string, from?: number) => Stream.Stream<StoredEvent, JournalError>
  /**
   * Stores a snapshot of the state after an event that is already stored.
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
   * Deletes events up to and with `eventsTo`, and all snapshots before `snapshotsBefore`.
   * The last sequence number is never forgotten.
   */
  readonly prune: (
    claim: Claim,
    limits: { readonly eventsTo?: number; readonly snapshotsBefore?: number }
  ) => Effect.Effect<void, JournalError>
  /**
   * Events of all actors that carry a tag, after an offset, in the order of their commits.
   * It ends at the newest one: a projection stores the last offset and asks again.
   */
  readonly tagged: (tag: string, after?: number) => Stream.Stream<StoredEvent, JournalError>
}

/**
 * The journal service.
 *
 * @category services
 * @since 0.1.0
 */
export class Journal extends Context.Service<Journal, Store>()("handfast/actors/Journal") {
  /**
   * A journal in this process's memory: for tests, simulations and actors whose history may end
   * with the process.
   */
  static readonly layerMemory: Layer.Layer<Journal> = Layer.sync(Journal, makeMemory)
}

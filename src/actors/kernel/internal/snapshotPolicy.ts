/** When snapshots are taken, and how older ones are read. */
import type * as Schema from "effect/Schema"

/** When and how the state is stored beside its events. */
export interface SnapshotPolicy<State, Event> {
  readonly state: Schema.Codec<State, unknown>
  /**
   * Rises when the schema changes. Default one more than the number of `upcasts`. A snapshot that
   * is newer, or older than the upcasts reach, is skipped: recovery begins with an older one, or
   * with the first event. If those events are deleted, the history is refused.
   */
  readonly version?: number
  /**
   * Steps from older snapshot schemas: the last one leads to `version`, the one before it to the
   * version before. They see and return decoded JSON.
   */
  readonly upcasts?: ReadonlyArray<Upcast>
  /** A snapshot after every so many events, at least 1. Default: none. */
  readonly every?: number
  /** A snapshot after an event for which this holds. */
  readonly when?: (state: State, event: Event) => boolean
  /** How many snapshots are kept, the newest one included. At least 1; default 2. */
  readonly keep?: number
  /**
   * Deletes events that the oldest kept snapshot makes unnecessary. Default false. From then on
   * the snapshots are the only record of them, so a raised `version` needs `upcasts`.
   */
  readonly deleteEvents?: boolean
}

/** Turns the JSON of an older event or snapshot into that of the next version. */
export type Upcast = (body: Record<string, unknown>) => Record<string, unknown>

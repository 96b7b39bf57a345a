/** The settings of journals in SQLite files. */
import type * as Duration from "effect/Duration"
import type { StoredEvent, StoredSnapshot } from "../../../schema/JournalRecord.ts"

/**
 * Path and limits of a journal file. Limits are whole numbers of at least 1; at others, opening is
 * a defect (`SettingsRefused`).
 */
export interface SqliteSettings {
  /**
   * Path of the file, which is made if it is not there. `-wal` and `-shm` beside it are part of it.
   * `-lock` is empty and stays; reading or deleting it gives up the lock.
   *
   * This process must not read `-wal` or `-shm` while the journal is open, for example to copy
   * them: POSIX then drops SQLite's locks, the next `sqlite3` makes a new `-shm`, and access to the
   * mapped old one can end the process (SIGBUS). Back up in another process, for example with
   * `sqlite3 FILE .backup`.
   *
   * A reader in another process keeps SQLite from restarting the log: while it reads without an
   * end, `-wal` grows with each append, and there is no limit to it.
   */
  readonly file: string
  /**
   * Appends that are with the worker at once; more wait in order. Default 16,384: some batches of
   * group commit, so that the worker never waits for the main thread.
   */
  readonly queueAppends?: number
  /**
   * Characters of bodies that are with the worker at once. Default 32 Mi: two of the largest
   * bodies.
   */
  readonly queueBytes?: number
  /**
   * Characters of one body; one that is larger fails with `"too-large"`. Default 16 Mi: a
   * transaction of one body stays below a tenth of a second on an ordinary disk.
   */
  readonly bodyBytes?: number
  /** Events that one batch of a replay reads. Default 1,000: about a millisecond of work. */
  readonly replayEvents?: number
  /**
   * Characters of bodies after which a batch of a replay ends early. Default 1 Mi: events of 1 KiB
   * fill a batch by their number.
   */
  readonly replayBytes?: number
  /** Memory for the file's pages. Default 16 MiB: the index of some 100,000 actors. */
  readonly cacheBytes?: number
  /** Actors that are remembered without asking the file. Default 65,536: some 20 MB. */
  readonly cachedActors?: number
  /**
   * Newest events whose places are written to the index later. More make appends cheaper; opening
   * after a crash reads as many again. Default 262,144: some 400 ms.
   */
  readonly unindexedEvents?: number
  /**
   * Longest time of closing; requests that are unanswered by then fail. Default 10 seconds: many
   * times the time of a full queue.
   */
  readonly closeWithin?: Duration.Input
}

/** A copy of a journal file with changed records. */
export interface RewriteSettings {
  /** The file to copy. It must not be in use, and keeps its records. */
  readonly from: string
  /**
   * The new file. Neither it nor a log beside it may exist yet. The copy is made as `.part` beside
   * it; the next rewrite removes one that a killed rewrite has left.
   */
  readonly to: string
  /** Rewrites an event. Its place, time and tags stay as they are. Default: unchanged. */
  readonly event?: (event: RewrittenEvent) => Pick<RewrittenEvent, "type" | "version" | "body">
  /**
   * Rewrites a snapshot; `undefined` leaves it out, which is only possible while the events before
   * it are there. Default: unchanged.
   */
  readonly snapshot?: (
    snapshot: StoredSnapshot
  ) => Pick<StoredSnapshot, "version" | "body"> | undefined
}

/** An event of a journal that is rewritten. */
export interface RewrittenEvent extends Omit<StoredEvent, "offset" | "tags"> {}

/**
 * Where actors keep their events: appended in order, read back on recovery.
 *
 * One actor has one history with dense sequence numbers and one writer at a time. A reply leaves an
 * actor only after the events behind it are in the journal, so a journal layer may confirm an
 * append only when the events survive the process.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { CorruptRecord, JournalUnavailable } from "../../schema/JournalRecord.ts"
import type { RewriteSettings, SqliteSettings } from "./internal/journalSettings.ts"
import { makeMemory } from "./internal/memoryJournal.ts"
import type { Store } from "./internal/store.ts"

export type { RewriteSettings, RewrittenEvent, SqliteSettings } from "./internal/journalSettings.ts"
export type { Store } from "./internal/store.ts"

// Loaded only by programs that use them.
const sqlite = Effect.promise(() => import("./internal/sqliteJournal.ts"))
const rewriting = Effect.promise(() => import("./internal/journalRewriting.ts"))

/** The journal service. */
export class Journal extends Context.Service<Journal, Store>()("handfast/actors/Journal") {
  /**
   * A journal in this process's memory: for tests, simulations and actors whose history may end
   * with the process.
   */
  static readonly layerMemory: Layer.Layer<Journal> = Layer.sync(Journal, makeMemory)

  /**
   * A journal in a SQLite file, which only this process may use. Appends that arrive while a commit
   * is under way go into the next one, so a thousand actors share one flush of the disk.
   *
   * The file belongs to a worker thread. Closing the layer finishes what was accepted, closes the
   * file and lets the worker end.
   */
  static readonly layerSqlite = (
    settings: SqliteSettings
  ): Layer.Layer<Journal, JournalUnavailable> =>
    Layer.effect(
      Journal,
      Effect.flatMap(sqlite, ({ makeSqlite }) => makeSqlite(settings))
    )

  /**
   * Copies a journal file that is not in use, and rewrites its events and snapshots in the copy.
   *
   * This is the way back to an older version of a program, which refuses events of newer versions:
   * only the author of version 2 knows what version 1 would have stored. A script of the newer
   * program copies the journal with the inverse of its `upcasts`, and the older one starts on the
   * copy. Sequence numbers, offsets, tags and positions of projections stay as they are. The copy
   * has the file format of the program that makes it, so the older program must read this format:
   * one that answers `newer-format` to the copy has no way back.
   *
   * It blocks the thread until it is done, so run it in a separate script. On a failure, or when a
   * function throws or returns a value that cannot be stored, there is no new file.
   */
  static readonly rewriteSqlite = (
    settings: RewriteSettings
  ): Effect.Effect<void, JournalUnavailable | CorruptRecord> =>
    Effect.flatMap(rewriting, ({ rewriteSqlite }) => rewriteSqlite(settings))
}

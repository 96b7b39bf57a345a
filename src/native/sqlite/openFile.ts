/**
 * Opens the file, takes its lock and checks its format. All checks that may refuse the file happen
 * before the first write to it.
 */
import { statSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { FileRefused, isDamage } from "./failures.ts"
import { lockFile } from "./fileLock.ts"
import { JournalFile } from "./journalFile.ts"
import { assertOnePath, locate } from "./journalFiles.ts"
import { insertMeta, MetaTable } from "./metaTable.ts"
import { findFault, projectionLayout } from "./projectionTable.ts"
import { tagLayout, TagTable } from "./tagTable.ts"
import { verifyLog } from "./verifyLog.ts"

/** "HFJ1": marks a SQLite file as a journal of this library. */
const applicationId = 0x48_46_4a_31
/** The layout below. A newer one is refused. */
const formatVersion = 2
/** Twice the usual: a commit of many actors then touches a quarter fewer bytes of the log. */
const pageBytes = 8192
/** The log is copied into the file after so many pages (16 MiB): few syncs, a small log. */
const checkpointPages = 2048
/**
 * How long a transaction waits for another SQLite program that writes to the file, for example a
 * checkpoint by `sqlite3`. Longer than such work takes, shorter than a caller's usual deadline.
 */
const busyMillis = 5000

/*
 * Events lie in the order of their commits, without any index beside them: with an index by actor,
 * a commit of a thousand actors would write a thousand pages. `runs` is that index, written late
 * and in pieces: the offsets of consecutive events of one actor.
 */
const metaLayout = `
  CREATE TABLE meta (
    key TEXT PRIMARY KEY, value INTEGER NOT NULL, crc INTEGER NOT NULL
  ) WITHOUT ROWID;
`
const layout = `
  ${metaLayout}
  CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE actors (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, writer INTEGER NOT NULL,
    last INTEGER NOT NULL, pruned INTEGER NOT NULL, crc INTEGER NOT NULL
  );
  CREATE TABLE events (
    offset INTEGER PRIMARY KEY, actor INTEGER NOT NULL, seq INTEGER NOT NULL,
    type INTEGER NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL,
    body TEXT NOT NULL, tags TEXT, crc INTEGER NOT NULL
  );
  CREATE TABLE runs (
    actor INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    base INTEGER NOT NULL, offsets BLOB NOT NULL, PRIMARY KEY (actor, first)
  ) WITHOUT ROWID;
  CREATE TABLE tagged (
    tag INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (tag, offset)
  ) WITHOUT ROWID;
  ${tagLayout}
  ${projectionLayout}
  CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY, actor INTEGER NOT NULL, seq INTEGER NOT NULL,
    version INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL,
    UNIQUE (actor, seq)
  );
  CREATE VIEW history AS
    SELECT e.offset, a.name AS actor, e.seq, n.name AS type, e.version, e.at, e.body, e.tags
    FROM events e JOIN actors a ON a.id = e.actor JOIN names n ON n.id = e.type;
`

const sizeOf = (file: string): number | undefined => statSync(file, { throwIfNoEntry: false })?.size

const pragma = (database: DatabaseSync, name: string): number => {
  const row = database.prepare(`PRAGMA ${name}`).get()
  return Number(row?.[name] ?? 0)
}

const isEmpty = (database: DatabaseSync) =>
  database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined

const checkIdentity = (database: DatabaseSync) => {
  if (pragma(database, "application_id") !== applicationId) {
    throw new FileRefused("not-a-journal", "a SQLite file, but not a journal")
  }
  const version = pragma(database, "user_version")
  if (version > formatVersion) {
    throw new FileRefused(
      "newer-format",
      `format ${version}, this version reads up to ${formatVersion}`
    )
  }
}

/**
 * Reads the header without a lock and without touching the write-ahead log, so that a foreign or
 * newer file is not changed at all. Damage and an empty schema are left to the real opening: the
 * write-ahead log may complete the file. SQLite reads it, not `node:fs`, because closing a separate
 * descriptor would drop this process's locks on the file.
 */
const peek = (file: string) => {
  const url = pathToFileURL(file)
  url.search = "?immutable=1"
  const database = new DatabaseSync(url, { readOnly: true })
  try {
    if (!isEmpty(database)) checkIdentity(database)
  } catch (cause) {
    if (!isDamage(cause)) throw cause
  } finally {
    database.close()
  }
}

/** One transaction, before there is a write-ahead log: a file has all of it or is still empty. */
const create = (database: DatabaseSync) => {
  database.exec(`
    BEGIN IMMEDIATE;
    ${layout}
    ${insertMeta("opens", 0)} ${insertMeta("indexed", 0)} ${insertMeta("offset", 0)}
    PRAGMA application_id = ${applicationId};
    PRAGMA user_version = ${formatVersion};
    COMMIT;
  `)
}

/**
 * Checks the two lists of names against their indexes: a name that is not found counts as a new
 * actor, so they must be right. It costs about a microsecond a name.
 */
const checkNames = (database: DatabaseSync) => {
  for (const table of ["actors", "names"]) {
    const fault = findFault(database, table)
    if (fault !== undefined) throw new FileRefused("damaged", fault)
  }
}

/** Format 1 has no checksums in `meta`, no sums of its tags, and no projections. */
const upgrade = (database: DatabaseSync) => {
  const old = database.prepare("SELECT value FROM meta WHERE key = ?")
  const [opens = 0, indexed = 0, offset = 0] = ["opens", "indexed", "offset"].map((key) =>
    Number(old.get(key)?.["value"] ?? 0)
  )
  database.exec(`
    BEGIN IMMEDIATE;
    DROP TABLE IF EXISTS meta;
    ${metaLayout}
    ${insertMeta("opens", opens)} ${insertMeta("indexed", indexed)} ${insertMeta("offset", offset)}
    ${tagLayout}
    ${projectionLayout}
    PRAGMA user_version = ${formatVersion};
  `)
  new TagTable(database).countAll(database)
  database.exec("COMMIT")
}

/** Makes this opening the newest one, in the file. */
const enter = (file: string, lock: DatabaseSync, database: DatabaseSync): JournalFile => {
  database.exec(`PRAGMA busy_timeout = ${busyMillis}; BEGIN IMMEDIATE`)
  const meta = new MetaTable(database)
  const opening = meta.get("opens") + 1
  meta.set("opens", opening)
  database.exec("COMMIT")
  return new JournalFile(file, lock, database, meta, opening)
}

const openDatabase = (file: string, lock: DatabaseSync, cacheBytes: number): JournalFile => {
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    // On macOS, only `fullfsync` makes a drive write its cache.
    database.exec(`
      PRAGMA page_size = ${pageBytes};
      PRAGMA fullfsync = ON;
      PRAGMA checkpoint_fullfsync = ON;
    `)
    if (isEmpty(database)) create(database)
    checkIdentity(database)
    checkNames(database)
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA wal_autocheckpoint = ${checkpointPages};
      PRAGMA cache_size = -${Math.ceil(cacheBytes / 1024)};
    `)
    if (pragma(database, "user_version") < formatVersion) upgrade(database)
    return enter(file, lock, database)
  } catch (cause) {
    database.close()
    throw cause
  }
}

/** Opens a journal file for this process alone; throws errors that `refusalOf` explains. */
export const openFile = (path: string, cacheBytes: number): JournalFile => {
  const file = locate(path)
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat?.isDirectory() === true) throw new FileRefused("io", "the path is a directory")
  assertOnePath(file)
  const size = stat?.size ?? 0
  if (size === 0 && (sizeOf(`${file}-wal`) ?? 0) > 0) {
    throw new FileRefused("damaged", "the file is empty, but its write-ahead log is not")
  }
  // Beside a rollback journal the file may be half written: SQLite undoes that when it opens it.
  if (size > 0 && (sizeOf(`${file}-journal`) ?? 0) === 0) peek(file)
  const lock = lockFile(file)
  try {
    verifyLog(file)
    return openDatabase(file, lock, cacheBytes)
  } catch (cause) {
    lock.close()
    throw cause
  }
}

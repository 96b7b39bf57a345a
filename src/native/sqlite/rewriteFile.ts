/**
 * Copies a journal file, and changes the bodies of its events and snapshots in the copy. Numbers,
 * offsets, tags, projections and deletions stay as they are.
 *
 * The copy is made under another name and renamed when it is complete, so a half-made one is never
 * taken for a journal.
 */
import assert from "node:assert/strict"
import { lstatSync, renameSync, rmSync, statSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { checksumText } from "./checksum.ts"
import { corruptEvent, eventSum } from "./eventBatch.ts"
import { FileRefused } from "./failures.ts"
import { locate } from "./journalFiles.ts"
import { NameTable } from "./nameTable.ts"
import { openFile } from "./openFile.ts"
import { corruptSnapshot, snapshotSum } from "./snapshotTable.ts"

/** The fields of an event that may be changed. */
export interface EventText {
  readonly type: string
  readonly version: number
  readonly body: string
}

/** The fields of a snapshot that may be changed. */
export interface SnapshotText {
  readonly version: number
  readonly body: string
}

/** The changes; `undefined` leaves a snapshot out. */
export interface Changes {
  readonly event: (
    event: EventText & { readonly actor: string; readonly seq: number; readonly at: number }
  ) => EventText
  readonly snapshot: (
    snapshot: SnapshotText & { readonly actor: string; readonly seq: number; readonly at: number }
  ) => SnapshotText | undefined
}

/**
 * Rows that are read before they are changed, because no table may change under a running query.
 */
const rowsAtOnce = 1000

/** A given function threw, or returned a value that cannot be stored. */
class ChangeFailed extends Error {}

/** Refuses a missing or an empty file: opening would make a journal of it. */
const assertSource = (from: string) => {
  const size = statSync(from, { throwIfNoEntry: false })?.size
  if (size === undefined) throw new FileRefused("io", "there is no such file")
  if (size === 0) throw new FileRefused("not-a-journal", "the file is empty")
}

/**
 * Refuses existing files: SQLite would take a log beside the new file for its. A link counts, too.
 */
const assertFree = (to: string) => {
  for (const end of ["", "-wal", "-shm", "-journal"]) {
    if (lstatSync(to + end, { throwIfNoEntry: false }) === undefined) continue
    throw new FileRefused("io", `${to}${end} exists, and is left as it is`)
  }
}

/** Copies the journal `from` to the new file `to`. Throws errors that `refusalOf` explains. */
export const rewriteFile = (from: string, to: string, cacheBytes: number, changes: Changes) => {
  assertSource(from)
  assertFree(to)
  const part = `${locate(to)}.part`
  if (locate(from) === part) throw new FileRefused("io", `${part} is where the copy is made`)
  const remove = () => {
    for (const end of ["", "-wal", "-shm", "-journal", "-lock"]) rmSync(part + end, { force: true })
  }
  remove()
  try {
    const source = openFile(from, cacheBytes)
    try {
      source.database.prepare("VACUUM INTO ?").run(part)
    } finally {
      source.close()
    }
    const copy = openFile(part, cacheBytes)
    try {
      copy.database.exec("BEGIN IMMEDIATE")
      changeEvents(copy.database, changes)
      changeSnapshots(copy.database, changes)
      copy.database.exec("COMMIT")
    } finally {
      copy.close()
    }
    assertFree(to)
    renameSync(part, to)
  } finally {
    remove()
  }
}

/** Calls a given function, and checks that a journal can store its result. */
const changed = <A extends SnapshotText | undefined>(place: string, change: () => A): A => {
  try {
    const after = change()
    if (after === undefined) return after
    const { body, version } = after
    assert(Number.isSafeInteger(version) && version >= 1, `${version} is not a version`)
    assert(body.isWellFormed(), "the body has a lone surrogate")
    JSON.parse(body)
    return after
  } catch (cause) {
    throw new ChangeFailed(`${place} cannot be rewritten: ${cause}`, { cause })
  }
}

/** Calls `change` for all rows of a query, whose parameters are the last key and a limit. */
const forEachRow = (
  database: DatabaseSync,
  sql: string,
  change: (row: Readonly<Record<string, unknown>>) => void
) => {
  const select = database.prepare(`${sql} LIMIT ${rowsAtOnce}`)
  let last = 0
  for (;;) {
    const rows = select.all(last)
    if (rows.length === 0) return
    for (const row of rows) change(row)
    last = Number(rows.at(-1)!["key"])
  }
}

const changeEvents = (database: DatabaseSync, changes: Changes) => {
  const names = new NameTable(database)
  const update = database.prepare(
    "UPDATE events SET type = ?, version = ?, body = ?, crc = ? WHERE offset = ?"
  )
  const all =
    "SELECT e.offset AS key, e.*, e.type AS typeId, a.name AS name" +
    " FROM events e JOIN actors a ON a.id = e.actor WHERE e.offset > ? ORDER BY e.offset"
  forEachRow(database, all, (row) => {
    const [actor, body] = [String(row["name"]), String(row["body"])]
    const [offset, seq] = [Number(row["offset"]), Number(row["seq"])]
    const [version, at] = [Number(row["version"]), Number(row["at"])]
    const tags = row["tags"] === null ? null : String(row["tags"])
    const type = names.nameOf(Number(row["typeId"])) ?? ""
    const sumOf = (text: EventText) =>
      eventSum(
        checksumText(actor),
        offset,
        seq,
        checksumText(text.type),
        text.version,
        at,
        text.body,
        tags
      )
    const before = { actor, seq, at, type, version, body }
    if (sumOf(before) !== row["crc"]) throw corruptEvent(actor, seq, "wrong checksum")
    const after = changed(`event ${seq} of ${actor}`, () => changes.event(before))
    if (!after.type.isWellFormed()) {
      throw new ChangeFailed(`the type of event ${seq} of ${actor} has a lone surrogate`)
    }
    update.run(names.idOf(after.type), after.version, after.body, sumOf(after), offset)
  })
}

const changeSnapshots = (database: DatabaseSync, changes: Changes) => {
  const update = database.prepare(
    "UPDATE snapshots SET version = ?, body = ?, crc = ? WHERE id = ?"
  )
  const remove = database.prepare("DELETE FROM snapshots WHERE id = ?")
  const left = new Set<number>()
  const all =
    "SELECT s.id AS key, s.*, a.name AS name FROM snapshots s" +
    " JOIN actors a ON a.id = s.actor WHERE s.id > ? ORDER BY s.id"
  forEachRow(database, all, (row) => {
    const [id, actor, body] = [Number(row["id"]), String(row["name"]), String(row["body"])]
    const [seq, at] = [Number(row["seq"]), Number(row["at"])]
    const before = { actor, seq, at, version: Number(row["version"]), body }
    const sumOf = (text: SnapshotText) => snapshotSum(checksumText(actor), { seq, at, ...text })
    if (sumOf({ version: before.version, body }) !== row["crc"]) {
      throw corruptSnapshot(actor, seq, "wrong checksum")
    }
    const after = changed(`snapshot ${seq} of ${actor}`, () => changes.snapshot(before))
    if (after === undefined) {
      remove.run(id)
      left.add(Number(row["actor"]))
      return undefined
    }
    const { version } = after
    return update.run(version, after.body, sumOf({ version, body: after.body }), id)
  })
  assertRecoverable(database, left)
}

/** Checks that an actor whose first events are deleted has a snapshot that is not before them. */
const assertRecoverable = (database: DatabaseSync, actors: ReadonlySet<number>) => {
  const find = database.prepare(
    "SELECT name FROM actors a WHERE id = ? AND pruned > 0 AND NOT EXISTS" +
      " (SELECT 1 FROM snapshots s WHERE s.actor = a.id AND s.seq >= a.pruned)"
  )
  for (const actor of actors) {
    const name = find.get(actor)?.["name"]
    if (name === undefined) continue
    throw new ChangeFailed(
      `the last snapshot of ${name} is left out, though the events before it are deleted`
    )
  }
}

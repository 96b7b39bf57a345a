/**
 * Copies a journal file, and changes the bodies of its events and snapshots on the way. Numbers,
 * offsets, tags, projections and deletions stay as they are.
 *
 * The copy is made under another name and renamed when it is complete, so a half-made one is never
 * taken for a journal.
 */
import { existsSync, renameSync, rmSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { checksumText } from "./checksum.ts"
import { corruptEvent, eventSum } from "./eventBatch.ts"
import { FileRefused } from "./failures.ts"
import { NameTable } from "./nameTable.ts"
import { openFile } from "./openFile.ts"
import { corruptSnapshot, snapshotSum } from "./snapshotTable.ts"

/** What may be changed of an event. */
export interface EventText {
  readonly type: string
  readonly version: number
  readonly body: string
}

/** What may be changed of a snapshot. */
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

/** Rows that are read before they are changed: no statement sees its table change under it. */
const rowsAtOnce = 1000

/** Copies the journal `from` to the new file `to`. Throws what `refusalOf` explains. */
export const rewriteFile = (from: string, to: string, cacheBytes: number, changes: Changes) => {
  if (existsSync(to)) throw new FileRefused("io", `${to} exists, and is left as it is`)
  const part = `${to}.part`
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
    renameSync(part, to)
  } finally {
    remove()
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
    const after = changes.event(before)
    update.run(names.idOf(after.type), after.version, after.body, sumOf(after), offset)
  })
}

const changeSnapshots = (database: DatabaseSync, changes: Changes) => {
  const update = database.prepare(
    "UPDATE snapshots SET version = ?, body = ?, crc = ? WHERE id = ?"
  )
  const remove = database.prepare("DELETE FROM snapshots WHERE id = ?")
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
    const after = changes.snapshot(before)
    if (after === undefined) return remove.run(id)
    const { version } = after
    return update.run(version, after.body, sumOf({ version, body: after.body }), id)
  })
}

/**
 * Positions of the registered projections, and the last deleted offset of each tag. Nothing is kept
 * in memory, so a rollback needs no undoing.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { checksumNumbers, checksumText } from "./checksum.ts"
import { corruptRecord, failureOf, OperationFailed } from "./failures.ts"
import type { Failure, Projection } from "./protocol.ts"

export const projectionLayout = `
  CREATE TABLE projections (
    name TEXT NOT NULL, tag TEXT NOT NULL, position INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (name, tag)
  ) WITHOUT ROWID;
  CREATE TABLE pruned_tags (
    tag TEXT NOT NULL, offset INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (tag)
  ) WITHOUT ROWID;
`

/** An event with tags, by its offset. */
interface Tagged {
  readonly offset: number
  readonly tags: ReadonlyArray<string>
}

/** SQLite's finding about the structure of a table and its indexes; undefined if it is sound. */
export const findFault = (database: DatabaseSync, table: string): string | undefined => {
  const [result] = Object.values(database.prepare(`PRAGMA integrity_check(${table})`).get() ?? {})
  return result === "ok" ? undefined : `the table ${table}: ${result}`
}

/**
 * Checks all rows at once, some microseconds each. A row whose name or tag was changed is not found
 * any more, and a missing row means that nothing was deleted or acknowledged.
 */
const findDamage = (database: DatabaseSync): Failure | undefined => {
  try {
    for (const table of ["projections", "pruned_tags"]) {
      const fault = findFault(database, table)
      if (fault !== undefined) throw corruptRecord("projection", "", 0, fault)
    }
    const rows =
      "SELECT name, tag, position, crc FROM projections" +
      " UNION ALL SELECT '', tag, offset, crc FROM pruned_tags"
    for (const row of database.prepare(rows).iterate()) verified(row)
    return undefined
  } catch (cause) {
    return failureOf(cause)
  }
}

/** The projections of an open journal file. If one row is damaged, none of them is used. */
export class ProjectionTable {
  readonly #damage: Failure | undefined
  readonly #list: StatementSync
  readonly #find: StatementSync
  readonly #save: StatementSync
  readonly #delete: StatementSync
  readonly #findPruned: StatementSync
  readonly #savePruned: StatementSync

  constructor(database: DatabaseSync) {
    this.#damage = findDamage(database)
    this.#list = database.prepare("SELECT name, tag, position, crc FROM projections")
    this.#find = database.prepare(
      "SELECT name, tag, position, crc FROM projections WHERE name = ? AND tag = ?"
    )
    this.#save = database.prepare("INSERT OR REPLACE INTO projections VALUES (?, ?, ?, ?)")
    this.#delete = database.prepare("DELETE FROM projections WHERE name = ? AND tag = ?")
    this.#findPruned = database.prepare("SELECT offset, crc FROM pruned_tags WHERE tag = ?")
    this.#savePruned = database.prepare("INSERT OR REPLACE INTO pruned_tags VALUES (?, ?, ?)")
  }

  /** The position of a projection, which is registered now if it was not. */
  register(projection: Projection): number {
    const position = this.#position(projection)
    if (position === undefined) this.#store(projection, 0)
    return position ?? 0
  }

  /** Moves the position of a registered projection, but never back. */
  acknowledge(projection: Projection, offset: number) {
    const position = this.#position(projection)
    if (position === undefined) throw new OperationFailed({ kind: "unknown-projection" })
    if (offset > position) this.#store(projection, offset)
  }

  unregister({ name, tag }: Projection) {
    this.#delete.run(name, tag)
  }

  /** The offset of the first of these events that a projection has not acknowledged. */
  firstNeeded(events: ReadonlyArray<Tagged>): number | undefined {
    if (events.length === 0) return undefined
    this.#assertSound()
    const projections = this.#list.all().map(verified)
    const needs = ({ offset, tags }: Tagged) =>
      projections.some(({ position, tag }) => offset > position && tags.includes(tag))
    return events.find(needs)?.offset
  }

  /** Records that an event with this tag is deleted. */
  pruned(tag: string, offset: number) {
    if (offset > this.#prunedTo(tag)) this.#savePruned.run(tag, offset, sumOf("", tag, offset))
  }

  /** Throws if a reader that continues after an offset would miss deleted events. */
  refuseIfPruned(tag: string, after: number) {
    const prunedTo = this.#prunedTo(tag)
    if (prunedTo > after) throw new OperationFailed({ kind: "pruned", prunedTo })
  }

  #prunedTo(tag: string): number {
    this.#assertSound()
    const row = this.#findPruned.get(tag)
    if (row === undefined) return 0
    return verified({ name: "", tag, position: row["offset"], crc: row["crc"] }).position
  }

  #position({ name, tag }: Projection): number | undefined {
    this.#assertSound()
    const row = this.#find.get(name, tag)
    return row === undefined ? undefined : verified(row).position
  }

  #assertSound() {
    if (this.#damage !== undefined) throw new OperationFailed(this.#damage)
  }

  #store({ name, tag }: Projection, position: number) {
    this.#save.run(name, tag, position, sumOf(name, tag, position))
  }
}

const sumOf = (name: string, tag: string, position: number) =>
  checksumText(tag, checksumText(name, checksumNumbers(0, position, name.length)))

const verified = (row: Record<string, unknown>) => {
  const [name, tag, position] = [String(row["name"]), String(row["tag"]), Number(row["position"])]
  if (sumOf(name, tag, position) !== row["crc"]) {
    const detail = `its position in the tag ${JSON.stringify(tag)} has a wrong checksum`
    throw corruptRecord("projection", name, 0, detail)
  }
  return { name, tag, position }
}

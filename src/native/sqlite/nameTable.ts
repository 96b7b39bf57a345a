/** The names of event types and tags, each stored once and referred to by a number. */
import type { DatabaseSync, StatementSync } from "node:sqlite"

/** Names kept in memory; types are few, tags may be many. */
const remembered = 4096

/** The names of one open file. */
export class NameTable {
  readonly #ids = new Map<string, number>()
  readonly #find: StatementSync
  readonly #insert: StatementSync
  readonly #nameOf: StatementSync

  constructor(database: DatabaseSync) {
    this.#find = database.prepare("SELECT id FROM names WHERE name = ?")
    this.#insert = database.prepare("INSERT INTO names (name) VALUES (?)")
    this.#nameOf = database.prepare("SELECT name FROM names WHERE id = ?")
  }

  /** The number of a name, if it has one. */
  find(name: string): number | undefined {
    const known = this.#ids.get(name)
    if (known !== undefined) return known
    const row = this.#find.get(name)
    if (row === undefined) return undefined
    const id = Number(row["id"])
    this.#remember(name, id)
    return id
  }

  /** The number of a name, which gets one in the open transaction. */
  idOf(name: string): number {
    const found = this.find(name)
    if (found !== undefined) return found
    const id = Number(this.#insert.run(name).lastInsertRowid)
    this.#remember(name, id)
    return id
  }

  nameOf(id: number): string | undefined {
    const row = this.#nameOf.get(id)
    return row === undefined ? undefined : String(row["name"])
  }

  /** Clears the memory: after a rollback some numbers are not in the file. */
  forget() {
    this.#ids.clear()
  }

  #remember(name: string, id: number) {
    if (this.#ids.size >= remembered) this.#ids.clear()
    this.#ids.set(name, id)
  }
}

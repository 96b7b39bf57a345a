/** The numbers that a journal file stores about itself, each with a checksum. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { checksumNumbers, checksumText } from "./checksum.ts"
import { FileRefused } from "./failures.ts"

/**
 * `opens`: how often the file was opened. `indexed`: all events up to this offset are in `runs`.
 * `offset`: offsets up to this one were used, even if their events are deleted.
 */
export type MetaKey = "opens" | "indexed" | "offset"

const sumOf = (key: MetaKey, value: number) => checksumNumbers(checksumText(key), value)

/** The `meta` table of an open file. */
export class MetaTable {
  readonly #select: StatementSync
  readonly #update: StatementSync

  constructor(database: DatabaseSync) {
    this.#select = database.prepare("SELECT value, crc FROM meta WHERE key = ?")
    this.#update = database.prepare("UPDATE meta SET value = ?, crc = ? WHERE key = ?")
  }

  get(key: MetaKey): number {
    const row = this.#select.get(key)
    const value = row?.["value"]
    if (typeof value !== "number" || row?.["crc"] !== sumOf(key, value)) {
      throw new FileRefused("damaged", `the entry ${key} of the table meta has a wrong checksum`)
    }
    return value
  }

  set(key: MetaKey, value: number) {
    this.#update.run(value, sumOf(key, value), key)
  }
}

/** SQL that stores a first value. */
export const insertMeta = (key: MetaKey, value: number) =>
  `INSERT INTO meta VALUES ('${key}', ${value}, ${sumOf(key, value)});`

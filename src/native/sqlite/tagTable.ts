/**
 * The events that carry a tag. An entry that damage has lost would make a projection skip its
 * event, so each tag also has the number of its entries and the sum of their offsets. They are
 * compared with the entries when the tag is first read: about 0.1 microseconds an entry, once an
 * opening.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { checksumNumbers } from "./checksum.ts"
import { corruptRecord } from "./failures.ts"

/** Sums are kept modulo this, so that they stay exact. */
const modulus = 2 ** 32
/** Tags kept in memory as verified. */
const remembered = 4096

export const tagLayout = `
  CREATE TABLE tags (
    id INTEGER PRIMARY KEY, count INTEGER NOT NULL, total INTEGER NOT NULL, crc INTEGER NOT NULL
  );
`

interface Sum {
  readonly count: number
  readonly total: number
}

/** The tags of one open file. */
export class TagTable {
  /** The sums of the tags that the open transaction changes. */
  readonly #sums = new Map<number, Sum>()
  readonly #verified = new Set<number>()
  readonly #insert: StatementSync
  readonly #delete: StatementSync
  readonly #load: StatementSync
  readonly #save: StatementSync
  readonly #count: StatementSync

  constructor(database: DatabaseSync) {
    this.#insert = database.prepare("INSERT OR IGNORE INTO tagged VALUES (?, ?)")
    this.#delete = database.prepare("DELETE FROM tagged WHERE tag = ? AND offset = ?")
    this.#load = database.prepare("SELECT count, total, crc FROM tags WHERE id = ?")
    this.#save = database.prepare("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)")
    // A changed entry is out of order, and a search may miss it or take it for the tag's. So its
    // value is compared.
    this.#count = database.prepare(
      "SELECT coalesce(sum(tag = ?1), 0) AS count," +
        ` coalesce(sum(offset % ${modulus}), 0) % ${modulus} AS total FROM tagged WHERE tag = ?1`
    )
  }

  add(tag: number, offset: number) {
    if (this.#insert.run(tag, offset).changes > 0) this.#change(tag, 1, offset)
  }

  remove(tag: number, offset: number) {
    if (this.#delete.run(tag, offset).changes > 0) this.#change(tag, -1, -offset)
  }

  /** Writes the sums that the open transaction has changed. */
  settle() {
    for (const [tag, sum] of this.#sums) {
      this.#save.run(tag, sum.count, sum.total, crcOf(tag, sum))
    }
    this.#sums.clear()
  }

  undo() {
    this.#sums.clear()
  }

  /** Throws if entries of the tag are missing or were changed. */
  verify(tag: number, name: string) {
    if (this.#verified.has(tag)) return
    const { count, total } = this.#sumOf(tag)
    const row = this.#count.get(tag)
    if (row?.["count"] !== count || row["total"] !== total) {
      throw corruptTag(
        `tag ${name}: ${row?.["count"]} entries are not the ${count} that were stored`
      )
    }
    if (this.#verified.size >= remembered) this.#verified.clear()
    this.#verified.add(tag)
  }

  /** Counts all entries, for a file that has no sums yet. */
  countAll(database: DatabaseSync) {
    for (const { tag } of database.prepare("SELECT DISTINCT tag FROM tagged").all()) {
      const { count, total } = this.#count.get(Number(tag)) ?? {}
      this.#sums.set(Number(tag), { count: Number(count), total: Number(total) })
    }
    this.settle()
  }

  #change(tag: number, count: number, offset: number) {
    const before = this.#sums.get(tag) ?? this.#sumOf(tag)
    this.#sums.set(tag, { count: before.count + count, total: modulo(before.total + offset) })
  }

  #sumOf(tag: number): Sum {
    const row = this.#load.get(tag)
    if (row === undefined) return { count: 0, total: 0 }
    const sum = { count: Number(row["count"]), total: Number(row["total"]) }
    if (crcOf(tag, sum) !== row["crc"]) throw corruptTag(`the sum of tag ${tag} is wrong`)
    return sum
  }
}

const modulo = (total: number) => ((total % modulus) + modulus) % modulus

const crcOf = (tag: number, { count, total }: Sum) => checksumNumbers(0, tag, count, total)

const corruptTag = (detail: string) => corruptRecord("tag", "", 0, detail)

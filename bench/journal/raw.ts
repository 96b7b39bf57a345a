/**
 * The measure of the journal: `node:sqlite` by hand on the main thread, with the same durability
 * and as many rows a commit as there are actors. It checks no writer, no place and no checksum.
 */
import { DatabaseSync } from "node:sqlite"
import { ACTORS, body, decode, withFile } from "./files.ts"
import { type Outcome, rate } from "../harness.ts"

/** `keyed`: the least a journal needs, found by actor. `log`: rows that nobody can find again. */
export type Table = "log" | "keyed"

const columns: Record<Table, string> = {
  log: "actor TEXT, seq INTEGER, body TEXT",
  keyed: "actor TEXT, seq INTEGER, body TEXT, PRIMARY KEY (actor, seq)"
}

const open = (file: string, table: Table) => {
  const database = new DatabaseSync(file)
  database.exec(
    "PRAGMA page_size = 8192; PRAGMA locking_mode = EXCLUSIVE;" +
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" +
      "PRAGMA wal_autocheckpoint = 2048; PRAGMA cache_size = -16384;" +
      `CREATE TABLE events (${columns[table]})`
  )
  return database
}

/** Stores one event of each actor in one commit, again and again; answers with the events. */
const fill = (database: DatabaseSync) => {
  const insert = database.prepare("INSERT INTO events VALUES (?, ?, ?)")
  const names = Array.from({ length: ACTORS }, (_, index) => `actor ${index}`)
  let seq = 0
  return (count: number) => {
    for (let stored = 0; stored < count; stored += ACTORS) {
      seq++
      database.exec("BEGIN IMMEDIATE")
      for (const name of names) insert.run(name, seq, body)
      database.exec("COMMIT")
    }
    return count
  }
}

export const appendRaw = (table: Table, count: number): Promise<Outcome> =>
  withFile((file) => {
    const database = open(file, table)
    return rate({ unit: "event/s", count, run: fill(database) })
  })

/** Selects and decodes histories of so many events, interleaved with those of all others. */
export const replayRaw = (events: number, count: number): Promise<Outcome> =>
  withFile((file) => {
    const database = open(file, "keyed")
    fill(database)(events * ACTORS)
    const select = database.prepare("SELECT seq, body FROM events WHERE actor = ? ORDER BY seq")
    const run = (count: number) => {
      let read = 0
      for (let actor = 0; read < count; actor = (actor + 1) % ACTORS) {
        for (const row of select.iterate(`actor ${actor}`)) read += decode(String(row["body"]))
      }
      return read
    }
    return rate({ unit: "event/s", count, run })
  })

/** The same for one history of so many events, alone in its file. */
export const replayRawAlone = (count: number): Promise<Outcome> =>
  withFile((file) => {
    const database = open(file, "keyed")
    const insert = database.prepare("INSERT INTO events VALUES ('a', ?, ?)")
    database.exec("BEGIN")
    for (let seq = 1; seq <= count; seq++) insert.run(seq, body)
    database.exec("COMMIT")
    const select = database.prepare("SELECT seq, body FROM events WHERE actor = ? ORDER BY seq")
    const run = () => {
      let read = 0
      for (const row of select.iterate("a")) read += decode(String(row["body"]))
      return read
    }
    return rate({ unit: "event/s", count, run })
  })

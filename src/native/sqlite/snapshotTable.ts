/** The snapshots of one open file: one for each event of a history, verified when read. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { ActorIndex } from "./actorIndex.ts"
import { checksumNumbers, checksumText } from "./checksum.ts"
import { corruptRecord, isDamage, OperationFailed } from "./failures.ts"
import type { Prune, SaveSnapshot, Snapshot } from "./protocol.ts"

/** The snapshot part of an open journal file. */
export class SnapshotTable {
  readonly #actors: ActorIndex
  readonly #save: StatementSync
  readonly #find: StatementSync
  readonly #load: StatementSync
  readonly #delete: StatementSync

  constructor(database: DatabaseSync, actors: ActorIndex) {
    this.#actors = actors
    this.#save = database.prepare(
      "INSERT INTO snapshots (actor, seq, version, at, body, crc) VALUES (?, ?, ?, ?, ?, ?)" +
        " ON CONFLICT (actor, seq) DO UPDATE SET version = excluded.version," +
        " at = excluded.at, body = excluded.body, crc = excluded.crc"
    )
    // Answered by the index alone, so that a snapshot in a damaged page can still be named.
    this.#find = database.prepare(
      "SELECT max(seq) AS seq FROM snapshots WHERE actor = ? AND seq <= ?"
    )
    this.#load = database.prepare(
      "SELECT version, at, body, crc FROM snapshots WHERE actor = ? AND seq = ?"
    )
    this.#delete = database.prepare("DELETE FROM snapshots WHERE actor = ? AND seq < ?")
  }

  /** Stores a snapshot in the open transaction. */
  save(snapshot: SaveSnapshot) {
    const actor = this.#actors.admit(snapshot.actor, snapshot.writer)
    const { at, body, seq, version } = snapshot
    if (seq > actor.last) {
      throw new OperationFailed({ kind: "conflict", actual: actor.last })
    }
    this.#actors.touch(actor)
    const sum = snapshotSum(actor.sum, snapshot)
    change(snapshot.actor, seq, () => this.#save.run(actor.id, seq, version, at, body, sum))
  }

  /** Deletes the snapshots before an event, in the open transaction. */
  prune(prune: Prune) {
    const actor = this.#actors.admit(prune.actor, prune.writer)
    const { snapshotsBefore } = prune
    change(prune.actor, snapshotsBefore, () => this.#delete.run(actor.id, snapshotsBefore))
  }

  /**
   * The newest snapshot that is not after `atMost`. A damaged one is reported by its event, or by 0
   * if even that cannot be read.
   */
  load(name: string, atMost: number): Snapshot | null {
    const actor = this.#actors.lookup(name)
    if (actor === undefined) return null
    let seq = 0
    try {
      const found = this.#find.get(actor.id, atMost)?.["seq"]
      if (found === null || found === undefined) return null
      seq = Number(found)
      const row = this.#load.get(actor.id, seq)
      if (row === undefined) throw corruptSnapshot(name, seq, "the snapshot is missing")
      const { at, body, crc, version } = row
      const snapshot = { seq, version: Number(version), at: Number(at), body: String(body) }
      if (snapshotSum(actor.sum, snapshot) !== crc)
        throw corruptSnapshot(name, seq, "wrong checksum")
      return snapshot
    } catch (cause) {
      throw isDamage(cause) ? corruptSnapshot(name, seq, String(cause)) : cause
    }
  }
}

/** Runs a statement that changes snapshots. */
const change = (actor: string, seq: number, run: () => unknown) => {
  try {
    run()
  } catch (cause) {
    throw isDamage(cause) ? corruptSnapshot(actor, seq, String(cause)) : cause
  }
}

export const corruptSnapshot = (actor: string, seq: unknown, detail: string) =>
  corruptRecord("snapshot", actor, seq, detail)

export const snapshotSum = (actorSum: number, { at, body, seq, version }: Snapshot) =>
  checksumText(body, checksumNumbers(actorSum, seq, version, at))

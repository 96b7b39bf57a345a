/** The snapshots of one open file: one a place in an actor's history, verified when read. */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { ActorIndex } from "./actorIndex.ts"
import { checksumNumbers, checksumText } from "./checksum.ts"
import { OperationFailed } from "./failures.ts"
import type { Prune, SaveSnapshot, Snapshot } from "./protocol.ts"

/** The snapshot part of an open journal file. */
export class SnapshotTable {
  readonly #actors: ActorIndex
  readonly #save: StatementSync
  readonly #load: StatementSync
  readonly #delete: StatementSync

  constructor(database: DatabaseSync, actors: ActorIndex) {
    this.#actors = actors
    this.#save = database.prepare(
      "INSERT INTO snapshots (actor, seq, version, at, body, crc) VALUES (?, ?, ?, ?, ?, ?)" +
        " ON CONFLICT (actor, seq) DO UPDATE SET version = excluded.version," +
        " at = excluded.at, body = excluded.body, crc = excluded.crc"
    )
    this.#load = database.prepare(
      "SELECT seq, version, at, body, crc FROM snapshots WHERE actor = ? AND seq <= ?" +
        " ORDER BY seq DESC LIMIT 1"
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
    this.#save.run(actor.id, seq, version, at, body, snapshotSum(actor.sum, snapshot))
  }

  /** Deletes the snapshots before an event, in the open transaction. */
  prune(prune: Prune) {
    const actor = this.#actors.admit(prune.actor, prune.writer)
    this.#delete.run(actor.id, prune.snapshotsBefore)
  }

  /** The newest snapshot that is not after `atMost`. */
  load(name: string, atMost: number): Snapshot | null {
    const actor = this.#actors.lookup(name)
    const row = actor && this.#load.get(actor.id, atMost)
    if (actor === undefined || row === undefined) return null
    const snapshot = {
      seq: Number(row["seq"]),
      version: Number(row["version"]),
      at: Number(row["at"]),
      body: String(row["body"])
    }
    if (snapshotSum(actor.sum, snapshot) !== row["crc"]) {
      const { seq } = snapshot
      const detail = "wrong checksum"
      throw new OperationFailed({ kind: "corrupt", record: "snapshot", actor: name, seq, detail })
    }
    return snapshot
  }
}

const snapshotSum = (actorSum: number, { at, body, seq, version }: Snapshot) =>
  checksumText(body, checksumNumbers(actorSum, seq, version, at))

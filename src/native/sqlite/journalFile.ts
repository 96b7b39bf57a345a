/**
 * An open journal file and its transactions. Each one checks that this opening is still the newest.
 *
 * The lock keeps other journals out, but a lock can get lost: its file is deleted, or a program in
 * this process reads it (see `fileLock.ts`). Another process can then open the journal, and raises
 * `opens` in the file. SQLite's locks let one transaction run at a time and show it what others
 * have committed, so from then on each transaction of this opening sees the new number and fails.
 *
 * SQLite deletes the write-ahead log when the last program closes the file, and a program may seem
 * to be the last one if this process has lost its locks. Writes to a deleted log are lost, so an
 * append is acknowledged only if the file, its log and its index are still in place. They are
 * checked before a transaction, too: with a new index, another program may have restarted the log,
 * and a checkpoint of this opening would then write old pages into the file.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { OperationFailed } from "./failures.ts"
import { HeldFiles } from "./journalFiles.ts"
import type { MetaTable } from "./metaTable.ts"
import type { Failure } from "./protocol.ts"

const replaced = (detail: string): Failure => ({ kind: "storage", reason: "replaced", detail })

/** One opening of a journal file. */
export class JournalFile {
  readonly database: DatabaseSync
  readonly meta: MetaTable
  /** Released when the file is closed. */
  readonly #lock: DatabaseSync
  readonly #files: HeldFiles
  readonly #opening: number
  readonly #opens: StatementSync
  #loss: Failure | undefined

  constructor(
    file: string,
    lock: DatabaseSync,
    database: DatabaseSync,
    meta: MetaTable,
    opening: number
  ) {
    this.database = database
    this.meta = meta
    this.#lock = lock
    this.#opening = opening
    this.#files = new HeldFiles(file)
    this.#opens = database.prepare("SELECT value FROM meta WHERE key = 'opens'")
    this.#opens.setReturnArrays(true)
  }

  /** Begins a transaction; throws if this opening must not write any more. */
  begin() {
    this.assertHeld()
    this.database.exec("BEGIN IMMEDIATE")
    this.loss()
    this.assertHeld()
  }

  /** Commits. When it returns, the writes are durable. */
  commit() {
    this.database.exec("COMMIT")
    this.#checkFiles()
    this.assertHeld()
  }

  rollback() {
    if (this.database.isTransaction) this.database.exec("ROLLBACK")
  }

  /** Throws if this opening was found to be replaced. */
  assertHeld() {
    if (this.#loss !== undefined) throw new OperationFailed(this.#loss)
  }

  /** Checks whether another opening has replaced this one. */
  loss(): Failure | undefined {
    if (this.#loss !== undefined) return this.#loss
    const opens = (this.#opens.get() as ReadonlyArray<unknown> | undefined)?.[0]
    if (opens !== this.#opening) {
      const detail = `opening ${opens} of the file has replaced opening ${this.#opening}`
      this.#loss = replaced(`${detail}: close this journal and open it again`)
    }
    this.#checkFiles()
    return this.#loss
  }

  close() {
    this.database.close()
    this.#lock.close()
  }

  #checkFiles() {
    const gone = this.#files.gone()
    if (gone === undefined) return
    this.#loss ??= replaced(`another program has removed or replaced ${gone}`)
  }
}

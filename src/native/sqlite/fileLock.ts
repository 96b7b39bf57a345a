/**
 * The lock of a journal: an operating system lock on a separate file, `-lock` beside the journal.
 *
 * POSIX drops every lock of a process on a file as soon as the process closes any descriptor of
 * that file. A backup that reads the journal with `node:fs` would release a lock on the journal
 * itself, so the lock is on a file that holds no data and that no program needs to read. SQLite
 * takes it (Node has no file locks), as an exclusive transaction on an empty database that writes
 * nothing. The operating system releases it when the process ends, however it ends.
 *
 * A program that does read the `-lock` file releases the lock. `JournalFile` then still refuses to
 * write after another opening: it checks the opening inside each transaction.
 *
 * The file stays when the journal is closed. Deleting it would let two openers lock two files.
 */
import { DatabaseSync } from "node:sqlite"

/** Locks a journal for this opening until the result is closed. Throws "busy" if it is locked. */
export const lockFile = (file: string): DatabaseSync => {
  const lock = new DatabaseSync(`${file}-lock`, { timeout: 0 })
  try {
    // Without this, SQLite would create a rollback journal beside the lock file.
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
    return lock
  } catch (cause) {
    lock.close()
    throw cause
  }
}

/**
 * Writes decided events to the journal, one append at a time, in order. What is decided while
 * an append is under way goes with the next one.
 */
import * as Exit from "effect/Exit"
import type { NewEvent } from "../../../schema/JournalRecord.ts"
import type { Cell } from "./cell.ts"

export type Written = Exit.Exit<void, unknown>

/** Adds decided events to those that wait for the journal. */
export const enqueue = (cell: Cell, events: ReadonlyArray<NewEvent>): void => {
  cell.seq += events.length
  cell.unwritten = cell.unwritten === undefined ? events : cell.unwritten.concat(events)
}

/**
 * Appends all that waits. Returns the outcome if it is known at once; otherwise `later` is
 * called with it when nothing waits any more, or when an append has failed.
 */
export const flush = (
  cell: Cell,
  later: (cell: Cell, written: Written) => void
): Written | undefined => {
  if (cell.appending !== undefined) return undefined
  const events = cell.unwritten
  if (events === undefined) return Exit.void
  const { claim, journal, generation } = cell
  if (claim === undefined || journal === undefined) return Exit.die("no claim on the history")
  cell.unwritten = undefined
  const { actor, writer } = claim
  const fiber = cell.fork(journal.append({ actor, writer, expected: cell.stored, events }))
  const settle = (written: Written) => {
    if (Exit.isSuccess(written) || cell.defects.resumeAfterFailedAppend) {
      cell.stored += events.length
      return Exit.void
    }
    return written
  }
  const written = fiber.pollUnsafe()
  if (written !== undefined) return settle(written)
  cell.appending = fiber
  fiber.addObserver((written) => {
    if (cell.generation !== generation || cell.appending !== fiber) return
    cell.appending = undefined
    const settled = settle(written)
    const last = Exit.isSuccess(settled) && cell.unwritten ? flush(cell, later) : settled
    if (last !== undefined) later(cell, last)
  })
  return undefined
}

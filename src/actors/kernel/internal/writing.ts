/**
 * Writes decided events to the journal, one append at a time, in order. What is decided while
 * an append is under way goes with the next one.
 */
import * as Exit from "effect/Exit"
import type { NewEvent } from "../../../schema/JournalRecord.ts"
import type { Appending, Cell } from "./cell.ts"
import { run } from "./direct.ts"

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
  const { claim, journal } = cell
  if (claim === undefined || journal === undefined) return Exit.die("no claim on the history")
  const { actor, writer } = claim
  const appending: Appending = { ended: false, onEnd: undefined }
  cell.unwritten = undefined
  cell.appending = appending
  let known: Written | undefined
  let returned = false
  run(cell, journal.append({ actor, writer, expected: cell.stored, events }), (written) => {
    appending.ended = true
    // Meanwhile another generation may have begun, which has an append of its own.
    if (cell.appending === appending) {
      cell.appending = undefined
      known = settle(cell, events.length, written)
      if (returned) goOn(cell, known, later)
    }
    appending.onEnd?.()
  })
  returned = true
  return known
}

const settle = (cell: Cell, events: number, written: Written): Written => {
  if (Exit.isFailure(written) && !cell.defects.resumeAfterFailedAppend) return written
  cell.stored += events
  return Exit.void
}

const goOn = (
  cell: Cell,
  written: Written,
  later: (cell: Cell, written: Written) => void
): void => {
  const waits = Exit.isSuccess(written) && cell.unwritten !== undefined
  const last = waits ? flush(cell, later) : written
  if (last !== undefined) later(cell, last)
}

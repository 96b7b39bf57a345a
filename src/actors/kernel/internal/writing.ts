/**
 * Writes decided events to the journal, one append at a time, in order. What is decided while
 * an append is under way goes with the next one. After a failed append nothing more is written.
 */
import * as Exit from "effect/Exit"
import type { Append, Cell } from "./cell.ts"
import { run } from "./direct.ts"
import { snapshotIfDue } from "./snapshots.ts"

export type Written = Exit.Exit<void, unknown>

/** Adds decided events to those that wait for the journal. */
export const enqueue = (
  cell: Cell,
  {
    records,
    snapshot,
    state
  }: Pick<Append, "snapshot" | "state"> & {
    readonly records: Append["events"]
  }
): void => {
  const before = cell.unwritten
  cell.seq += records.length
  cell.unwritten = {
    events: before === undefined ? records : before.events.concat(records),
    seq: cell.seq,
    state,
    snapshot: snapshot || before?.snapshot === true
  }
}

/**
 * Appends all that waits. Returns the outcome if it is known at once; otherwise `later` is
 * called with it when nothing waits any more, or when an append has failed.
 */
export const flush = (
  cell: Cell,
  later: (cell: Cell, written: Written) => void
): Written | undefined => {
  if (cell.append !== undefined) return undefined
  const append = cell.unwritten
  if (append === undefined) return Exit.void
  const { claim, journal } = cell
  if (claim === undefined || journal === undefined) return Exit.die("no claim on the history")
  const { actor, writer } = claim
  cell.unwritten = undefined
  cell.append = append
  let known: Written | undefined
  let returned = false
  const settled = (written: Written) => {
    // The actor has ended meanwhile: a generation that another one follows awaits its appends.
    if (cell.append !== append) return
    known = settle(cell, append, written)
    if (returned) goOn(cell, known, later)
  }
  try {
    run(
      cell,
      journal.append({ actor, writer, expected: cell.stored, events: append.events }),
      settled
    )
  } catch (defect) {
    settled(Exit.die(defect))
  }
  returned = true
  return known
}

const settle = (cell: Cell, append: Append, written: Written): Written => {
  cell.append = undefined
  if (Exit.isFailure(written) && !cell.defects.resumeAfterFailedAppend) {
    cell.unwritten = undefined
    return written
  }
  cell.stored = append.seq
  snapshotIfDue(cell, append)
  return Exit.void
}

const goOn = (
  cell: Cell,
  written: Written,
  later: (cell: Cell, written: Written) => void
): void => {
  const last = cell.unwritten === undefined ? written : flush(cell, later)
  if (last !== undefined) later(cell, last)
}

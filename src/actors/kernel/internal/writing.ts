/**
 * Writes decided events to the journal, one append at a time, in order. Events decided while an
 * append is under way go with the next one. After a failed append nothing more is written.
 */
import * as Exit from "effect/Exit"
import type { Append, Cell } from "./cell.ts"
import { run } from "./direct.ts"
import { snapshotIfDue } from "./snapshots.ts"

export type Written = Exit.Exit<void, unknown>

/** Callbacks after an append. */
export interface Follow {
  /** Called with each append that is stored and for which no batch waited. */
  readonly stored: (cell: Cell, append: Append) => void
  /** Called when nothing waits for the journal any more, or when an append has failed. */
  readonly done: (cell: Cell, written: Written) => void
}

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
    snapshot: snapshot || before?.snapshot === true,
    behind: before?.behind ?? []
  }
}

/**
 * Appends all waiting events. Returns the outcome if it is known at once; else `follow` is called.
 */
export const flush = (cell: Cell, follow: Follow): Written | undefined => {
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
    // The actor has ended since: a generation that another one follows awaits its appends.
    if (cell.append !== append) return
    known = settle(cell, append, written, follow)
    if (returned) goOn(cell, known, follow)
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

const settle = (cell: Cell, append: Append, written: Written, { stored }: Follow): Written => {
  if (Exit.isFailure(written)) return written
  cell.stored = append.seq
  snapshotIfDue(cell, append)
  // Still marked as under way, so events of these effects are written after it.
  if (append.behind.length > 0) stored(cell, append)
  cell.append = undefined
  return Exit.void
}

const goOn = (cell: Cell, written: Written, follow: Follow): void => {
  const goesOn = Exit.isSuccess(written) && cell.unwritten !== undefined
  const last = goesOn ? flush(cell, follow) : written
  if (last !== undefined) follow.done(cell, last)
}

/**
 * A turn: messages are decided in batches, each batch is written with one append, and only then
 * does anybody see anything of it: first the effects start, then watchers, then the callers.
 */
import * as Exit from "effect/Exit"
import type { Tagged } from "../Behavior.ts"
import { refuse } from "./answering.ts"
import { type Cell, crash } from "./cell.ts"
import { type Batch, decideBatch } from "./deciding.ts"
import { finish } from "./halting.ts"
import { restUntilNeeded } from "./passivating.ts"
import { begin, react } from "./reacting.ts"
import { scheduleTurn } from "./sending.ts"
import { snapshotIfDue } from "./snapshots.ts"
import { enqueue, flush, type Written } from "./writing.ts"

/** Batches that a turn takes before it lets others run: see `Limits.batch` for their size. */
const BATCHES_PER_TURN = 16

/** Works on the mailbox if the actor is ready to. */
export const turn = (cell: Cell): void => {
  if (cell.phase !== "ready") return
  cell.phase = "turning"
  go(cell)
}

const go = (cell: Cell): void => {
  for (let batches = 0; cell.mailbox.length > 0 && !cell.pausing; batches++) {
    if (batches === BATCHES_PER_TURN) {
      cell.phase = "ready"
      scheduleTurn(cell)
      return
    }
    const batch = decideBatch(cell)
    if (!write(cell, batch) || !commit(cell, batch)) return
  }
  cell.phase = "ready"
  if (cell.definition.passivateAfterMillis !== undefined) restUntilNeeded(cell)
}

/** Writes a batch. True if the turn may go on with it at once. */
const write = (cell: Cell, batch: Batch): boolean => {
  if (batch.records.length > 0) enqueue(cell, batch.records)
  if (cell.unwritten === undefined && cell.appending === undefined) return true
  const written = flush(cell, writtenLater)
  const backlog = cell.unwritten?.length ?? 0
  const wait = mustWait(batch) || backlog > cell.definition.limits.unwritten
  if (written === undefined) {
    if (!wait || cell.defects.replyEarly) return true
    cell.phase = "waiting"
    cell.held = batch
    return false
  }
  if (Exit.isSuccess(written)) return true
  refuse(cell, batch, "journal")
  crash(cell, written.cause)
  return false
}

/**
 * Replies wait if an event of the batch is a promise, and when the actor ends or crashes after
 * it. An answer that only reads may wait too: it could tell of such an event.
 */
const mustWait = (batch: Batch): boolean => batch.promises || batch.next !== "continue"

const writtenLater = (cell: Cell, written: Written): void => {
  // What is held in the phase "waiting" is always the batch that `write` put there.
  const batch = cell.held as Batch | undefined
  cell.held = undefined
  if (Exit.isFailure(written)) {
    if (batch !== undefined) refuse(cell, batch, "journal")
    crash(cell, written.cause)
  } else if (batch !== undefined) {
    cell.phase = "turning"
    if (commit(cell, batch)) go(cell)
  }
}

/** The batch took place: its effects start and its callers hear of it. True to go on. */
const commit = (cell: Cell, batch: Batch): boolean => {
  cell.state = batch.state
  const { outcomes, steps } = batch
  for (let index = 0; index < steps.length; index += 2) {
    const event = steps[index] as Tagged
    const state = steps[index + 1]
    react(cell, event, state)
    if (cell.watchers !== undefined) for (const watcher of cell.watchers) watcher(event, state)
  }
  for (const outcome of outcomes) outcome.happen(cell)
  if (batch.records.length > 0 && cell.definition.snapshot !== undefined) {
    snapshotIfDue(cell, batch)
  }
  if (cell.phase !== "turning") return false
  if (batch.next === "begin") start(cell, batch)
  else if (batch.next === "crash") crash(cell, batch.cause)
  else if (batch.next === "end") finish(cell)
  return cell.phase === "turning"
}

const start = (cell: Cell, batch: Batch): void => {
  const { recovery } = batch
  const effect = cell.definition.start
  if (effect === undefined || recovery === undefined) return
  begin(cell, (state, self) => effect(state, self, recovery))
}

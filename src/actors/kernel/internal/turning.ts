/**
 * A turn: messages are decided in batches, each batch is written with one append, and only then
 * is anything of it visible: first its effects start, then watchers hear of it, then the callers.
 *
 * Whatever throws on the way is a crash of this actor, and every caller of the batch is answered.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { abandonAll, refuse } from "./answering.ts"
import { type Cell, isPausing, transition } from "./cell.ts"
import { type Batch, decideBatch } from "./deciding.ts"
import { rest, stopped } from "./halting.ts"
import { describe } from "./logging.ts"
import { begin, react } from "./reacting.ts"
import { crash, end, endFailed, fail, isFenced } from "./releasing.ts"
import { scheduleTurn } from "./sending.ts"
import { eventOf } from "./tracing.ts"
import { enqueue, flush, type Written } from "./writing.ts"

/** Batches that a turn takes before it lets others run: see `Limits.batch` for their size. */
const BATCHES_PER_TURN = 16

/** Works on the mailbox if the actor is ready to. */
export const turn = (cell: Cell): void => {
  if (cell.phase !== "ready") return
  transition(cell, "turning")
  work(cell, undefined)
}

/** Completes a batch that was waiting, if there is one, and goes on with the mailbox. */
const work = (cell: Cell, stored: Batch | undefined): void => {
  let batch = stored
  try {
    if (batch !== undefined && !complete(cell, batch)) return
    for (let batches = 0; cell.mailbox.length > 0 && !isPausing(cell); batches++) {
      if (batches === BATCHES_PER_TURN) {
        transition(cell, "ready")
        return scheduleTurn(cell)
      }
      batch = decideBatch(cell)
      if (!write(cell, batch) || !complete(cell, batch)) return
    }
    transition(cell, "ready")
  } catch (defect) {
    // Each step guards what a behavior can throw, so this is a defect of the kernel itself.
    const cause = Cause.die(defect)
    if (batch !== undefined) refuseFor(cell, batch, "crashed", cause)
    if (cell.phase === "turning") fail(cell, cause)
    else crash(cell, cause)
  }
  rest(cell)
}

/** Writes a batch. True if the turn may go on with it at once. */
const write = (cell: Cell, batch: Batch): boolean => {
  if (cell.phase !== "turning") return endedWithin(cell, batch)
  if (batch.records.length > 0) enqueue(cell, batch)
  if (cell.unwritten === undefined && cell.append === undefined) return true
  const written = flush(cell, writtenLater)
  if (cell.phase !== "turning") return endedWithin(cell, batch)
  if (written === undefined) {
    const backlog = cell.unwritten?.events.length ?? 0
    const wait = mustWait(batch) || backlog > cell.definition.limits.unwritten
    if (!wait || cell.defects.replyEarly) return true
    transition(cell, "waiting")
    cell.held = batch
    return false
  }
  if (Exit.isSuccess(written)) return true
  notWritten(cell, batch, written.cause)
  return false
}

/**
 * Replies wait if an event of the batch is a promise, and when the actor begins or ends with it.
 * An answer that only reads may wait too: it could tell of such an event.
 */
const mustWait = ({ next, promises }: Batch): boolean => promises || next !== "continue"

const writtenLater = (cell: Cell, written: Written): void => {
  // What is held is always the batch that `write` left here.
  const batch = cell.held as Batch | undefined
  cell.held = undefined
  if (Exit.isFailure(written)) notWritten(cell, batch, written.cause)
  else if (batch === undefined) rest(cell)
  else if (cell.phase === "waiting") {
    transition(cell, "turning")
    work(cell, batch)
  } else {
    // The generation crashed meanwhile: the events are stored, but their effects have no Scope.
    publish(cell, batch)
    if (batch.next === "end") end(cell, stopped)
    leave(cell)
    rest(cell)
  }
}

/** It is unknown whether the events are stored, so nothing is built on them. */
const notWritten = (cell: Cell, batch: Batch | undefined, cause: Cause.Cause<unknown>): void => {
  if (isFenced(cause)) endFailed(cell, cause)
  else if (cell.phase !== "crashed") fail(cell, cause)
  if (batch !== undefined) refuseFor(cell, batch, "journal", cause)
  rest(cell)
}

const refuseFor = (
  cell: Cell,
  batch: Batch,
  reason: "journal" | "crashed",
  cause: Cause.Cause<unknown>
): void => refuse(cell, batch, { reason, detail: describe(cause) })

/** Something on this stack has ended the generation. The batch is lost with it. */
const endedWithin = (cell: Cell, batch: Batch): false => {
  refuse(cell, batch, cell.end ?? { reason: "crashed", detail: "" })
  return leave(cell)
}

/** If the actor has ended, answers what the turn had taken or added since. */
const leave = (cell: Cell): false => {
  if (cell.end !== undefined) abandonAll(cell, cell.end)
  return false
}

/** The batch took place: its effects start and its callers hear of it. True to go on. */
const complete = (cell: Cell, batch: Batch): boolean => {
  cell.state = batch.state
  if (batch.steps.length > 0 && cell.definition.observed) startEffects(cell, batch)
  publish(cell, batch)
  if (batch.next === "begin" && batch.failure === undefined) start(cell, batch)
  if (cell.phase !== "turning") {
    if (batch.next === "end") end(cell, stopped)
    return leave(cell)
  }
  const failure = batch.failure ?? cell.failure
  if (batch.next === "end") {
    if (failure === undefined) end(cell, stopped)
    else endFailed(cell, failure)
    return false
  }
  if (failure === undefined) return true
  fail(cell, failure)
  rest(cell)
  return false
}

/** Starts the effects of a batch, up to the first one that fails. */
const startEffects = (cell: Cell, { steps }: Batch): void => {
  try {
    for (let index = 0; index < steps.length; index += 2) {
      react(cell, steps[index], steps[index + 1])
      if (cell.failure !== undefined || cell.phase !== "turning") return
    }
  } catch (defect) {
    cell.failure ??= Cause.die(defect)
  }
}

const start = (cell: Cell, { recovery }: Batch): void => {
  const effect = cell.definition.start
  if (effect === undefined || recovery === undefined || cell.phase !== "turning") return
  try {
    begin(cell, (state, self) => effect(state, self, recovery))
  } catch (defect) {
    cell.failure ??= Cause.die(defect)
  }
}

/** Shows a stored batch to watchers and callers. One that throws does not keep it from others. */
const publish = (cell: Cell, { outcomes, state, steps }: Batch): void => {
  cell.state = state
  if (cell.watchers !== undefined) {
    for (let index = 0; index < steps.length; index += 2) {
      for (const watcher of cell.watchers) watcher(eventOf(steps[index]), steps[index + 1])
    }
  }
  for (let index = 0; index < outcomes.length; index++) {
    try {
      outcomes[index]?.happen(cell)
    } catch (defect) {
      cell.failure ??= Cause.die(defect)
    }
  }
}

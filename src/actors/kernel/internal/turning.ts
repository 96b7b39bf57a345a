/**
 * A turn: messages are decided in batches, each batch is written with one append, and only then are
 * its results visible: first to watchers, then to its effects, then to callers. Callers of a batch
 * whose events are all written behind are answered before that.
 *
 * An exception on the way is a crash of this actor, and every caller of the batch is answered.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { abandon, abandonAll, refuse, takeWaiting } from "./answering.ts"
import {
  type Append,
  type Cell,
  type Held,
  isPausing,
  type Outcome,
  transition,
  unstored
} from "./cell.ts"
import { type Batch, decideBatch } from "./deciding.ts"
import { rest, stopped } from "./halting.ts"
import { describe } from "./logging.ts"
import { begin, react } from "./reacting.ts"
import { crash, end, endFailed, fail, isFenced } from "./releasing.ts"
import { scheduleTurn } from "./sending.ts"
import { eventOf } from "./tracing.ts"
import { enqueue, flush, type Follow, type Written } from "./writing.ts"

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
      if (!write(cell, batch)) return
    }
    transition(cell, "ready")
  } catch (defect) {
    // Each step guards code of the behavior, so this is a defect of the kernel itself.
    const cause = Cause.die(defect)
    if (batch !== undefined) refuseFor(cell, batch, "crashed", cause)
    if (cell.phase === "turning") fail(cell, cause)
    else crash(cell, cause)
  }
  rest(cell)
}

/** Writes a batch, and completes it as far as that is possible. True if the turn may go on. */
const write = (cell: Cell, batch: Batch): boolean => {
  if (cell.phase !== "turning") return endedWithin(cell, batch)
  if (batch.records.length > 0) enqueue(cell, batch)
  if (cell.unwritten === undefined && cell.append === undefined) return complete(cell, batch)
  const written = flush(cell, follow)
  if (cell.phase !== "turning") return endedWithin(cell, batch)
  if (written === undefined) {
    const backlog = cell.unwritten?.events.length ?? 0
    const wait = mustWait(batch) || backlog > cell.definition.limits.unwritten
    if (!wait && cell.definition.showsDecided) return complete(cell, batch)
    if (!wait) return leaveBehind(cell, batch)
    transition(cell, "waiting")
    cell.held = batch
    return false
  }
  if (Exit.isSuccess(written)) return complete(cell, batch)
  notWritten(cell, batch, written.cause)
  return false
}

/**
 * Replies wait if an event of the batch is not written behind, and when the actor begins or ends
 * with it. An answer that only reads may wait too, because it could depend on such an event.
 */
const mustWait = ({ next, promises }: Batch): boolean => promises || next !== "continue"

/** Sends the replies of a batch before it is stored. Everything else waits for the append. */
const leaveBehind = (cell: Cell, batch: Batch): boolean => {
  const replies = batch.outcomes.filter(({ isReply }) => isReply)
  batch.outcomes = batch.outcomes.filter(({ isReply }) => !isReply)
  if (batch.records.length + batch.outcomes.length > 0) {
    ;(cell.unwritten ?? cell.append)?.behind.push(batch)
  }
  answer(cell, replies)
  return settled(cell, batch)
}

const writtenBehind = (cell: Cell, { behind }: Append): void => {
  for (const held of behind) {
    const batch = held as Batch
    if (batch.records.length > 0) show(cell, batch)
    answer(cell, batch.outcomes)
  }
}

const writtenLater = (cell: Cell, written: Written): void => {
  // The held batch is always the one that `write` left here.
  const batch = cell.held as Batch | undefined
  cell.held = undefined
  if (Exit.isFailure(written)) notWritten(cell, batch, written.cause)
  else if (batch === undefined) rest(cell)
  else if (cell.phase === "waiting") {
    transition(cell, "turning")
    work(cell, batch)
  } else {
    // The generation has crashed since: the events are stored, but their effects have no Scope.
    show(cell, batch)
    answer(cell, batch.outcomes)
    if (batch.next === "end") end(cell, stopped)
    leave(cell)
    rest(cell)
  }
}

const follow: Follow = { stored: writtenBehind, done: writtenLater }

/** It is unknown whether the events are stored, so nothing is built on them. */
const notWritten = (cell: Cell, batch: Batch | undefined, cause: Cause.Cause<unknown>): void => {
  const behind = unstored(cell)
  cell.append = undefined
  cell.unwritten = undefined
  if (isFenced(cause)) endFailed(cell, cause)
  else if (cell.phase !== "crashed") fail(cell, cause)
  for (const lost of behind) refuseFor(cell, lost, "journal", cause)
  if (batch !== undefined) refuseFor(cell, batch, "journal", cause)
  // The next generation may not know what they wait for.
  if (cell.definition.showsDecided) {
    abandon(cell, takeWaiting(cell), { reason: "journal", detail: describe(cause) })
  }
  rest(cell)
}

const refuseFor = (
  cell: Cell,
  batch: Held,
  reason: "journal" | "crashed",
  cause: Cause.Cause<unknown>
): void => refuse(cell, batch, { reason, detail: describe(cause) })

/** Fails a batch whose generation was ended further down this stack. */
const endedWithin = (cell: Cell, batch: Batch): false => {
  refuse(cell, batch, cell.end ?? { reason: "crashed", detail: "" })
  return leave(cell)
}

/** If the actor has ended, answers the messages that the turn had taken or added since. */
const leave = (cell: Cell): false => {
  if (cell.end !== undefined) abandonAll(cell, cell.end)
  return false
}

/** Completes a stored batch: its effects start and its callers are answered. True to go on. */
const complete = (cell: Cell, batch: Batch): boolean => {
  show(cell, batch)
  answer(cell, batch.outcomes)
  if (batch.next === "begin" && batch.failure === undefined) start(cell, batch)
  return settled(cell, batch)
}

/** Continues, stops or halts the actor after a batch. True to go on. */
const settled = (cell: Cell, batch: Batch): boolean => {
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

/** Whether effects can start: a crash takes their Scope away. */
const isLive = ({ failure, phase }: Cell): boolean =>
  failure === undefined && (phase === "turning" || phase === "ready" || phase === "waiting")

/** Starts the effects of a batch, up to the first one that fails. */
const startEffects = (cell: Cell, { steps }: Batch): void => {
  try {
    for (let index = 0; index < steps.length && isLive(cell); index += 2) {
      react(cell, steps[index], steps[index + 1])
    }
  } catch (defect) {
    crash(cell, Cause.die(defect))
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

/** Shows a stored batch to watchers, and starts its effects. */
const show = (cell: Cell, batch: Batch): void => {
  const { state, steps } = batch
  cell.state = state
  if (steps.length === 0) return
  // Before the effects: one that begins to watch sees the state after the batch, not its events.
  if (cell.watchers !== undefined) {
    for (let index = 0; index < steps.length; index += 2) {
      for (const watcher of cell.watchers) watcher(eventOf(steps[index]), steps[index + 1])
    }
  }
  if (cell.definition.observed) startEffects(cell, batch)
}

/** Answers the callers of a batch. A callback that throws does not keep the others from theirs. */
const answer = (cell: Cell, outcomes: ReadonlyArray<Outcome>): void => {
  for (let index = 0; index < outcomes.length; index++) {
    try {
      outcomes[index]?.happen(cell)
    } catch (defect) {
      crash(cell, Cause.die(defect))
    }
  }
}

/** Deferred replies, and failures of commands that were never executed or may not be stored. */
import * as Exit from "effect/Exit"
import { Stopped } from "../ActorError.ts"
import type { Settlement } from "../Decision.ts"
import { type Cell, type Ending, type Envelope, type Held, nothing, type Outcome } from "./cell.ts"

export const stoppedBy = (
  cell: Cell,
  { detail, reason }: Ending,
  outcome: Stopped["outcome"]
): Stopped => new Stopped({ actor: cell.address, reason, outcome, detail })

const ended: Ending = { reason: "stopped", detail: "" }

/** The answer to a message that came after the end. */
export const endedBy = (cell: Cell): Stopped => stoppedBy(cell, cell.end ?? ended, "not-run")

/** Answers the callers of a batch when it is unknown whether its events are stored. */
export const refuse = (cell: Cell, held: Held, ending: Ending): void => {
  for (const outcome of held.outcomes) {
    outcome.refuse(Exit.fail(stoppedBy(cell, ending, "unknown")))
  }
}

/** Frees the place of a caller that no longer waits. */
export const stopWaiting = ({ waiting }: Cell, envelope: Envelope): void => {
  envelope.gone = true
  if (envelope.pending !== undefined) waiting?.remove(envelope.pending, envelope)
}

/** Answers all callers that wait under one key. */
export class Settling implements Outcome {
  readonly #settlement: Settlement
  readonly isReply = false

  constructor(settlement: Settlement) {
    this.#settlement = settlement
  }

  get key(): string {
    return this.#settlement.key
  }

  happen({ waiting }: Cell): void {
    const { exit, key } = this.#settlement
    for (const envelope of waiting?.take(key) ?? []) envelope.answer(exit)
  }

  /** They go on waiting: decisions of the next generation settle them. */
  refuse(): void {}
}

/** Removes the callers that wait for a later decision from the cell. */
export const takeWaiting = (cell: Cell): ReadonlyArray<Envelope> => {
  const { waiting } = cell
  cell.waiting = undefined
  return waiting?.all() ?? []
}

/** Fails callers that waited for a later decision. */
export const abandon = (cell: Cell, waiting: ReadonlyArray<Envelope>, ending: Ending): void => {
  for (const envelope of waiting) {
    envelope.answer(Exit.fail(stoppedBy(cell, ending, "unknown")))
  }
}

/** Fails every message that an actor still has when it ends. */
export const abandonAll = (cell: Cell, ending: Ending): void => {
  const messages = cell.stash.concat(cell.mailbox)
  cell.stash = nothing
  cell.mailbox = nothing
  for (const envelope of messages) {
    if (envelope.asked) envelope.answer(Exit.fail(stoppedBy(cell, ending, "not-run")))
  }
  abandon(cell, takeWaiting(cell), ending)
}

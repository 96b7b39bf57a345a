/** Answers that come later, and those for callers whose command did not come to its own. */
import * as Exit from "effect/Exit"
import { Stopped } from "../ActorError.ts"
import type { Settlement } from "../Decision.ts"
import type { Cell, Envelope, Held, Outcome } from "./cell.ts"

export const stoppedBy = (
  cell: Cell,
  reason: Stopped["reason"],
  outcome: Stopped["outcome"],
  detail = ""
): Stopped => new Stopped({ actor: cell.address, reason, outcome, detail })

/** What a caller hears who came too late. */
export const endedBy = (cell: Cell): Stopped =>
  stoppedBy(cell, cell.end?.reason ?? "stopped", "not-run", cell.end?.detail)

/** Nobody knows whether the events behind these answers are stored. */
export const refuse = (cell: Cell, held: Held, reason: Stopped["reason"]): void => {
  for (const outcome of held.outcomes) {
    outcome.refuse(Exit.fail(stoppedBy(cell, reason, "unknown")))
  }
}

/** How many callers wait for an answer that comes later. */
export const waitingCount = ({ waiting }: Cell): number => {
  let count = 0
  for (const envelopes of waiting?.values() ?? []) count += envelopes.length
  return count
}

/** A caller has gone; its place is free for another one. */
export const stopWaiting = ({ waiting }: Cell, envelope: Envelope): void => {
  const { pending } = envelope
  const others = pending === undefined ? undefined : waiting?.get(pending)
  if (pending === undefined || others === undefined) return
  const left = others.filter((other) => other !== envelope)
  if (left.length > 0) waiting?.set(pending, left)
  else waiting?.delete(pending)
}

/** Answers everybody who waits under one key. */
export class Settling implements Outcome {
  readonly #settlement: Settlement

  constructor(settlement: Settlement) {
    this.#settlement = settlement
  }

  happen({ waiting }: Cell): void {
    const { exit, key } = this.#settlement
    const envelopes = waiting?.get(key)
    waiting?.delete(key)
    for (const envelope of envelopes ?? []) envelope.answer(exit)
  }

  /** They wait on: what is recovered decides about them again. */
  refuse(): void {}
}

/** Nobody will answer those who still wait. */
export const abandonWaiting = (cell: Cell, exit: Exit.Exit<never, Stopped>): void => {
  const { waiting } = cell
  cell.waiting = undefined
  for (const envelopes of waiting?.values() ?? []) {
    for (const envelope of envelopes) envelope.answer(exit)
  }
}

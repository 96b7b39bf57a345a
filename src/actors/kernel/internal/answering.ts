/** Answers for callers whose command did not come to its own answer. */
import * as Exit from "effect/Exit"
import { Stopped } from "../ActorError.ts"
import type { Cell, Held } from "./cell.ts"

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
  for (const envelope of held.answered) {
    envelope.answer(Exit.fail(stoppedBy(cell, reason, "unknown")))
  }
}

/** The way into a mailbox. */
import * as Metric from "effect/Metric"
import { droppedMessages } from "../Metrics.ts"
import { type Cell, type Envelope, nothing, schedule, transition } from "./cell.ts"

/** Recovers a passive actor, once for all messages that come meanwhile. */
export const wake = (cell: Cell): void => {
  transition(cell, "halted")
  cell.life.wake(cell)
}

/** What became of a message that was sent. */
export type Sent = "accepted" | "full" | "dropped" | "stopped"

/** Counts a message that was lost at a full mailbox or stash, and that no caller hears of. */
export const countDropped = ({ context, definition }: Cell): void =>
  Metric.withAttributes(droppedMessages, { actor: definition.name }).updateUnsafe(1, context)

/**
 * Leaves a message in the mailbox. With `now`, an actor that has nothing else to do works on it
 * at once, in the caller's own turn.
 */
export const send = (cell: Cell, envelope: Envelope, now: boolean): Sent => {
  if (cell.closing) return "stopped"
  const { limits } = cell.definition
  if (cell.mailbox.length >= limits.mailbox) {
    // A signal may be the only result of an effect, so its loss must not go unheard.
    const isSignal = envelope.from !== undefined
    if (limits.overflow === "fail" || envelope.asked || isSignal) return "full"
    countDropped(cell)
    return "dropped"
  }
  if (cell.mailbox === nothing) cell.mailbox = [envelope]
  else cell.mailbox.push(envelope)
  if (cell.phase === "ready") {
    if (now && !cell.scheduled && !cell.chaos.fires("turn-later")) cell.life.turn(cell)
    else scheduleTurn(cell)
  } else if (cell.phase === "passive") wake(cell)
  return "accepted"
}

/** Has the mailbox worked on when the scheduler comes to it. */
export const scheduleTurn = (cell: Cell): void => {
  if (cell.scheduled) return
  cell.scheduled = true
  schedule(cell, () => {
    cell.scheduled = false
    cell.life.turn(cell)
  })
}

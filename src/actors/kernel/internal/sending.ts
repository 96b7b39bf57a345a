/** Puts messages into mailboxes. */
import * as Metric from "effect/Metric"
import { droppedMessages } from "../Metrics.ts"
import { type Cell, type Envelope, nothing, schedule, transition } from "./cell.ts"

/** Recovers a passive actor, once for all messages that arrive during the recovery. */
export const wake = (cell: Cell): void => {
  transition(cell, "halted")
  cell.life.wake(cell)
}

/** Result of sending a message. */
export type Sent = "accepted" | "full" | "dropped" | "stopped"

/** Counts a message that was lost at a full mailbox or stash without a caller's knowledge. */
export const countDropped = ({ context, definition }: Cell): void =>
  Metric.withAttributes(droppedMessages, { actor: definition.name }).updateUnsafe(1, context)

/**
 * Puts a message into the mailbox. With `now`, an idle actor works on it at once, on the caller's
 * stack.
 */
export const send = (cell: Cell, envelope: Envelope, now: boolean): Sent => {
  if (cell.closing) return "stopped"
  const { limits } = cell.definition
  if (cell.mailbox.length >= limits.mailbox) {
    // A signal may be the only result of an effect, so its loss must be reported.
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

/** Lets the scheduler run the mailbox. */
export const scheduleTurn = (cell: Cell): void => {
  if (cell.scheduled) return
  cell.scheduled = true
  schedule(cell, () => {
    cell.scheduled = false
    cell.life.turn(cell)
  })
}

/** The way into a mailbox. */
import * as Metric from "effect/Metric"
import { droppedMessages } from "../Metrics.ts"
import { type Cell, ending, Envelope, nothing, schedule } from "./cell.ts"

/** Recovers a passive actor, once for all messages that come meanwhile. */
export const wake = (cell: Cell): void => {
  cell.phase = "halted"
  cell.life.wake(cell)
}

/** What became of a message that was sent. */
export type Sent = "accepted" | "full" | "dropped" | "stopped"

/**
 * Leaves a message in the mailbox. With `now`, an actor that has nothing else to do works on it
 * at once, in the caller's own turn.
 */
export const send = (cell: Cell, envelope: Envelope, now: boolean): Sent => {
  if (cell.closing || cell.phase === "ended") return "stopped"
  const { limits } = cell.definition
  if (cell.mailbox.length >= limits.mailbox) {
    if (limits.overflow === "fail" || envelope.asked) return "full"
    Metric.withAttributes(droppedMessages, { actor: cell.definition.name }).updateUnsafe(
      1,
      cell.context
    )
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

/** Lets the actor end after the messages it has, and take no more. */
export const close = (cell: Cell): void => {
  if (cell.closing || cell.phase === "ended") return
  cell.closing = true
  cell.mailbox = [...cell.mailbox, new Envelope(ending, undefined, undefined, false)]
  if (cell.phase === "ready") scheduleTurn(cell)
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

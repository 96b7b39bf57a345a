/**
 * Continues a cell that has become idle, and halts a generation so that another one can begin:
 * deciding stops, decided events are written, messages stay.
 */
import * as Effect from "effect/Effect"
import { type Cell, type Ending, isPausing } from "./cell.ts"
import { restUntilNeeded } from "./passivating.ts"
import { end, halted, release } from "./releasing.ts"
import { scheduleTurn } from "./sending.ts"

/** The reason of a requested end. */
export const stopped: Ending = { reason: "stopped", detail: "" }

/**
 * Ends, halts or rests. Called whenever a turn, an append or a caller that was in the way has gone.
 */
export const rest = (cell: Cell): void => {
  const { append, closing, mailbox, phase } = cell
  if (phase === "passive") {
    if (closing) end(cell, stopped)
    else if (isPausing(cell)) halted(cell)
  } else if ((phase === "ready" || phase === "crashed") && append === undefined) {
    if (phase === "ready" && closing && mailbox.length === 0) end(cell, stopped)
    else if (isPausing(cell)) release(cell, "halted")
    else if (phase === "ready") restUntilNeeded(cell)
  }
}

/**
 * Ends the generation, if one lives, and waits until it is released. Interrupting this takes it
 * back unless the release has begun.
 */
export const halt = (cell: Cell): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (cell.phase === "halted" || cell.phase === "ended") return resume(Effect.void)
    const tell = () => resume(Effect.void)
    const halts = (cell.halts ??= new Set())
    halts.add(tell)
    rest(cell)
    return Effect.sync(() => {
      halts.delete(tell)
      if (cell.phase !== "ready") return
      if (cell.mailbox.length > 0) scheduleTurn(cell)
      else rest(cell)
    })
  })

/** Lets the actor end after the messages it has, and take no more. */
export const close = (cell: Cell): void => {
  if (cell.closing) return
  cell.closing = true
  rest(cell)
}

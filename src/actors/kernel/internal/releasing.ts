/**
 * Ends a generation: after a crash, for a restart, or with the actor. Its Scope closes once, and
 * every waiting caller is answered once.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import { Fenced } from "../../../schema/JournalRecord.ts"
import { crashes } from "../Metrics.ts"
import { abandon, abandonAll, refuse, takeWaiting } from "./answering.ts"
import {
  type Cell,
  type Ending,
  type EpochScope,
  forgotten,
  isPausing,
  transition,
  unstored
} from "./cell.ts"
import { explain, hasError, report } from "./logging.ts"
import { occupy } from "./occupying.ts"
import { freeAddress } from "./running.ts"
import { wake } from "./sending.ts"

/** Whether another writer took over the history: then this actor must never write again. */
export const isFenced = (cause: Cause.Cause<unknown>): boolean =>
  hasError(cause, (error) => error instanceof Fenced)

export const endingOf = (cause: Cause.Cause<unknown>): Ending => ({
  reason: isFenced(cause) ? "journal" : "crashed",
  detail: explain(cause)
})

/**
 * Handles a defect or a failed effect, which ends the generation. A turn on the stack first answers
 * its batch, and decided events are still written.
 */
export const crash = (cell: Cell, cause: Cause.Cause<unknown>): void => {
  const { phase } = cell
  if (phase === "turning") cell.failure ??= cause
  else if (phase === "ready" || phase === "waiting") fail(cell, cause)
}

/** Ends the generation and reports it. */
export const fail = (cell: Cell, cause: Cause.Cause<unknown>): void => {
  const { context, definition, generation } = cell
  cell.failure = undefined
  transition(cell, "crashed")
  Metric.withAttributes(crashes, { actor: definition.name }).updateUnsafe(1, context)
  cell.life.crashed(cell, generation, cause)
}

/** Closes the generation's Scope, and then makes the actor halted or passive. */
export const release = (cell: Cell, to: "halted" | "passive"): void => {
  transition(cell, "releasing")
  // Without a history, the reasons for which they wait are lost.
  const waiting = cell.definition.durable ? [] : takeWaiting(cell)
  const close = closeGeneration(cell)
  if (close === undefined) released(cell, to)
  else {
    occupy(cell, close, () => {
      // The actor may have ended since.
      if (cell.phase === "releasing") released(cell, to)
    })
  }
  abandon(cell, waiting, { reason: "crashed", detail: "" })
}

const released = (cell: Cell, to: "halted" | "passive"): void => {
  if (to === "halted" || isPausing(cell)) return halted(cell)
  transition(cell, "passive")
  cell.state = forgotten
  if (cell.mailbox.length > 0) wake(cell)
  else if (cell.closing) end(cell, { reason: "stopped", detail: "" })
}

/** No generation lives. */
export const halted = (cell: Cell): void => {
  transition(cell, "halted")
  tellHalted(cell)
}

const tellHalted = (cell: Cell): void => {
  const { halts } = cell
  cell.halts = undefined
  for (const tell of halts ?? []) tell()
}

/** Takes the Scope from the cell; undefined if there is nothing to close. */
const closeGeneration = (cell: Cell): Effect.Effect<void> | undefined => {
  const { scope } = cell
  cell.scope = undefined
  return scope === undefined ? undefined : closeEpoch(cell, scope)
}

/**
 * Closes the Scope of an epoch, and waits for the one before it. A finalizer that fails is logged,
 * since no caller waits that could handle it.
 */
export const closeEpoch = (cell: Cell, { before, scope }: EpochScope): Effect.Effect<void> => {
  const close = Scope.close(scope, Exit.void).pipe(
    Effect.catchCause((cause) =>
      report("Error", "a finalizer failed", cause, { actor: cell.address })
    )
  )
  return before === undefined ? close : Effect.andThen(close, Fiber.await(before))
}

/** Ends the actor for good. The first reason counts. */
export const end = (cell: Cell, ending: Ending): void => {
  const { fiber, held, phase } = cell
  if (phase === "ending" || phase === "ended") return
  transition(cell, "ending")
  cell.closing = true
  cell.end = ending
  const lost = unstored(cell)
  cell.append = undefined
  cell.unwritten = undefined
  cell.idle?.timer?.interruptUnsafe()
  cell.held = undefined
  for (const batch of lost) refuse(cell, batch, ending)
  if (held !== undefined) refuse(cell, held, ending)
  abandonAll(cell, ending)
  const close = closeGeneration(cell)
  if (fiber === undefined && close === undefined) return over(cell)
  const stop = phase === "recovering" ? Fiber.interrupt : Fiber.await
  const occupied = fiber === undefined ? Effect.void : stop(fiber)
  const released = Effect.andThen(occupied, close ?? Effect.void)
  cell.fork(Effect.onExit(released, () => Effect.sync(() => over(cell))))
}

const over = (cell: Cell): void => {
  transition(cell, "ended")
  freeAddress(cell)
  const told = cell.onEnd
  cell.onEnd = undefined
  for (const tell of told ?? []) tell()
  tellHalted(cell)
  cell.fork(Scope.close(cell.lifetime, Exit.void))
}

/** Ends an actor for good whose generation failed, and logs why for the operator. */
export const endFailed = (cell: Cell, cause: Cause.Cause<unknown>): void => {
  if (cell.phase === "ending" || cell.phase === "ended") return
  const { address: actor } = cell
  cell.fork(report("Error", "the actor has ended after a failure", cause, { actor }))
  end(cell, endingOf(cause))
}

/** Calls back when the actor has ended; returns a function that cancels the callback. */
export const onEnd = (cell: Cell, tell: () => void): (() => void) => {
  if (cell.phase === "ended") {
    tell()
    return () => undefined
  }
  const waiting = (cell.onEnd ??= new Set())
  waiting.add(tell)
  return () => waiting.delete(tell)
}

/** Ends the actor and waits until everything is released. */
export const endWith = (cell: Cell, ending: Ending): Effect.Effect<void> =>
  Effect.callback((resume) => {
    end(cell, ending)
    return Effect.sync(onEnd(cell, () => resume(Effect.void)))
  })

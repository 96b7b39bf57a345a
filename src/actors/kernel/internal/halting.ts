/**
 * How a generation ends: by a crash, for a restart, or with the actor. Whatever the way, its
 * Scope closes once, and every message that waited is answered once.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Fenced } from "../../../schema/JournalRecord.ts"
import { abandonWaiting, refuse, stoppedBy } from "./answering.ts"
import { type Appending, type Cell, type Ending, type EpochScope, nothing } from "./cell.ts"

/** Whether another writer took over the history: then this actor must never write again. */
export const isFenced = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) => Cause.isFailReason(reason) && reason.error instanceof Fenced)

export const endingOf = (cause: Cause.Cause<unknown>): Ending => ({
  reason: isFenced(cause) ? "journal" : "crashed",
  detail: Cause.pretty(cause)
})

/** Closes the generation's Scope and forgets what belonged to it. */
export const release = (cell: Cell): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { scope } = cell
    const { held } = cell
    cell.scope = undefined
    cell.held = undefined
    cell.appending = undefined
    cell.unwritten = undefined
    if (held !== undefined) refuse(cell, held, "released")
    // Without a history, what they wait for is forgotten.
    if (!cell.definition.durable) {
      abandonWaiting(cell, Exit.fail(stoppedBy(cell, "crashed", "unknown")))
    }
    if (scope === undefined) return Effect.void
    const close = closeEpoch(cell, scope)
    return cell.defects.overlapGenerations ? Effect.asVoid(Effect.forkDetach(close)) : close
  })

/**
 * Closes the Scope of an epoch, and waits for the one before it. A finalizer that fails is
 * logged, since nobody waits who could handle it.
 */
export const closeEpoch = (cell: Cell, { before, scope }: EpochScope): Effect.Effect<void> => {
  const close = Scope.close(scope, Exit.void).pipe(
    Effect.catchCause((cause) =>
      Effect.annotateLogs(Effect.logError("a finalizer failed", cause), { actor: cell.address })
    )
  )
  return before === undefined ? close : Effect.andThen(close, Fiber.await(before))
}

/**
 * Ends a generation so that another one can begin: an append under way is awaited, and messages
 * stay in the mailbox. After a crash there is nothing to await.
 */
export const halt = (cell: Cell): Effect.Effect<void> =>
  Effect.suspend(() => {
    cell.pausing = true
    const { appending } = cell
    if (appending !== undefined && cell.phase !== "halting") {
      return Effect.andThen(awaitAppend(appending), halt(cell))
    }
    if (cell.phase !== "ended") cell.phase = "halting"
    return Effect.andThen(
      release(cell),
      Effect.sync(() => {
        cell.pausing = false
        if (cell.phase === "halting") cell.phase = "halted"
      })
    )
  })

const awaitAppend = (appending: Appending): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (appending.ended) resume(Effect.void)
    else appending.onEnd = () => resume(Effect.void)
  })

/** The last message was worked on: the events written behind are awaited, then all is over. */
export const finish = (cell: Cell): void => {
  cell.closing = true
  cell.phase = "halting"
  cell.fork(endWith(cell, { reason: "stopped", detail: "" }))
}

/** Ends the actor for good. The first reason counts. */
export const endWith = (cell: Cell, ending: Ending): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (cell.phase === "ended") return Effect.void
    cell.phase = "ended"
    cell.closing = true
    cell.end = ending
    cell.idleTimer?.interruptUnsafe()
    const waiting = cell.stash.concat(cell.mailbox)
    cell.stash = nothing
    cell.mailbox = nothing
    for (const envelope of waiting) {
      if (envelope.asked)
        envelope.answer(Exit.fail(stoppedBy(cell, ending.reason, "not-run", ending.detail)))
    }
    abandonWaiting(cell, Exit.fail(stoppedBy(cell, ending.reason, "unknown", ending.detail)))
    return Effect.andThen(
      release(cell),
      Effect.suspend(() => {
        cell.over = true
        const told = cell.onEnd
        cell.onEnd = undefined
        for (const tell of told ?? []) tell()
        return Scope.close(cell.lifetime, Exit.void)
      })
    )
  })

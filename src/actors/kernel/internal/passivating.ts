/** Forgets the state of an actor that gets no messages. The next message recovers it. */
import * as Effect from "effect/Effect"
import type { Cell } from "./cell.ts"
import { release } from "./releasing.ts"

/** Whether the end of the generation would lose nothing of the actor. */
const isIdle = ({ append, mailbox, phase, scope, stash, waiting }: Cell): boolean =>
  phase === "ready" &&
  (scope === undefined || scope.running === 0) &&
  mailbox.length === 0 &&
  stash.length === 0 &&
  append === undefined &&
  (waiting === undefined || waiting.size === 0)

/**
 * Notes that the actor is idle; a timer checks whether it stays so. Called again when the last
 * reason to stay has gone: a message, a waiting caller, an append, an effect.
 */
export const restUntilNeeded = (cell: Cell): void => {
  const after = cell.definition.passivateAfterMillis
  if (after === undefined) return
  const idle = (cell.idle ??= { since: 0, timer: undefined })
  idle.since = cell.monotonicNow()
  if (idle.timer !== undefined || !isIdle(cell)) return
  const watch: Effect.Effect<void> = Effect.suspend(() => {
    const left = idle.since + after - cell.monotonicNow()
    if (left > 0) return Effect.andThen(Effect.sleep(left), watch)
    idle.timer = undefined
    // In one step with the check of the cell: a fiber may yield between any two effects.
    if (isIdle(cell)) release(cell, "passive")
    return Effect.void
  })
  idle.timer = cell.fork(watch)
}

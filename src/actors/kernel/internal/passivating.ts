/** Forgets the state of an actor that nobody talks to. The next message recovers it. */
import * as Effect from "effect/Effect"
import type { Cell } from "./cell.ts"
import { release } from "./halting.ts"
import { wake } from "./sending.ts"

/** Notes that the actor has nothing to do; a timer looks whether it stays so. */
export const restUntilNeeded = (cell: Cell): void => {
  const after = cell.definition.passivateAfterMillis
  if (after === undefined) return
  cell.idleSince = cell.now()
  if (cell.idleTimer !== undefined) return
  const watch: Effect.Effect<void> = Effect.suspend(() => {
    const left = cell.idleSince + after - cell.now()
    if (left > 0) return Effect.andThen(Effect.sleep(left), watch)
    cell.idleTimer = undefined
    const idle = cell.phase === "ready" && cell.mailbox.length === 0 && cell.stash.length === 0
    const awaited = (cell.waiting?.size ?? 0) > 0
    if (!idle || awaited || cell.stored !== cell.seq) return Effect.void
    // In one step with the look at the phase: a fiber may yield between any two effects.
    cell.phase = "halting"
    return Effect.andThen(
      release(cell),
      Effect.sync(() => forget(cell))
    )
  })
  cell.idleTimer = cell.fork(watch)
}

const forget = (cell: Cell): void => {
  if (cell.phase !== "halting") return
  cell.phase = "passive"
  cell.state = cell.definition.initial
  if (cell.mailbox.length > 0) wake(cell)
}

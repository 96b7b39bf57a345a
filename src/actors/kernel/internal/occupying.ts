/**
 * Runs work of a cell in a fiber that is known before its first step, so that an end waits for it.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Cell } from "./cell.ts"

/**
 * Forks an effect, and notes the fiber before its first step, because that step may end the actor.
 * A scheduler may also delay the first step, so the fiber is noted on return at the latest.
 */
export const forkNoted = <A, E>(
  cell: Cell,
  effect: Effect.Effect<A, E>,
  note: (fiber: Fiber.Fiber<unknown, unknown>) => void
): Fiber.Fiber<A, E> => {
  let isNoted = false
  const noteOnce = (fiber: Fiber.Fiber<unknown, unknown>) => {
    if (!isNoted) note(fiber)
    isNoted = true
  }
  const noting = Effect.withFiber<A, E>((fiber) => {
    noteOnce(fiber)
    return effect
  })
  const fiber = cell.fork(noting)
  noteOnce(fiber)
  return fiber
}

/** Runs an effect that an end of the actor waits for, and then takes the next step. */
export const occupy = <A, E>(
  cell: Cell,
  effect: Effect.Effect<A, E>,
  next: (exit: Exit.Exit<A, E>) => void
): Fiber.Fiber<A, E> => {
  const occupied = Effect.onExit(effect, (exit) =>
    Effect.sync(() => {
      cell.fiber = undefined
      next(exit)
    })
  )
  return forkNoted(cell, occupied, (fiber) => {
    cell.fiber = fiber
  })
}

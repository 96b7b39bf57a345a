/**
 * Effects that the kernel can run without a fiber.
 *
 * A thousand actors that persist together would suspend a thousand fibers for each commit, and
 * objects that survive that long make the collector's pauses longer than everything else. An effect
 * that only waits for a callback is marked here, and the kernel passes its callback directly. It
 * stays an ordinary Effect: one that wraps it runs in a fiber as usual.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

type Done<A, E> = (exit: Exit.Exit<A, E>) => void
type Register<A, E> = (done: Done<A, E>) => void

class Direct<A, E> extends Effectable.Class<A, E> {
  readonly register: Register<A, E>

  constructor(register: Register<A, E>) {
    super()
    this.register = register
  }

  asEffect(): Effect.Effect<A, E> {
    return Effect.callback((resume) => this.register(resume))
  }
}

/** An effect that ends when `register` calls back, once, at once or later. */
export const direct = <A, E>(register: Register<A, E>): Effect.Effect<A, E> => new Direct(register)

/** Runs effects in fibers: a cell. */
interface Forks {
  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E>
}

/** Runs an effect in a cell's context; `done` is called with its exit, at once or later. */
export const run = <A, E>(cell: Forks, effect: Effect.Effect<A, E>, done: Done<A, E>): void => {
  if (effect instanceof Direct) effect.register(done)
  else cell.fork(effect).addObserver(done)
}

/** Actors and effects as children of a supervisor. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Cell, Life } from "./cell.ts"
import { halt } from "./halting.ts"
import { lifeWith } from "./life.ts"
import { recover } from "./recovering.ts"
import { endWith } from "./releasing.ts"
import type { Child, Supervision } from "./supervising.ts"

export class SupervisedActor implements Child {
  readonly #cell: Cell

  constructor(cell: Cell, supervision: Supervision) {
    this.#cell = cell
    ;(cell.onEnd ??= new Set()).add(() => supervision.remove(cell))
  }
  get name() {
    return this.#cell.address
  }
  get halt() {
    return halt(this.#cell)
  }
  get resume() {
    return recover(this.#cell)
  }
  end(detail: string) {
    return endWith(this.#cell, { reason: "crashed", detail })
  }
}

/** The life of the actors of one supervisor. */
export const supervisedLife = (supervision: Supervision): Life =>
  lifeWith((cell, _, cause) => supervision.crashed(cell, cause))

/** An effect that is run again when it fails, each time in a Scope of its own. */
export const supervisedEffect = Effect.fnUntraced(function* <E, R>(
  name: string,
  effect: Effect.Effect<unknown, E, R>,
  supervision: Supervision
) {
  const context = yield* Effect.context<R>()
  const subject = {}
  let running: { readonly scope: Scope.Closeable; fiber: Fiber.Fiber<unknown, E> } | undefined
  const halt = Effect.suspend(() => {
    if (running === undefined) return Effect.void
    const { fiber, scope } = running
    running = undefined
    return Effect.andThen(Fiber.interrupt(fiber), Scope.close(scope, Exit.void))
  })
  const resume = Effect.sync(() => {
    const scope = Scope.makeUnsafe()
    const fiber = Effect.runForkWith(context)(Scope.provide(effect, scope))
    running = { scope, fiber }
    fiber.addObserver((exit) => {
      if (running?.fiber !== fiber) return
      if (Exit.isFailure(exit)) supervision.crashed(subject, exit.cause)
      else {
        supervision.remove(subject)
        Effect.runForkWith(context)(halt)
      }
    })
  })
  const child: Child = { name, halt, resume, end: () => halt }
  yield* Effect.addFinalizer(() => halt)
  supervision.add(subject, child)
  yield* resume
})

/** Actors and effects as children of a supervisor. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import type { RestartsExhausted } from "../ActorError.ts"
import type { Cell, Life } from "./cell.ts"
import { halt } from "./halting.ts"
import { lifeWith } from "./recovering.ts"
import { recoverNow } from "./recovering.ts"
import { endWith } from "./releasing.ts"
import { newRecord } from "./restarting.ts"
import { type Child, haltSafely } from "./child.ts"
import type { RecoveryError } from "./restoring.ts"
import type { Supervision } from "./supervising.ts"

export class SupervisedActor implements Child<RecoveryError> {
  readonly subject: Cell
  record = newRecord
  storedAtFailure = 0
  account: Child["account"] = undefined
  backoff: Child["backoff"] = undefined

  constructor(cell: Cell, supervision: Supervision) {
    this.subject = cell
    ;(cell.onEnd ??= new Set()).add(() => supervision.remove(cell))
  }

  get name() {
    return this.subject.address
  }

  get generation() {
    return this.subject.generation
  }

  get isBeginning() {
    const { phase } = this.subject
    return phase === "recovering" || phase === "halted"
  }

  get stored() {
    return this.subject.stored
  }

  begin(): Effect.Effect<void, RecoveryError> {
    return recoverNow(this.subject)
  }

  get halt() {
    return halt(this.subject)
  }

  end(failure: RestartsExhausted) {
    return endWith(this.subject, { reason: "crashed", detail: failure.message })
  }
}

/** The life of the actors of one supervisor. */
export const supervisedLife = (supervision: Supervision): Life =>
  lifeWith((cell, generation, cause) => supervision.crashed(cell, generation, cause))

/** One run of a supervised effect. */
interface Run {
  readonly scope: Scope.Closeable
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** Opens when all is released; made by the first halt. */
  released: Latch.Latch | undefined
}

/** An effect that is run again when it fails, with a new Scope for each run. */
export class SupervisedRun implements Child<never> {
  readonly subject = this
  readonly name: string
  generation = 0
  record = newRecord
  readonly stored = 0
  storedAtFailure = 0
  readonly isBeginning = false
  account: Child["account"] = undefined
  backoff: Child["backoff"] = undefined
  readonly #start: (scope: Scope.Scope) => Fiber.Fiber<unknown, unknown>
  readonly #supervision: Supervision
  /** A child of the supervisor's Scope; it closes when the effect has ended for good. */
  readonly #lifetime: Scope.Closeable
  #run: Run | undefined = undefined

  constructor(
    name: string,
    start: (scope: Scope.Scope) => Fiber.Fiber<unknown, unknown>,
    supervision: Supervision,
    lifetime: Scope.Closeable
  ) {
    this.name = name
    this.#start = start
    this.#supervision = supervision
    this.#lifetime = lifetime
  }

  begin(): Effect.Effect<void> {
    const { context } = this.#supervision.settings
    const generation = ++this.generation
    const scope = Scope.makeUnsafe()
    const run: Run = { scope, fiber: this.#start(scope), released: undefined }
    this.#run = run
    run.fiber.addObserver((exit) => {
      if (this.#run !== run || run.released !== undefined) return
      if (Exit.isFailure(exit)) this.#supervision.crashed(this, generation, exit.cause)
      else {
        // Halted first: its Scope stays in the supervisor's until all is released.
        Effect.runForkWith(context)(
          Effect.andThen(
            haltSafely(this),
            Effect.suspend(() => this.end())
          )
        )
      }
    })
    return Effect.void
  }

  get halt() {
    return Effect.uninterruptible(
      Effect.suspend(() => {
        const run = this.#run
        if (run === undefined) return Effect.void
        if (run.released !== undefined) return run.released.await
        const released = (run.released = Latch.makeUnsafe(false))
        return Fiber.interrupt(run.fiber).pipe(
          Effect.andThen(Scope.close(run.scope, Exit.void)),
          Effect.ensuring(Effect.sync(() => released.openUnsafe()))
        )
      })
    )
  }

  end(): Effect.Effect<void> {
    this.#supervision.remove(this)
    return Scope.close(this.#lifetime, Exit.void)
  }
}

/**
 * What a supervisor does about a crash: whom it halts, how long it waits, whom it starts again,
 * and when it gives up. One crash is dealt with at a time.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { RestartsExhausted } from "../ActorError.ts"
import { type RestartBudget, spend } from "./restartBudget.ts"

/** What can be supervised. A generation of it begins with `resume` and is over after `halt`. */
export interface Child {
  readonly name: string
  /** Closes the generation's Scope. Halting what is halted does nothing. */
  readonly halt: Effect.Effect<void>
  readonly resume: Effect.Effect<void, unknown>
  /** No generation will follow. */
  readonly end: (detail: string) => Effect.Effect<void>
}

/** Who is restarted with a child that crashed: nobody, all, or those started after it. */
export type Strategy = "one-for-one" | "one-for-all" | "rest-for-one"

export interface Settings {
  readonly strategy: Strategy
  readonly max: number
  readonly withinMillis: number
  readonly backoff: Schedule.Schedule<unknown, Cause.Cause<unknown>>
  readonly parent: Supervision | undefined
  readonly context: Context.Context<never>
  /** With it everything ends, also a wait before a restart. */
  readonly scope: Scope.Scope
}

type Step = (
  now: number,
  cause: Cause.Cause<unknown>
) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

export class Supervision implements Child {
  readonly name = "supervisor"
  readonly settings: Settings
  /** By the thing that crashes, in the order of their start. */
  readonly children = new Map<object, Child>()
  readonly #oneAtATime = Semaphore.makeUnsafe(1)
  readonly #failure = Deferred.makeUnsafe<never, RestartsExhausted>()
  #budget: RestartBudget
  #step: Step | undefined = undefined
  #over = false

  constructor(settings: Settings) {
    this.settings = settings
    this.#budget = { max: settings.max, withinMillis: settings.withinMillis, spent: [] }
    settings.parent?.add(this, this)
  }

  get failed(): Effect.Effect<never, RestartsExhausted> {
    return Deferred.await(this.#failure)
  }

  add(subject: object, child: Child): void {
    this.children.set(subject, child)
  }

  remove(subject: object): void {
    this.children.delete(subject)
  }

  crashed(subject: object, cause: Cause.Cause<unknown>): void {
    const { context, scope } = this.settings
    const dealing = this.#oneAtATime.withPermit(this.#deal(subject, cause))
    Fiber.runIn(Effect.runForkWith(context)(dealing), scope)
  }

  get halt(): Effect.Effect<void> {
    return Effect.suspend(() => haltAll([...this.children.values()]))
  }

  /** A supervisor that its own supervisor restarts begins with a fresh budget. */
  get resume(): Effect.Effect<void, unknown> {
    return Effect.suspend(() => {
      this.#over = false
      this.#budget = { ...this.#budget, spent: [] }
      return Effect.forEach(this.children.values(), (child) => child.resume, { discard: true })
    })
  }

  end(detail: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#over = true
      const children = [...this.children.values()].toReversed()
      return Effect.forEach(children, (child) => child.end(detail), { discard: true })
    })
  }

  #deal(subject: object, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const child = this.children.get(subject)
      if (this.#over || child === undefined) return Effect.void
      const affected = this.#affectedBy(subject, child)
      return haltAll(affected.map(([, other]) => other)).pipe(
        Effect.andThen(this.#delay(child, cause)),
        Effect.flatMap((go) => (go ? this.#start(affected) : this.#giveUp(child, cause)))
      )
    })
  }

  #affectedBy(subject: object, child: Child): ReadonlyArray<[object, Child]> {
    const { strategy } = this.settings
    if (strategy === "one-for-one") return [[subject, child]]
    const all = [...this.children]
    return strategy === "one-for-all"
      ? all
      : all.slice(all.findIndex(([other]) => other === subject))
  }

  /** Waits as long as the backoff says; false when there is no restart left. */
  #delay(child: Child, cause: Cause.Cause<unknown>): Effect.Effect<boolean> {
    const take = Effect.fnUntraced(function* (self: Supervision) {
      const now = yield* Clock.currentTimeMillis
      const { allowed, budget, calm } = spend(self.#budget, now)
      self.#budget = budget
      if (!allowed) return false
      if (calm || self.#step === undefined) {
        self.#step = yield* Schedule.toStep(self.settings.backoff)
      }
      const [, delay] = yield* self.#step(now, cause)
      yield* Effect.logWarning("restarting after a crash", cause).pipe(
        Effect.annotateLogs({ child: child.name })
      )
      yield* Effect.sleep(delay)
      return true
    })
    return Pull.catchDone(take(this), () => Effect.succeed(false))
  }

  /** Starts in order. A child that cannot recover has crashed again. */
  #start(children: ReadonlyArray<[object, Child]>): Effect.Effect<void> {
    return Effect.forEach(
      children.filter(([subject]) => this.children.has(subject)),
      ([subject, child]) =>
        Effect.catchCause(child.resume, (cause) => Effect.sync(() => this.crashed(subject, cause))),
      { discard: true }
    )
  }

  #giveUp(child: Child, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    const { max, parent, withinMillis } = this.settings
    const failure = new RestartsExhausted({
      child: child.name,
      restarts: max,
      withinMillis,
      lastFailure: Cause.pretty(cause)
    })
    this.#over = true
    if (parent !== undefined) {
      return Effect.andThen(
        this.halt,
        Effect.sync(() => parent.crashed(this, Cause.fail(failure)))
      )
    }
    return Effect.andThen(
      this.end(failure.message),
      Effect.sync(() => Deferred.doneUnsafe(this.#failure, Effect.fail(failure)))
    )
  }
}

/** Halts in the reverse order of the start. */
const haltAll = (children: ReadonlyArray<Child>): Effect.Effect<void> =>
  Effect.forEach(children.toReversed(), (child) => child.halt, { discard: true })

/**
 * Executes the orders of `restarting.ts`.
 *
 * One fiber per supervisor reads crashes from a queue. A restart is a separate fiber, a *repair*:
 * it halts its children in the reverse order of their start, waits and starts them in order. So
 * unrelated children do not wait for each other, and a crash in the middle of a repair replaces
 * that repair. Halting the supervisor interrupts the reader and all repairs, and waits for them,
 * before it halts the children.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Pull from "effect/Pull"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { RestartsExhausted, SupervisorStopped } from "../ActorError.ts"
import {
  type BackoffStep,
  type Child,
  type Crash,
  endSafely,
  haltSafely,
  isOutage
} from "./child.ts"
import { explain, report } from "./logging.ts"
import { interruptRepairs, Repairs } from "./repairs.ts"
import {
  affectedBy,
  type Input,
  newRecord,
  type Order,
  step,
  type Strategy,
  type SupervisorState
} from "./restarting.ts"

export interface Settings {
  readonly strategy: Strategy
  readonly max: number
  readonly per: "supervisor" | "child"
  readonly withinMillis: number
  readonly outageMillis: number
  readonly backoff: Schedule.Schedule<unknown, Cause.Cause<unknown>>
  readonly parent: Supervision | undefined
  readonly context: Context.Context<never>
  /** The Scope of its children. */
  readonly scope: Scope.Scope
}

export class Supervision implements Child<never> {
  readonly subject = this
  readonly name = "supervisor"
  readonly settings: Settings
  generation = 0
  record = newRecord
  readonly stored = 0
  storedAtFailure = 0
  readonly isBeginning = false
  account: SupervisorState | undefined = undefined
  backoff: BackoffStep | undefined = undefined
  /** By the subject of their crash reports, in the order of their start. */
  readonly children = new Map<object, Child>()
  readonly #crashes: Queue.Queue<Crash>
  readonly #repairs: Repairs
  readonly #failure = Deferred.makeUnsafe<never, RestartsExhausted>()
  /** Open unless this supervisor is halted by its parent. */
  readonly #begun = Latch.makeUnsafe(false)
  #state: SupervisorState
  #reader: Fiber.Fiber<never> | undefined = undefined
  #stopped: SupervisorStopped | undefined = undefined
  /** Set when this supervisor has given up for good. */
  #gaveUp: RestartsExhausted | undefined = undefined

  /** The children bound the queue: each reports one crash a generation. */
  constructor(settings: Settings, crashes: Queue.Queue<Crash>) {
    const { max, withinMillis } = settings
    this.settings = settings
    this.#crashes = crashes
    this.#repairs = new Repairs(settings.context)
    this.#state = { phase: "halted", budget: { max, withinMillis, spent: [] }, outage: undefined }
  }

  get failed(): Effect.Effect<never, RestartsExhausted> {
    return Deferred.await(this.#failure)
  }

  /** Adds a child and starts it. Waits while this supervisor is halted. */
  start<E>(child: Child<E>): Effect.Effect<void, E | SupervisorStopped> {
    return Effect.suspend((): Effect.Effect<void, E | SupervisorStopped> => {
      if (this.#stopped !== undefined) return Effect.fail(this.#stopped)
      if (this.#state.phase !== "running") {
        return Effect.andThen(this.#begun.await, this.start(child))
      }
      this.children.set(child.subject, child)
      return child.begin()
    })
  }

  /** Adds a child supervisor. It runs when this one does. */
  adopt(child: Supervision): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { phase } = this.#state
      if (phase === "ended") return child.close("closed")
      this.children.set(child, child)
      return phase === "running" ? child.begin() : Effect.void
    })
  }

  remove(subject: object): void {
    this.children.delete(subject)
  }

  /** Reports that a generation of a child has crashed. */
  crashed(subject: object, generation: number, cause: Cause.Cause<unknown>): void {
    const failure = this.#gaveUp
    if (failure === undefined) Queue.offerUnsafe(this.#crashes, { subject, generation, cause })
    else {
      // Ending another child may take long, and it is not restarted.
      const child = this.children.get(subject)
      if (child !== undefined) this.#fork(endSafely(child, failure))
    }
  }

  begin(): Effect.Effect<void> {
    if (this.#decide({ _tag: "Start" })._tag === "Nothing") return Effect.void
    this.generation++
    const members = [...this.children.values()]
    for (const child of members) child.record = { ...child.record, restarting: true }
    this.#reader = this.#fork(Effect.forever(this.#readOne))
    const starting = this.#repairs.run(members, this.#startAll(members))
    this.#begun.openUnsafe()
    return Effect.asVoid(Fiber.await(starting))
  }

  get halt(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#decide({ _tag: "Halt" })._tag === "Nothing") return Effect.void
      this.#begun.closeUnsafe()
      return Effect.andThen(this.#interrupt, haltAll([...this.children.values()]))
    })
  }

  end(failure: RestartsExhausted): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#decide({ _tag: "End" })._tag === "Nothing") return Effect.void
      this.#gaveUp = failure
      this.#refuse("gave-up", failure.message)
      Deferred.doneUnsafe(this.#failure, Effect.fail(failure))
      const children = [...this.children.values()].toReversed()
      const end = (child: Child) => endSafely(child, failure)
      return Effect.andThen(this.#interrupt, Effect.forEach(children, end, { discard: true }))
    })
  }

  /** Ends supervision. The children end with their Scope. */
  close(reason: SupervisorStopped["reason"]): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.settings.parent?.remove(this)
      if (this.#decide({ _tag: "End" })._tag === "Nothing") return Effect.void
      this.#refuse(reason, "")
      return this.#interrupt
    })
  }

  #decide(input: Input): Order {
    const { order, state } = step(this.settings, this.#state, input)
    this.#state = state
    return order
  }

  /** Decides about a crash by the budget that it is counted in. */
  #decideAbout(child: Child, input: Input): Order {
    const { max, per, withinMillis } = this.settings
    if (per === "supervisor" || this.#state.phase !== "running") return this.#decide(input)
    const budget = { max, withinMillis, spent: [] }
    const account = child.account ?? { phase: "running", budget, outage: undefined }
    const { order, state } = step(this.settings, account, input)
    child.account = state
    return order
  }

  #refuse(reason: SupervisorStopped["reason"], detail: string): void {
    this.#stopped = new SupervisorStopped({ reason, detail })
    this.#begun.openUnsafe()
  }

  #fork<A>(effect: Effect.Effect<A>): Fiber.Fiber<A> {
    return Effect.runForkWith(this.settings.context)(effect)
  }

  /** Once this is done, the supervisor halts and starts no children. */
  get #interrupt(): Effect.Effect<void> {
    const reader = Effect.suspend(() =>
      this.#reader === undefined ? Effect.void : Fiber.interrupt(this.#reader)
    )
    return Effect.andThen(
      Effect.uninterruptible(reader),
      Effect.suspend(() => interruptRepairs(this.#repairs.all))
    )
  }

  get #readOne(): Effect.Effect<void> {
    return Effect.flatMap(Queue.take(this.#crashes), (crash) =>
      Effect.flatMap(Clock.monotonicTimeNanos, (nanos) => this.#deal(crash, Number(nanos) / 1e6))
    )
  }

  #deal({ cause, generation, subject }: Crash, at: number): Effect.Effect<void> {
    const child = this.children.get(subject)
    if (child === undefined) return Effect.void
    const source = isOutage(cause) ? "journal" : "child"
    const { record } = child
    const hasStored = child.stored > child.storedAtFailure
    if (source === "journal") child.storedAtFailure = child.stored
    const crash: Input = { _tag: "Crashed", record, generation, source, hasStored, at }
    const order = this.#decideAbout(child, crash)
    if (order._tag === "GiveUp") return this.#giveUp(child, cause, order)
    if (order._tag !== "Restart") return Effect.void
    const affected = affectedBy(this.settings.strategy, this.children.values(), child)
    for (const other of affected) other.record = { ...other.record, restarting: true }
    const withoutBackoff = (why: Cause.Cause<unknown>) => {
      const order = this.#decideAbout(child, { _tag: "BackoffEnded" })
      return order._tag === "GiveUp" ? this.#giveUp(child, why, order) : Effect.void
    }
    return this.#delay(child, cause, at, order.freshBackoff).pipe(
      Effect.flatMap((delay) => Effect.sync(() => void this.#restart(affected, delay))),
      Pull.catchDone(() => withoutBackoff(cause)),
      // A schedule that throws also allows no further restart.
      Effect.catchCause((defect) => withoutBackoff(Cause.combine(cause, defect)))
    )
  }

  #delay(
    child: Child,
    cause: Cause.Cause<unknown>,
    at: number,
    fresh: boolean
  ): Pull.Pull<Duration.Duration, never, unknown> {
    return Effect.gen({ self: this }, function* () {
      const known = fresh ? undefined : child.backoff
      const next = known ?? (yield* Schedule.toStep(this.settings.backoff))
      child.backoff = next
      const [, delay] = yield* next(at, cause)
      child.record = { ...child.record, restartAt: at + Duration.toMillis(delay) }
      const annotations = { child: child.name, delay: Duration.format(delay) }
      yield* report("Warn", "restarting after a crash", cause, annotations)
      return delay
    })
  }

  #restart(affected: ReadonlyArray<Child>, delay: Duration.Duration): void {
    const replaced = this.#repairs.of(affected)
    const chosen = new Set([...affected, ...replaced.flatMap((one) => this.#repairs.rest(one))])
    // At once, so that none of them begins a child that is chosen here because it has not begun.
    for (const { fiber } of replaced) fiber?.interruptUnsafe()
    const members =
      chosen.size === 1 ? affected : [...this.children.values()].filter((one) => chosen.has(one))
    for (const child of members) child.record = { ...child.record, restarting: true }
    const repair = interruptRepairs(replaced).pipe(
      Effect.andThen(haltAll(members)),
      Effect.andThen(Effect.sleep(delay)),
      Effect.andThen(this.#startAll(members))
    )
    this.#repairs.run(members, repair)
  }

  /** Starts in order. A child that cannot begin has crashed again. */
  #startAll(members: ReadonlyArray<Child>): Effect.Effect<void> {
    const start = (child: Child) =>
      Effect.suspend(() => {
        if (this.children.get(child.subject) !== child) return Effect.void
        child.record = { ...child.record, restarting: false, condemned: child.generation }
        return child.begin().pipe(
          Effect.catchCause((cause) =>
            Effect.sync(() => this.crashed(child.subject, child.generation, cause))
          ),
          Effect.andThen(Effect.sync(() => this.#repairs.leave(child)))
        )
      })
    return Effect.forEach(members, start, { discard: true })
  }

  #giveUp(
    child: Child,
    cause: Cause.Cause<unknown>,
    { restarts, withinMillis }: Extract<Order, { readonly _tag: "GiveUp" }>
  ): Effect.Effect<void> {
    const { parent, per } = this.settings
    const counts = { child: child.name, restarts, withinMillis }
    const failure = new RestartsExhausted({ ...counts, lastFailure: explain(cause) })
    if (per === "child") {
      const log = report("Error", "a child has spent its restarts and ends", cause, counts)
      return Effect.andThen(
        log,
        Effect.sync(() => void this.#fork(child.end(failure)))
      )
    }
    // Until this supervisor is started again or has ended, new children wait.
    this.#begun.closeUnsafe()
    if (parent !== undefined) {
      return Effect.sync(() => parent.crashed(this, this.generation, Cause.fail(failure)))
    }
    const log = report("Error", "supervisor gave up, its children end", cause, counts)
    // In a separate fiber, since it interrupts the one that runs this.
    return Effect.andThen(
      log,
      Effect.sync(() => void this.#fork(this.end(failure)))
    )
  }
}

/** Halts in the reverse order of the start. */
const haltAll = (children: ReadonlyArray<Child>): Effect.Effect<void> =>
  Effect.forEach(children.toReversed(), haltSafely, { discard: true })

/**
 * The state of one actor: a plain object that costs no fiber while there is nothing to do.
 *
 * ```
 * recovering ──▶ ready ◀──▶ turning ──▶ waiting (for the journal)
 *     ▲            │            └──▶ halting ──▶ halted ──▶ recovering
 *     └─ passive ◀─┘                                └────▶ ended
 * ```
 * Each phase has its file: recovering, turning, halting.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import type { Claim, NewEvent } from "../../../schema/JournalRecord.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { Stopped } from "../ActorError.ts"
import type { Tagged } from "../Behavior.ts"
import { Chaos } from "../Chaos.ts"
import type { Store } from "../Journal.ts"
import * as Decision from "../Decision.ts"
import { crashes } from "../Metrics.ts"
import { Defects } from "./defects.ts"
import type { Definition, Handler } from "./definition.ts"

export type Phase =
  | "recovering"
  | "ready"
  | "turning"
  | "waiting"
  | "halting"
  | "halted"
  | "passive"
  | "ended"

/** The epoch in which an effect was started. */
export interface Origin {
  readonly generation: number
  readonly epoch: Epoch
  /** The state named no epoch: this one is the actor's own. */
  readonly own: boolean
}

/** What callers hear of a batch: it happens when the batch has taken place, or is refused. */
export interface Outcome {
  readonly happen: (cell: Cell) => void
  readonly refuse: (exit: Exit.Exit<never, unknown>) => void
}

/** A message in a mailbox. `from` tells a signal's epoch; a command has none. */
export class Envelope implements Outcome {
  readonly handler: Handler
  readonly message: unknown
  readonly from: Origin | undefined
  /** Whether somebody waits for the answer. */
  readonly asked: boolean
  /** The answer, while it still depends on the journal. */
  draft: Exit.Exit<unknown, unknown> | undefined = undefined
  exit: Exit.Exit<unknown, unknown> | undefined = undefined
  resume: ((exit: Exit.Exit<unknown, unknown>) => void) | undefined = undefined
  /** The key that settles it, if the answer comes later. */
  pending: string | undefined = undefined

  constructor(handler: Handler, message: unknown, from: Envelope["from"], asked: boolean) {
    this.handler = handler
    this.message = message
    this.from = from
    this.asked = asked
  }

  answer(exit: Exit.Exit<unknown, unknown>): void {
    this.exit = exit
    this.resume?.(exit)
  }

  happen(cell: Cell): void {
    if (this.pending === undefined) return this.answer(this.draft ?? Exit.void)
    const waiting = (cell.waiting ??= new Map())
    const others = waiting.get(this.pending)
    if (others === undefined) waiting.set(this.pending, [this])
    else others.push(this)
  }

  refuse(exit: Exit.Exit<never, unknown>): void {
    this.answer(exit)
  }
}

/** Handles the message that asks an actor to end after everything before it. */
export const ending: Handler = { tag: "the end", decide: () => Decision.stop }
/** Handles the message with which each generation begins; the behavior decides. */
export const beginning: Handler = { tag: "the beginning", decide: () => Decision.none }

/** Stands for every empty mailbox and stash, so that an idle actor owns none. */
export const nothing: Array<Envelope> = []

/** What drives a cell. The phases call it, so that none of them needs to know the others. */
export interface Life {
  /** Works on the mailbox. */
  readonly turn: (cell: Cell) => void
  /** Recovers a passive actor. */
  readonly wake: (cell: Cell) => void
  /** Decides what comes of a crash. */
  readonly crashed: (cell: Cell, cause: Cause.Cause<unknown>) => void
}

/** The Scope of one epoch, in which the effects of its events run. */
export interface EpochScope extends Origin {
  readonly scope: Scope.Closeable
  /** Closes the Scope of the epoch before, while that is still under way. */
  readonly before: Fiber.Fiber<void> | undefined
  readonly self: unknown
}

/** What callers hear once the journal has the events that it depends on. */
export interface Held {
  readonly outcomes: ReadonlyArray<Outcome>
}

/** Stands for every list of snapshots that is empty. */
export const noSnapshots: ReadonlyArray<number> = []

/** An append that is under way; who ends the generation may wait for its end. */
export interface Appending {
  ended: boolean
  onEnd: (() => void) | undefined
}

/** Why an actor ended. */
export interface Ending {
  readonly reason: Stopped["reason"]
  readonly detail: string
}

export type Watcher = (event: Tagged | undefined, state: unknown) => void

export class Cell {
  readonly definition: Definition
  readonly id: string
  readonly context: Context.Context<never>
  readonly journal: Store | undefined
  readonly chaos: Chaos
  readonly life: Life
  /** A child of the Scope that spawned the actor; it closes when the actor has ended. */
  readonly lifetime: Scope.Closeable

  phase: Phase = "halted"
  generation = 0
  state: unknown
  claim: Claim | undefined = undefined
  /** The sequence number of the last event decided. */
  seq = 0
  /** The sequence number of the last event stored. */
  stored = 0
  /** The sequence number of the newest snapshot that was tried. */
  snapshotAt = 0
  /** The sequence numbers of the snapshots that are known to be stored, oldest first. */
  snapshots: ReadonlyArray<number> = noSnapshots

  mailbox: Array<Envelope> = nothing
  stash: Array<Envelope> = nothing
  /** Callers whose answer comes later, by the key that settles them. */
  waiting: Map<string, Array<Envelope>> | undefined = undefined
  scheduled = false
  /** No more messages are taken: the actor ends after the ones it has. */
  closing = false
  /** The turn stops before its next batch: somebody wants to end this generation. */
  pausing = false

  unwritten: ReadonlyArray<NewEvent> | undefined = undefined
  appending: Appending | undefined = undefined
  held: Held | undefined = undefined

  scope: EpochScope | undefined = undefined
  watchers: Set<Watcher> | undefined = undefined
  idleSince = 0
  idleTimer: Fiber.Fiber<void> | undefined = undefined
  end: Ending | undefined = undefined
  /** Everything is released. */
  over = false
  onEnd: Set<() => void> | undefined = undefined

  constructor(
    definition: Definition,
    id: string,
    context: Context.Context<never>,
    journal: Store | undefined,
    life: Life,
    lifetime: Scope.Closeable
  ) {
    this.definition = definition
    this.id = id
    this.context = context
    this.journal = journal
    this.chaos = Context.get(context, Chaos)
    this.life = life
    this.lifetime = lifetime
    this.state = definition.initial
  }

  /** Under this name the journal keeps the actor's history. */
  get address(): string {
    return `${this.definition.name}/${this.id}`
  }

  get defects(): Defects {
    return Context.get(this.context, Defects)
  }

  /** Milliseconds since 1970. */
  now(): number {
    return Context.get(this.context, Clock.Clock).currentTimeMillisUnsafe()
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.context)(effect)
  }
}

/** A defect, a failed effect or a failed append ends the generation. */
export const crash = (cell: Cell, cause: Cause.Cause<unknown>): void => {
  if (cell.phase === "halting" || cell.phase === "halted" || cell.phase === "ended") return
  cell.phase = "halting"
  const { context, definition } = cell
  Metric.withAttributes(crashes, { actor: definition.name }).updateUnsafe(1, context)
  cell.life.crashed(cell, cause)
}

const dispatchers = new WeakMap<Scheduler.Scheduler, Scheduler.SchedulerDispatcher>()

/** Runs a task through the scheduler of the cell's context, so that a simulation owns its order. */
export const schedule = (cell: Cell, task: () => void): void => {
  const scheduler = Context.get(cell.context, Scheduler.Scheduler)
  let dispatcher = dispatchers.get(scheduler)
  if (dispatcher === undefined) {
    dispatcher = scheduler.makeDispatcher()
    dispatchers.set(scheduler, dispatcher)
  }
  dispatcher.scheduleTask(task, 0)
}

/**
 * The state of one actor: a plain object that costs no fiber while there is nothing to do.
 *
 * ```
 * halted ──▶ recovering ──▶ ready ◀──▶ turning ◀──▶ waiting (for the journal)
 *   ▲ ▲                       │           │             │
 *   │ └─ passive ◀─┐          │           └──▶ crashed ◀┘
 *   └──────────── releasing ◀─┴─────────────────┘
 * ```
 * Each of them leads to `ending` and `ended`, too. `transition` takes each step, and throws if the
 * table has no such step.
 *
 * Callers, fibers that wait for a halt or an end, supervisors and finalizers run on the stack of
 * the step that wakes or starts them. There they may send messages, close the actor's Scope or
 * complete an append. So a step takes its transition and writes to the cell first, and wakes last;
 * code after a wake-up checks the phase again.
 */
import * as assert from "node:assert/strict"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import type { Claim, NewEvent } from "../../../schema/JournalRecord.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { Stopped } from "../ActorError.ts"
import type { Tagged } from "./spec.ts"
import { Chaos } from "../Chaos.ts"
import type { Store } from "./store.ts"
import * as Decision from "../Decision.ts"
import type { Definition, Handler } from "./definition.ts"
import { Waiters } from "./waiters.ts"

export type Phase =
  /** No generation lives; the next one begins with `recover`. */
  | "halted"
  | "recovering"
  | "ready"
  /** A turn is on the stack. */
  | "turning"
  /** A batch is decided, and its callers wait for the journal. */
  | "waiting"
  /** Reported; decided events are still being written. */
  | "crashed"
  | "releasing"
  /** Halted, and the next message begins a generation. */
  | "passive"
  /** No generation will follow; the last one is being released. */
  | "ending"
  | "ended"

/** The table of steps. A switch and not a record, since each message takes two of them. */
const isStep = (from: Phase, to: Phase): boolean => {
  switch (to) {
    case "turning":
      return from === "ready" || from === "waiting"
    case "ready":
      return from === "turning" || from === "recovering"
    case "waiting":
      return from === "turning"
    case "crashed":
      return from === "ready" || from === "turning" || from === "waiting"
    case "releasing":
      return from === "ready" || from === "crashed"
    case "passive":
      return from === "releasing"
    case "halted":
      return from === "releasing" || from === "passive" || from === "recovering"
    case "recovering":
      return from === "halted"
    case "ending":
      return from !== "ending" && from !== "ended"
    case "ended":
      return from === "ending"
  }
}

/** The epoch in which an effect was started. */
export interface Origin {
  readonly generation: number
  readonly epoch: Epoch
  /** The state named no epoch: this one lasts as long as the generation. */
  readonly isDefault: boolean
}

/** The result of a decision for callers, delivered when the batch is stored or refused. */
export interface Outcome {
  readonly happen: (cell: Cell) => void
  readonly refuse: (exit: Exit.Exit<never, unknown>) => void
  /** A reply, which does not wait for events that are written behind. */
  readonly isReply: boolean
}

const done = Exit.void

/** A message in a mailbox. `from` is a signal's epoch; a command has none. */
export class Envelope implements Outcome {
  readonly handler: Handler
  readonly message: unknown
  readonly from: Origin | undefined
  /** Whether a caller waits for the answer. */
  readonly asked: boolean
  /** The answer, while it still depends on the journal. */
  draft: Exit.Exit<unknown, unknown> | undefined = undefined
  exit: Exit.Exit<unknown, unknown> | undefined = undefined
  resume: ((exit: Exit.Exit<unknown, unknown>) => void) | undefined = undefined
  /** The key that settles it, if the answer comes later. */
  pending: string | undefined = undefined
  /** The caller no longer waits. */
  gone = false

  constructor(handler: Handler, message: unknown, from: Envelope["from"], asked: boolean) {
    this.handler = handler
    this.message = message
    this.from = from
    this.asked = asked
  }

  /** The context of its effects, if it was sent within a span. */
  get context(): Context.Context<never> | undefined {
    return undefined
  }

  /** The first answer counts. */
  answer(exit: Exit.Exit<unknown, unknown>): void {
    if (this.exit !== undefined) return
    this.exit = exit
    this.resume?.(exit)
  }

  get isReply(): boolean {
    return this.pending === undefined
  }

  happen(cell: Cell): void {
    if (this.pending === undefined) this.answer(this.draft ?? done)
    else if (!this.gone) (cell.waiting ??= new Waiters()).add(this.pending, this)
  }

  refuse(exit: Exit.Exit<never, unknown>): void {
    this.answer(exit)
  }
}

/** Handles the message with which each generation begins; the behavior decides. */
export const beginning: Handler = { tag: "the beginning", decide: () => Decision.none }

/** Shared by all empty mailboxes and stashes, so that an idle actor allocates none. */
export const nothing: Array<Envelope> = []

/** Drives a cell. The phases call it, so that they do not import each other. */
export interface Life {
  /** Works on the mailbox. */
  readonly turn: (cell: Cell) => void
  /** Begins to recover a halted actor for the messages that it has. */
  readonly wake: (cell: Cell) => void
  /** Decides what happens after a crash. Called at most once for each generation. */
  readonly crashed: (cell: Cell, generation: number, cause: Cause.Cause<unknown>) => void
}

/** The Scope of one epoch, in which the effects of its events run. */
export interface EpochScope extends Origin {
  readonly scope: Scope.Closeable
  /** Closes the Scope of the epoch before, while that is still under way. */
  before: Fiber.Fiber<unknown, unknown> | undefined
  readonly self: unknown
  /** Reactions and `start` effects that have not ended. */
  running: number
}

/** Batches whose callers are answered once the journal has their events. */
export interface Held {
  readonly outcomes: ReadonlyArray<Outcome>
  /** Each event and the state after it, alternating; empty if they are not needed. */
  readonly steps: ReadonlyArray<unknown>
}

/** The sequence numbers of snapshots. */
export interface Saved {
  /** The newest one that was tried. */
  readonly tried: number
  /** Those that are known to be stored, oldest first. */
  readonly stored: ReadonlyArray<number>
}

export const nothingSaved: Saved = { tried: 0, stored: [] }

/** Events that go to the journal together, and the state after the last of them. */
export interface Append {
  readonly events: ReadonlyArray<NewEvent>
  /** The sequence number of the last event. */
  readonly seq: number
  readonly state: unknown
  /** One of the events calls for a snapshot. */
  readonly snapshot: boolean
  /** Batches that did not wait for it: their callers have their replies, the rest comes later. */
  readonly behind: Array<Held>
}

/** The idle time of an actor; created on the first use. */
export interface Idle {
  since: number
  timer: Fiber.Fiber<void> | undefined
}

/** Why an actor ended. */
export interface Ending {
  readonly reason: Stopped["reason"]
  readonly detail: string
}

/** Stands for the state of an actor that became passive. */
export const forgotten = Symbol("forgotten")

/** Called with each stored event; with none when a recovery found a state not yet shown. */
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
  /** The newest stored state, which callers may see, or `forgotten`. */
  state: unknown
  claim: Claim | undefined = undefined
  /** The sequence number of the last event decided. */
  seq = 0
  /** The sequence number of the last event stored. */
  stored = 0
  saved: Saved = nothingSaved

  mailbox: Array<Envelope> = nothing
  stash: Array<Envelope> = nothing
  /** Callers that are answered later. */
  waiting: Waiters<Envelope> | undefined = undefined
  scheduled = false
  /** No more messages are taken: the actor ends after the ones it has. */
  closing = false
  /** Called when the generation is over. While there are any, no batch is begun. */
  halts: Set<() => void> | undefined = undefined

  /** The batch that waits for the journal. */
  held: Held | undefined = undefined
  /** Why the generation ends when the turn on the stack has answered its batch. */
  failure: Cause.Cause<unknown> | undefined = undefined
  /** The append that is under way. */
  append: Append | undefined = undefined
  /** Events that go with the next append. */
  unwritten: Append | undefined = undefined

  scope: EpochScope | undefined = undefined
  /** Releases a generation or recovers the next one. An end waits for it. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined = undefined
  watchers: Set<Watcher> | undefined = undefined
  idle: Idle | undefined = undefined
  end: Ending | undefined = undefined
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

  /** The name of the actor's history in the journal. */
  get address(): string {
    return `${this.definition.name}/${this.id}`
  }

  /** Milliseconds since 1970. */
  now(): number {
    return Context.get(this.context, Clock.Clock).currentTimeMillisUnsafe()
  }

  /** Milliseconds on a monotonic clock. */
  monotonicNow(): number {
    return Number(Context.get(this.context, Clock.Clock).monotonicTimeNanosUnsafe()) / 1e6
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.context)(effect)
  }
}

/** Takes one step of the table. */
export const transition = (cell: Cell, to: Phase): void => {
  if (!isStep(cell.phase, to)) {
    assert.fail(`${cell.address} cannot go from ${cell.phase} to ${to}`)
  }
  cell.phase = to
}

/** The state after all decisions, stored or not. Only the kernel may see it. */
export const decidedState = (cell: Cell): unknown => (cell.unwritten ?? cell.append ?? cell).state

/** Batches whose events are written behind and not stored yet, in order. */
export const unstored = ({ append, unwritten }: Cell): ReadonlyArray<Held> => [
  ...(append?.behind ?? []),
  ...(unwritten?.behind ?? [])
]

/** Whether a caller of `halt` waits for the generation's end. */
export const isPausing = ({ halts }: Cell): boolean => halts !== undefined && halts.size > 0

const dispatchers = new WeakMap<Scheduler.Scheduler, Scheduler.SchedulerDispatcher>()

/**
 * Runs a task through the scheduler of the cell's context, so that a simulation controls its order.
 */
export const schedule = (cell: Cell, task: () => void): void => {
  const scheduler = Context.get(cell.context, Scheduler.Scheduler)
  let dispatcher = dispatchers.get(scheduler)
  if (dispatcher === undefined) {
    dispatcher = scheduler.makeDispatcher()
    dispatchers.set(scheduler, dispatcher)
  }
  dispatcher.scheduleTask(task, 0)
}

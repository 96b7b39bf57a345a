/**
 * Decides a batch of messages. It has no visible effects until the batch is written, so a failed
 * append leaves nothing to undo.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { NewEvent } from "../../../schema/JournalRecord.ts"
import { MailboxFull } from "../ActorError.ts"
import type { DecideContext, Recovery, Tagged } from "./spec.ts"
import * as Decision from "../Decision.ts"
import { dropUnsafe, Epochs } from "../Epochs.ts"
import { refusedMessages } from "../Metrics.ts"
import { Settling, stoppedBy } from "./answering.ts"
import {
  beginning,
  type Cell,
  decidedState,
  Envelope,
  type Held,
  nothing,
  type Origin,
  type Outcome,
  unstored
} from "./cell.ts"
import type { AnyDecision } from "./definition.ts"
import { describe, report } from "./logging.ts"
import { countDropped } from "./sending.ts"
import { traced, type TracedEvent } from "./tracing.ts"
import { Tally } from "./waiters.ts"

const none: ReadonlyArray<never> = []

/** Decisions that are not written yet. */
export class Batch implements Held {
  state: unknown
  steps: ReadonlyArray<unknown> = none
  records: ReadonlyArray<NewEvent> = none
  outcomes: ReadonlyArray<Outcome> = none
  /** Whether replies depend on these events, so that they wait for the journal. */
  promises = false
  /** One of the events calls for a snapshot. */
  snapshot = false
  next: "continue" | "end" | "begin" = "continue"
  failure: Cause.Cause<unknown> | undefined = undefined
  /** Callers that will wait after the batch, once a decision of it lets one wait. */
  tally: Tally | undefined = undefined
  recovery: Recovery | undefined = undefined

  constructor(state: unknown) {
    this.state = state
  }
}

/** Most batches leave most lists empty, and those cost nothing. */
const added = <A>(list: ReadonlyArray<A>, item: A): ReadonlyArray<A> => {
  if (list === none) return [item]
  ;(list as Array<A>).push(item)
  return list
}

const stepped = (
  list: ReadonlyArray<unknown>,
  event: Tagged | TracedEvent,
  state: unknown
): ReadonlyArray<unknown> => {
  // Not pushed one after the other: an array that grows allocates room for many more.
  if (list === none) return [event, state]
  ;(list as Array<unknown>).push(event, state)
  return list
}

class About implements DecideContext {
  readonly #cell: Cell
  #now: number | undefined = undefined

  constructor(cell: Cell) {
    this.#cell = cell
  }
  get id() {
    return this.#cell.id
  }
  /** One time for the whole batch. */
  get now() {
    this.#now ??= this.#cell.now()
    return this.#now
  }
  get fresh() {
    return () => Context.get(this.#cell.context, Epochs).next()
  }
}

/** Takes messages from the mailbox until the batch is full or one of them ends it. */
export const decideBatch = (cell: Cell): Batch => {
  const batch = new Batch(decidedState(cell))
  const about = new About(cell)
  const messages = cell.mailbox
  const limit = Math.min(messages.length, cell.definition.limits.batch)
  let taken = 0
  cell.mailbox = nothing
  while (taken < limit && mayGoOn(batch) && cell.mailbox === nothing) {
    const envelope = messages[taken++]
    if (envelope !== undefined) decideOne(cell, batch, envelope, about)
  }
  if (taken < messages.length) {
    const rest = messages.slice(taken)
    cell.mailbox = cell.mailbox === nothing ? rest : cell.mailbox.concat(rest)
  }
  return batch
}

const mayGoOn = ({ failure, next }: Batch): boolean => next === "continue" && failure === undefined

const decideOne = (cell: Cell, batch: Batch, envelope: Envelope, about: DecideContext): void => {
  const { promises, records, snapshot, state, steps } = batch
  const stepCount = steps.length
  const recordCount = records.length
  try {
    if (envelope.from !== undefined && isStale(cell, batch, envelope)) return
    const decision = decide(cell, batch, envelope, about)
    if (decision.next === "stash") putAside(cell, batch, envelope)
    else if (mayWait(cell, batch, envelope, decision)) {
      take(cell, batch, envelope, decision, about)
    }
  } catch (defect) {
    // This decision is undone; the decisions before it are written.
    batch.state = state
    batch.promises = promises
    batch.snapshot = snapshot
    batch.steps = batch.steps.slice(0, stepCount)
    batch.records = batch.records.slice(0, recordCount)
    thrown(cell, batch, envelope, Cause.die(defect))
  }
}

/** Handles a message whose decision threw: it ends the generation, or is refused. */
const thrown = (
  cell: Cell,
  batch: Batch,
  envelope: Envelope,
  cause: Cause.Cause<unknown>
): void => {
  const { tag } = envelope.handler
  // Signals and the beginning of a generation come from the actor itself.
  const refuses = cell.definition.refusesDefects && cell.definition.commands.has(tag)
  if (refuses) countRefused(cell, tag, cause)
  else batch.failure = cause
  if (envelope.asked) {
    const reason = refuses ? "defect" : "crashed"
    const stopped = stoppedBy(cell, { reason, detail: describe(cause) }, "not-run")
    draft(batch, envelope, Exit.fail(stopped))
  }
}

/** Logs a refused command for the operator: there may be no caller, or an untrusted one. */
const countRefused = (cell: Cell, command: string, cause: Cause.Cause<unknown>): void => {
  const { address: actor, context, definition } = cell
  Metric.withAttributes(refusedMessages, { actor: definition.name }).updateUnsafe(1, context)
  cell.fork(report("Warn", "a command was refused", cause, { actor, command }))
}

const decide = (
  { definition }: Cell,
  batch: Batch,
  { handler, message }: Envelope,
  about: DecideContext
): AnyDecision => {
  if (handler !== beginning) return handler.decide(batch.state, message, about)
  batch.next = "begin"
  batch.recovery = message as Recovery
  return definition.reconcile?.(batch.state, batch.recovery, about) ?? Decision.none
}

/** Adds a decision to the batch. */
const take = (
  cell: Cell,
  batch: Batch,
  envelope: Envelope,
  decision: AnyDecision,
  about: DecideContext
): void => {
  const { codec, durable, name, observed, rules, snapshot } = cell.definition
  const { events } = decision
  for (let index = 0; index < events.length; index++) {
    const event = events[index] as Tagged
    const rule = rules[event._tag]
    if (rule === undefined) throw new Error(`${name} cannot evolve ${event._tag}`)
    batch.state = rule.evolve(batch.state, event)
    // A watcher may be added while the batch waits for the journal.
    if (durable || observed || cell.watchers !== undefined) {
      batch.steps = stepped(batch.steps, traced(event, envelope), batch.state)
    }
    if (durable) {
      const record = codec.encode(event, about.now)
      const fault = cell.journal?.unstorable?.(record)
      if (fault !== undefined) throw new Error(`${event._tag} cannot be stored: ${fault}`)
      batch.records = added(batch.records, record)
    }
    if (rule.promises) batch.promises = true
    if (snapshot?.when?.(batch.state, event) === true) batch.snapshot = true
  }
  if (envelope.asked) {
    envelope.pending = decision.pending
    draft(batch, envelope, answerOf(decision, batch.state))
    if (decision.pending !== undefined && !envelope.gone) batch.tally?.add(decision.pending)
  }
  for (const settlement of decision.settlements) {
    batch.tally?.settle(settlement.key)
    batch.outcomes = added(batch.outcomes, new Settling(settlement))
  }
  if (decision.next === "stop") batch.next = "end"
  if (decision.next === "unstash") {
    cell.mailbox = cell.stash
    cell.stash = nothing
  }
}

/** Keeps an answer until the batch is complete. */
const draft = (batch: Batch, envelope: Envelope, exit: Exit.Exit<unknown, unknown>): void => {
  envelope.draft = exit
  batch.outcomes = added(batch.outcomes, envelope)
}

/** Refuses a decision whose caller would wait beyond the limit; nothing of it is taken. */
const mayWait = (
  cell: Cell,
  batch: Batch,
  envelope: Envelope,
  { pending }: AnyDecision
): boolean => {
  if (pending === undefined || !envelope.asked || envelope.gone) return true
  const limit = cell.definition.limits.waiting
  if (tallyOf(cell, batch).total < limit) return true
  draft(
    batch,
    envelope,
    Exit.fail(new MailboxFull({ actor: cell.address, queue: "waiting", limit }))
  )
  return false
}

const tallyOf = (cell: Cell, batch: Batch): Tally => {
  if (batch.tally !== undefined) return batch.tally
  const tally = new Tally(cell.waiting)
  batch.tally = tally
  for (const { outcomes } of [...unstored(cell), batch]) {
    for (const outcome of outcomes) {
      if (outcome instanceof Settling) tally.settle(outcome.key)
      else if (outcome instanceof Envelope && outcome.pending !== undefined && !outcome.gone) {
        tally.add(outcome.pending)
      }
    }
  }
  return tally
}

const answerOf = ({ answer, kind }: AnyDecision, state: unknown): Exit.Exit<unknown, unknown> => {
  if (kind === "error") return Exit.fail(answer)
  const from = answer as (state: unknown) => unknown
  return Exit.succeed(kind === "from-state" ? from(state) : answer)
}

const putAside = (cell: Cell, batch: Batch, envelope: Envelope): void => {
  const limit = cell.definition.limits.stash
  if (cell.stash === nothing) cell.stash = [envelope]
  else if (cell.stash.length < limit) cell.stash.push(envelope)
  else if (envelope.asked) {
    const full = new MailboxFull({ actor: cell.address, queue: "stash", limit })
    draft(batch, envelope, Exit.fail(full))
  } else if (envelope.from === undefined) countDropped(cell)
  else throw new Error(`a stash of ${limit} has no room for the signal ${envelope.handler.tag}`)
}

/** A signal counts only in the generation and the epoch in which its effect was started. */
const isStale = (cell: Cell, batch: Batch, envelope: Envelope): boolean => {
  const { from } = envelope
  if (from === undefined) return false
  const epoch = cell.definition.epoch?.(batch.state)
  const current = epoch === undefined ? isDefaultEpochOpen(cell, batch, from) : from.epoch === epoch
  if (current && from.generation === cell.generation) return false
  dropUnsafe(cell.context, { owner: cell.address, what: envelope.handler.tag, epoch: from.epoch })
  return true
}

/** Whether the actor's default epoch of a signal still lasts: another one in between ends it. */
const isDefaultEpochOpen = (cell: Cell, batch: Batch, from: Origin): boolean => {
  const { epoch } = cell.definition
  if (epoch === undefined || !from.isDefault) return from.isDefault
  if (cell.scope?.epoch !== from.epoch) return false
  // Its Scope stays open until these are shown.
  return [...unstored(cell), batch].every(({ steps }) =>
    steps.every((step, index) => index % 2 === 0 || epoch(step) === undefined)
  )
}

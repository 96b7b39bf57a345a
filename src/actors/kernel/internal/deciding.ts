/**
 * Decides a batch of messages. Pure towards the outside: until the batch is written, nothing of
 * it is seen by anybody, so a failed append leaves nothing to undo.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type { NewEvent } from "../../../schema/JournalRecord.ts"
import { MailboxFull } from "../ActorError.ts"
import type { Circumstances, Recovery, Tagged } from "../Behavior.ts"
import { dropUnsafe, Epochs } from "../Epochs.ts"
import { stoppedBy } from "./answering.ts"
import { type Cell, endTag, type Envelope, nothing, reconcileTag } from "./cell.ts"
import type { AnyDecision } from "./definition.ts"

export class Batch {
  state: unknown
  readonly events: Array<Tagged> = []
  /** The state after each event. */
  readonly states: Array<unknown> = []
  readonly records: Array<NewEvent> = []
  readonly answered: Array<Envelope> = []
  readonly answers: Array<Exit.Exit<unknown, unknown>> = []
  /** Whether a promise hangs on these events, so that replies wait for the journal. */
  promises = false
  next: "continue" | "end" | "crash" | "begin" = "continue"
  cause: Cause.Cause<unknown> = Cause.empty
  recovery: Recovery | undefined = undefined

  constructor(state: unknown) {
    this.state = state
  }

  answer(envelope: Envelope, exit: Exit.Exit<unknown, unknown>): void {
    this.answered.push(envelope)
    this.answers.push(exit)
  }
}

/** Takes messages from the mailbox until the batch is full or one of them ends it. */
export const decideBatch = (cell: Cell): Batch => {
  const batch = new Batch(cell.state)
  const now = cell.now()
  const about: Circumstances = {
    id: cell.id,
    now,
    fresh: () => Context.get(cell.context, Epochs).next()
  }
  const messages = cell.mailbox
  const limit = Math.min(messages.length, cell.definition.limits.batch)
  let taken = 0
  cell.mailbox = nothing
  while (taken < limit && batch.next === "continue" && cell.mailbox === nothing) {
    const envelope = messages[taken++]
    if (envelope !== undefined) decideOne(cell, batch, envelope, about)
  }
  if (taken < messages.length) {
    const rest = messages.slice(taken)
    cell.mailbox = cell.mailbox === nothing ? rest : cell.mailbox.concat(rest)
  }
  return batch
}

const decideOne = (cell: Cell, batch: Batch, envelope: Envelope, about: Circumstances): void => {
  const { definition } = cell
  if (envelope.tag === endTag) {
    batch.next = "end"
    return
  }
  if (isStale(cell, batch.state, envelope)) return
  try {
    if (envelope.tag === reconcileTag) {
      const recovery = envelope.message as Recovery
      batch.next = "begin"
      batch.recovery = recovery
      const decision = definition.reconcile?.(batch.state, recovery, about)
      if (decision !== undefined) apply(cell, batch, envelope, decision, about.now)
      return
    }
    const decide = definition.decide[envelope.tag]
    if (decide === undefined) throw new Error(`${definition.name} knows no ${envelope.tag}`)
    apply(cell, batch, envelope, decide(batch.state, envelope.message, about), about.now)
  } catch (defect) {
    batch.next = "crash"
    batch.cause = Cause.die(defect)
    const stopped = stoppedBy(cell, "crashed", "not-run", String(defect))
    if (envelope.asked) batch.answer(envelope, Exit.fail(stopped))
  }
}

/** Takes a decision into the batch. Whatever can throw comes before the first change. */
const apply = (
  cell: Cell,
  batch: Batch,
  envelope: Envelope,
  decision: AnyDecision,
  now: number
): void => {
  const { definition } = cell
  if (decision.next === "stash") {
    putAside(cell, batch, envelope)
    return
  }
  const { events } = decision
  let { state } = batch
  const states: Array<unknown> = []
  const records: Array<NewEvent> = []
  for (const event of events) {
    const evolve = definition.evolve[event._tag]
    if (evolve === undefined) throw new Error(`${definition.name} cannot evolve ${event._tag}`)
    state = evolve(state, event)
    states.push(state)
    if (definition.durable) records.push(definition.codec.encode(event, now))
  }
  const answer = decision.kind === "from-state" ? answerFrom(decision, state) : decision.answer
  batch.state = state
  for (let index = 0; index < events.length; index++) {
    const event = events[index]
    if (event === undefined) continue
    batch.events.push(event)
    batch.states.push(states[index])
    if (!definition.writtenBehind.has(event._tag)) batch.promises = true
  }
  batch.records.push(...records)
  if (envelope.asked) {
    batch.answer(envelope, decision.kind === "error" ? Exit.fail(answer) : Exit.succeed(answer))
  }
  if (decision.next === "stop") batch.next = "end"
  if (decision.next === "unstash") {
    cell.mailbox = cell.stash
    cell.stash = nothing
  }
}

const answerFrom = (decision: AnyDecision, state: unknown): unknown =>
  (decision.answer as (state: unknown) => unknown)(state)

const putAside = (cell: Cell, batch: Batch, envelope: Envelope): void => {
  const limit = cell.definition.limits.stash
  if (cell.stash.length >= limit) {
    batch.answer(
      envelope,
      Exit.fail(new MailboxFull({ actor: cell.address, queue: "stash", limit }))
    )
  } else if (cell.stash === nothing) cell.stash = [envelope]
  else cell.stash.push(envelope)
}

/** A signal counts only in the generation and the epoch in which its effect was started. */
const isStale = (cell: Cell, state: unknown, envelope: Envelope): boolean => {
  const { from } = envelope
  if (from === undefined || cell.defects.skipFence) return false
  const epoch = cell.definition.epoch?.(state) ?? from.epoch
  if (from.generation === cell.generation && from.epoch === epoch) return false
  dropUnsafe(cell.context, { owner: cell.address, what: envelope.tag, epoch: from.epoch })
  return true
}

/**
 * Decides a batch of messages. Pure towards the outside: until the batch is written, nothing of
 * it is seen by anybody, so a failed append leaves nothing to undo.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type { NewEvent } from "../../../schema/JournalRecord.ts"
import { MailboxFull } from "../ActorError.ts"
import type { Circumstances, Recovery } from "../Behavior.ts"
import { dropUnsafe, Epochs } from "../Epochs.ts"
import { stoppedBy } from "./answering.ts"
import { type Cell, endTag, type Envelope, nothing, reconcileTag } from "./cell.ts"
import type { AnyDecision } from "./definition.ts"

export class Batch {
  state: unknown
  /** Each event and the state after it, in turns; empty where nobody looks at them. */
  readonly steps: Array<unknown> = []
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

class About implements Circumstances {
  readonly #cell: Cell
  #now: number | undefined = undefined

  constructor(cell: Cell) {
    this.#cell = cell
  }
  get id() {
    return this.#cell.id
  }
  /** One moment for the whole batch. */
  get now() {
    this.#now ??= this.#cell.now()
    return this.#now
  }
  fresh() {
    return Context.get(this.#cell.context, Epochs).next()
  }
}

/** Takes messages from the mailbox until the batch is full or one of them ends it. */
export const decideBatch = (cell: Cell): Batch => {
  const batch = new Batch(cell.state)
  const about = new About(cell)
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
  if (envelope.tag === endTag) {
    batch.next = "end"
    return
  }
  if (envelope.from !== undefined && isStale(cell, batch.state, envelope)) return
  const { state } = batch
  const steps = batch.steps.length
  const records = batch.records.length
  try {
    const decision = decide(cell, batch, envelope, about)
    if (decision === undefined) return
    if (decision.next === "stash") putAside(cell, batch, envelope)
    else take(cell, batch, envelope, decision, about)
  } catch (defect) {
    // Nothing of this decision may stay: what came before it is written all the same.
    batch.state = state
    batch.steps.length = steps
    batch.records.length = records
    batch.next = "crash"
    batch.cause = Cause.die(defect)
    const stopped = stoppedBy(cell, "crashed", "not-run", String(defect))
    if (envelope.asked) batch.answer(envelope, Exit.fail(stopped))
  }
}

const decide = (
  { definition }: Cell,
  batch: Batch,
  { message, tag }: Envelope,
  about: Circumstances
): AnyDecision | undefined => {
  if (tag === reconcileTag) {
    batch.next = "begin"
    batch.recovery = message as Recovery
    return definition.reconcile?.(batch.state, batch.recovery, about)
  }
  const handler = definition.decide[tag]
  if (handler === undefined) throw new Error(`${definition.name} knows no ${tag}`)
  return handler(batch.state, message, about)
}

/** Takes a decision into the batch. */
const take = (
  cell: Cell,
  batch: Batch,
  envelope: Envelope,
  decision: AnyDecision,
  about: Circumstances
): void => {
  const { definition } = cell
  const observed = definition.observed || cell.watchers !== undefined
  for (const event of decision.events) {
    const evolve = definition.evolve[event._tag]
    if (evolve === undefined) throw new Error(`${definition.name} cannot evolve ${event._tag}`)
    batch.state = evolve(batch.state, event)
    if (observed) batch.steps.push(event, batch.state)
    if (definition.durable) batch.records.push(definition.codec.encode(event, about.now))
    if (!definition.writtenBehind.has(event._tag)) batch.promises = true
  }
  if (envelope.asked) batch.answer(envelope, answerOf(decision, batch.state))
  if (decision.next === "stop") batch.next = "end"
  if (decision.next === "unstash") {
    cell.mailbox = cell.stash
    cell.stash = nothing
  }
}

const answerOf = ({ answer, kind }: AnyDecision, state: unknown): Exit.Exit<unknown, unknown> => {
  if (kind === "error") return Exit.fail(answer)
  const from = answer as (state: unknown) => unknown
  return Exit.succeed(kind === "from-state" ? from(state) : answer)
}

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

/**
 * The records of functions by which messages are sent to an actor: `ask.Open(...)`,
 * `tell.Open(...)`, `signal.Elapsed(...)`. One prototype per behavior serves all its actors.
 */
import * as assert from "node:assert/strict"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { AskTimedOut, MailboxFull, type Stopped } from "../ActorError.ts"
import { endedBy, stopWaiting } from "./answering.ts"
import { type Cell, Envelope, forgotten } from "./cell.ts"
import type { Definition, Handler } from "./definition.ts"
import { rest } from "./halting.ts"
import { send, type Sent } from "./sending.ts"
import { envelopeFrom } from "./tracing.ts"

/** Data of a handle besides its cell: a signal's origin, or the deadline of an ask. */
type Extra = Envelope["from"] | Duration.Duration

/** Sends one kind of message to a cell. */
type Sender = (cell: Cell, extra: Extra, handler: Handler, message: unknown) => unknown

const failed = (
  cell: Cell,
  sent: Exclude<Sent, "accepted" | "dropped">
): Effect.Effect<never, MailboxFull | Stopped> => {
  if (sent === "stopped") return Effect.fail(endedBy(cell))
  const limit = cell.definition.limits.mailbox
  return Effect.fail(new MailboxFull({ actor: cell.address, queue: "mailbox", limit }))
}

/**
 * Sends and registers the caller in one step: a fiber can be interrupted between any two effects,
 * and a caller that is gone must not keep its place among the waiting ones.
 */
const ask = (cell: Cell, handler: Handler, message: unknown) =>
  Effect.callback<unknown, unknown>((resume) => {
    const fiber = Fiber.getCurrent()
    assert.ok(fiber !== undefined)
    const envelope = envelopeFrom(fiber, cell, handler, message, undefined, true)
    const sent = send(cell, envelope, true)
    if (sent === "full" || sent === "stopped") return resume(failed(cell, sent))
    if (envelope.exit !== undefined) return resume(envelope.exit)
    envelope.resume = resume
    return Effect.sync(() => {
      stopWaiting(cell, envelope)
      if (cell.waiting?.size === 0) rest(cell)
    })
  })

const askWithin = (cell: Cell, within: Extra, handler: Handler, message: unknown) => {
  const duration = within as Duration.Duration
  const millis = Duration.toMillis(duration)
  return Effect.timeoutOrElse(ask(cell, handler, message), {
    duration,
    orElse: () =>
      Effect.fail(new AskTimedOut({ actor: cell.address, command: handler.tag, millis }))
  })
}

const tell = (cell: Cell, from: Envelope["from"], handler: Handler, message: unknown) =>
  Effect.withFiber((fiber) => {
    const sent = send(cell, envelopeFrom(fiber, cell, handler, message, from, false), false)
    return sent === "full" || sent === "stopped" ? failed(cell, sent) : Effect.void
  })

interface Handles {
  readonly ask: object
  readonly askWithin: object
  readonly tell: object
  readonly tellUnsafe: object
  readonly signal: object
}

const made = new WeakMap<Definition, Handles>()

const handlesOf = (definition: Definition): Handles => {
  let handles = made.get(definition)
  if (handles === undefined) {
    const all = Object.values(definition.handlers)
    const commands = all.filter(({ tag }) => definition.commands.has(tag))
    const signals = all.filter(({ tag }) => !definition.commands.has(tag))
    handles = {
      ask: prototype(commands, (cell, _, handler, message) => ask(cell, handler, message)),
      askWithin: prototype(commands, askWithin),
      tell: prototype(commands, (cell, _, handler, message) =>
        tell(cell, undefined, handler, message)
      ),
      tellUnsafe: prototype(commands, (cell, _, handler, message) =>
        send(cell, new Envelope(handler, message, undefined, false), false)
      ),
      signal: prototype(signals, (cell, from, handler, fields) =>
        tell(cell, from as Envelope["from"], handler, { ...(fields as object), _tag: handler.tag })
      )
    }
    made.set(definition, handles)
  }
  return handles
}

const cellKey = Symbol("cell")
const extraKey = Symbol("extra")

interface Handle {
  readonly [cellKey]: Cell
  readonly [extraKey]: Extra
}

const prototype = (handlers: ReadonlyArray<Handler>, sender: Sender): object =>
  Object.fromEntries(
    handlers.map((handler) => [
      handler.tag,
      function (this: Handle, message: unknown) {
        return sender(this[cellKey], this[extraKey], handler, message)
      }
    ])
  )

export const handle = (cell: Cell, kind: keyof Handles, extra?: Extra): unknown =>
  Object.assign(Object.create(handlesOf(cell.definition)[kind]), {
    [cellKey]: cell,
    [extraKey]: extra
  })

/** The actor as its behavior's effects see it. */
export const makeSelf = (cell: Cell, from: NonNullable<Envelope["from"]>) => ({
  id: cell.id,
  epoch: from.epoch,
  tell: handle(cell, "tell"),
  signal: handle(cell, "signal", from),
  state: () => (cell.state === forgotten ? cell.definition.initial : cell.state)
})

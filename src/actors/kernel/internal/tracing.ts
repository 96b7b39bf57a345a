/**
 * Carries the caller's span and annotations with a message to the effects of its events.
 *
 * The span of an `ask` is their parent: the caller waits, so they are part of its work. The sender
 * of a `tell` or a signal does not wait, and a signal may lead to the next one for ever; their
 * effects begin a new trace that is linked to the sender's span.
 *
 * A fiber outside of any span sends plain envelopes, whatever its annotations: to look for them at
 * each message would slow down every ask of a program that does not trace.
 *
 * The journal stores no spans: effects of a recovered actor have no caller any more.
 */
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import { CurrentLogAnnotations, TracerSpanAnnotations, TracerSpanLinks } from "effect/References"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Tagged } from "./spec.ts"
import { type Cell, Envelope } from "./cell.ts"
import type { Handler } from "./definition.ts"

type Annotations = Readonly<Record<string, unknown>>

/** A message that was sent within a span. */
class TracedEnvelope extends Envelope {
  readonly #context: Context.Context<never>

  constructor(context: Context.Context<never>, ...rest: ConstructorParameters<typeof Envelope>) {
    super(...rest)
    this.#context = context
  }
  override get context() {
    return this.#context
  }
}

/** An event that a traced message led to, among the steps of a batch. */
export class TracedEvent {
  readonly event: Tagged
  readonly context: Context.Context<never>

  constructor(event: Tagged, context: Context.Context<never>) {
    this.event = event
    this.context = context
  }
}

/** An event as a step of a batch, with the context of its message if that has one. */
export const traced = (event: Tagged, { context }: Envelope): Tagged | TracedEvent =>
  context === undefined ? event : new TracedEvent(event, context)

/** The event of a step. */
export const eventOf = (step: unknown): Tagged =>
  step instanceof TracedEvent ? step.event : (step as Tagged)

/** The context in which the effect of a step runs. */
export const contextOf = (step: unknown, cell: Cell): Context.Context<never> =>
  step instanceof TracedEvent ? step.context : cell.context

/** The message of a fiber. A closure in here would put the parameters on the heap at each ask. */
export const envelopeFrom = (
  fiber: Fiber.Fiber<unknown, unknown>,
  cell: Cell,
  handler: Handler,
  message: unknown,
  from: Envelope["from"],
  asked: boolean
): Envelope => {
  const { span } = fiber.cache
  if (span === undefined) return new Envelope(handler, message, from, asked)
  const annotated = annotatedContext(cell.context, fiber)
  const context = asked
    ? Context.add(annotated, Tracer.ParentSpan, span)
    : Context.add(annotated, TracerSpanLinks, [{ span, attributes: {} }])
  return new TracedEnvelope(context, handler, message, from, asked)
}

/** The sender's annotations over those that the actor was spawned with. */
const annotatedContext = (
  context: Context.Context<never>,
  fiber: Fiber.Fiber<unknown, unknown>
): Context.Context<never> => {
  const annotated = (key: Context.Reference<Annotations>) =>
    Context.add(key, { ...Context.get(context, key), ...fiber.getRef(key) })
  return context.pipe(annotated(CurrentLogAnnotations), annotated(TracerSpanAnnotations))
}

/** One for each context that has a span, since the actors of a program share theirs. */
const spanless = new WeakMap<object, Context.Context<never>>()

/** The context of an actor: the span within which it is spawned ends long before the actor. */
export const withoutSpan = <R>(context: Context.Context<R>): Context.Context<R> => {
  if (Option.isNone(Context.getOption(context, Tracer.ParentSpan))) return context
  const without = spanless.get(context) ?? Context.omit(Tracer.ParentSpan)(context)
  spanless.set(context, without as Context.Context<never>)
  return without as Context.Context<R>
}

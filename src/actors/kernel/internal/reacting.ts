/**
 * Effects of stored events. They run in the Scope of the epoch that the state belongs to: when
 * the state moves on to another epoch, the old Scope closes, and no effect of the new epoch
 * begins before that is done (acquire 1, release 1, acquire 2).
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Stopped } from "../ActorError.ts"
import { Epochs } from "../Epochs.ts"
import type { Cell, EpochScope } from "./cell.ts"
import type { AnyEffect } from "./definition.ts"
import { rest } from "./halting.ts"
import { makeSelf } from "./handles.ts"
import { isOnly } from "./logging.ts"
import { forkNoted } from "./occupying.ts"
import { closeEpoch, crash } from "./releasing.ts"
import { contextOf, eventOf } from "./tracing.ts"

/** The Scope of the state's epoch; opens it if the state has moved on. */
const scopeFor = (cell: Cell, state: unknown): EpochScope => {
  const current = cell.scope
  const epoch = cell.definition.epoch?.(state)
  const stays = epoch === undefined ? current?.isDefault : epoch === current?.epoch
  if (current !== undefined && stays) return current
  const from = {
    epoch: epoch ?? Context.get(cell.context, Epochs).next(),
    isDefault: epoch === undefined,
    generation: cell.generation
  }
  const self = makeSelf(cell, from)
  const next: EpochScope = {
    ...from,
    scope: Scope.makeUnsafe(),
    before: undefined,
    self,
    running: 0
  }
  // First, so that an end that comes from a finalizer of the old epoch waits for all of them.
  cell.scope = next
  if (current !== undefined) {
    forkNoted(cell, closeEpoch(cell, current), (fiber) => void (next.before = fiber))
  }
  return next
}

/** Runs the effects of an event, and moves to the epoch of the state after it. */
export const react = (cell: Cell, step: unknown, state: unknown): void => {
  const event = eventOf(step)
  const reaction = cell.definition.react[event._tag]
  if (reaction === undefined) {
    if (cell.scope !== undefined) scopeFor(cell, state)
    return
  }
  const scope = scopeFor(cell, state)
  run(cell, scope, contextOf(step, cell), () => reaction(event, scope.self, state))
}

/** Runs the effect with which a generation begins. */
export const begin = (cell: Cell, effect: (state: unknown, self: unknown) => AnyEffect): void => {
  const scope = scopeFor(cell, cell.state)
  run(cell, scope, cell.context, () => effect(cell.state, scope.self))
}

const run = (
  cell: Cell,
  scope: EpochScope,
  context: Context.Context<never>,
  effect: () => AnyEffect
): void => {
  // A finalizer of the epoch before may have ended the actor.
  if (cell.scope !== scope) return
  const { before } = scope
  const started = Effect.suspend(effect)
  const fiber = Effect.runForkWith(Context.add(context, Scope.Scope, scope.scope))(
    before === undefined ? started : Effect.andThen(Fiber.await(before), started)
  )
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) {
    settle(cell, scope, exit)
    return
  }
  scope.running++
  Fiber.runIn(fiber, scope.scope)
  fiber.addObserver((exit) => {
    scope.running--
    settle(cell, scope, exit)
    if (scope.running === 0 && cell.scope === scope) rest(cell)
  })
}

/**
 * An effect that fails crashes its actor. An effect that its Scope interrupted has only ended, and
 * so has one whose message was refused by an actor that is about to stop.
 */
const settle = (cell: Cell, scope: EpochScope, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit) || cell.scope !== scope) return
  const { address, closing } = cell
  const isRefused = (error: unknown) =>
    closing && error instanceof Stopped && error.actor === address
  if (!isOnly(exit.cause, isRefused)) crash(cell, exit.cause)
}

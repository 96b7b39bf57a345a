/**
 * Description of an actor: its commands, its events, and three tables of functions.
 *
 * - `decide` is pure: it turns a command into a `Decision`.
 * - `evolve` is pure: it turns an event into the next state.
 * - `react` has the effects: it runs after an event is stored, in the Scope of the event's epoch.
 *
 * Commands are `effect/rpc` declarations, so that one declaration serves a local actor, an RPC
 * server and a cluster. An actor's effects report to it by *signals*: plain values that never leave
 * the process and that are dropped when they come from an older epoch.
 */
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import { type AnySpec, type Definition, define } from "./internal/definition.ts"
import type { Needs, ReactTable, ServicesOf, Signals, Spec, Tagged } from "./internal/spec.ts"

export type { SnapshotPolicy, Upcast } from "./internal/snapshotPolicy.ts"
export type {
  Arguments,
  DecideContext,
  Fields,
  Recovery,
  Self,
  Signals,
  Spec,
  Tagged,
  Tell
} from "./internal/spec.ts"

/**
 * Names the signals of a behavior in its types. Signals have no schema: they never leave the
 * process.
 */
export const signals = <Signal extends Tagged>(): Signals<Signal> => signalsToken

const signalsToken: Signals<never> = {}

/** A declared behavior. Spawn it with `Actor.spawn` or under a `Supervisor`. */
export interface Behavior<
  State,
  Commands extends Rpc.Any,
  Signal extends Tagged,
  Event extends Tagged,
  R
> {
  readonly "~handfast/actors/Behavior": {
    readonly state: State
    readonly commands: Commands
    readonly signal: Signal
    readonly event: Event
    readonly services: R
  }
  readonly name: string
  readonly commands: ReadonlyArray<Commands>
  /** The definition that the kernel runs. */
  readonly definition: Definition
}

/** Declares a behavior. */
export const make = <
  // The tag's own parameter keeps `_tag: "Open"` a literal in what `evolve` returns.
  State extends object | { readonly _tag: Tag },
  Commands extends Rpc.Any,
  Events extends Schema.Codec<Tagged, unknown>,
  Reactions extends ReactTable<State, Commands, Signal, Events["Type"]> = {},
  Signal extends Tagged = never,
  StartR = never,
  Durability extends "journal" | "none" = "journal",
  Tag extends string = string
>(
  name: string,
  spec: Spec<State, Commands, Signal, Events, Reactions, StartR, Durability>
): Behavior<
  State,
  Commands,
  Signal,
  Events["Type"],
  Needs<ServicesOf<Reactions> | StartR, Durability>
> => {
  const { commands } = spec
  const behavior: Pick<
    Behavior<State, Commands, Signal, Events["Type"], never>,
    "name" | "commands" | "definition"
  > = { name, commands, definition: define(name, spec as unknown as AnySpec) }
  return behavior as Behavior<
    State,
    Commands,
    Signal,
    Events["Type"],
    Needs<ServicesOf<Reactions> | StartR, Durability>
  >
}

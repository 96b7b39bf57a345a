/**
 * A behavior as the kernel runs it. The types of states, messages and events are checked where the
 * behavior is declared, and erased here.
 */
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import type { SnapshotPolicy } from "./snapshotPolicy.ts"
import type { DecideContext, Recovery, Spec, Tagged } from "./spec.ts"
import type { Decision } from "../Decision.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import { defaults, type Limits } from "../Limits.ts"
import { type EventCodec, makeEventCodec, makeSnapshotCodec, type SnapshotCodec } from "./codec.ts"
import { assertSettings, millisOf } from "./settingRules.ts"

export type AnyDecision = Decision<Tagged, unknown, unknown>
export type AnyEffect = Effect.Effect<unknown, unknown>

export interface SnapshotRules {
  readonly codec: SnapshotCodec
  readonly every: number
  readonly when: ((state: unknown, event: unknown) => boolean) | undefined
  readonly keep: number
  readonly deleteEvents: boolean
}

/** Handles one kind of message. */
export interface Handler {
  readonly tag: string
  readonly decide: (state: unknown, message: unknown, about: DecideContext) => AnyDecision
}

/** Handles one kind of event. */
export interface Rule {
  readonly evolve: (state: unknown, event: Tagged) => unknown
  /** Whether a reply may depend on it once it is decided: then replies wait for the journal. */
  readonly promises: boolean
}

export interface Definition {
  readonly name: string
  readonly commands: ReadonlySet<string>
  readonly initial: unknown
  readonly handlers: Readonly<Record<string, Handler>>
  readonly rules: Readonly<Record<string, Rule>>
  readonly react: Readonly<
    Record<string, ((event: Tagged, self: unknown, state: unknown) => AnyEffect) | undefined>
  >
  readonly epoch: ((state: unknown) => Epoch | undefined) | undefined
  readonly reconcile:
    | ((state: unknown, recovery: Recovery, about: DecideContext) => AnyDecision)
    | undefined
  readonly start: ((state: unknown, self: unknown, recovery: Recovery) => AnyEffect) | undefined
  readonly durable: boolean
  /** Whether events that are written behind are shown before they are stored. */
  readonly showsDecided: boolean
  /** A command whose decision throws is refused, and the actor goes on. */
  readonly refusesDefects: boolean
  /** Whether events are needed one by one: by effects, epochs or a snapshot policy. */
  readonly observed: boolean
  readonly codec: EventCodec
  readonly snapshot: SnapshotRules | undefined
  readonly passivateAfterMillis: number | undefined
  readonly limits: Limits
}

/** The declaration of a behavior without its types. */
export type AnySpec = Omit<
  Spec<object, Rpc.Any, Tagged, Schema.Codec<Tagged, unknown>, object, never, "journal" | "none">,
  "decide" | "evolve" | "react" | "start" | "snapshot"
> & {
  readonly decide: Readonly<Record<string, Handler["decide"]>>
  readonly evolve: Readonly<Record<string, Rule["evolve"]>>
  readonly react?: Definition["react"]
  readonly start?: Definition["start"]
  readonly snapshot?: SnapshotPolicy<unknown, unknown>
}

const mapValues = <A, B>(
  record: Readonly<Record<string, A>>,
  map: (value: A, key: string) => B
): Record<string, B> =>
  plain(Object.entries(record).map(([key, value]) => [key, map(value, key)] as const))

/** A record without a prototype, where an event may be named `constructor`. */
const plain = <A>(entries: Iterable<readonly [string, A]>): Record<string, A> =>
  Object.assign(Object.create(null), Object.fromEntries(entries))

export const define = (name: string, spec: AnySpec): Definition => ({
  name,
  commands: new Set(spec.commands.map((command) => command._tag)),
  initial: spec.initial,
  handlers: mapValues(spec.decide, (decide, tag) => ({ tag, decide })),
  rules: mapValues(spec.evolve, (evolve, tag) => ({
    evolve,
    promises: !(spec.writtenBehind ?? []).includes(tag)
  })),
  react: plain(Object.entries(spec.react ?? {})),
  epoch: spec.epoch as Definition["epoch"],
  reconcile: spec.reconcile as Definition["reconcile"],
  start: spec.start,
  durable: spec.history !== "none",
  showsDecided: spec.shown === "decided",
  refusesDefects: spec.onDefect !== "crash",
  observed:
    spec.react !== undefined || spec.epoch !== undefined || spec.snapshot?.when !== undefined,
  codec: makeEventCodec(spec.events, spec.upcasts ?? [], spec.tags),
  snapshot: spec.snapshot === undefined ? undefined : snapshotRules(name, spec.snapshot),
  passivateAfterMillis: passivateAfterMillis(name, spec),
  limits: checkedLimits(name, { ...defaults, ...spec.limits })
})

const checkedLimits = (name: string, limits: Limits): Limits => {
  assertSettings("limits", limits, `${name}: limits.`)
  return limits
}

const passivateAfterMillis = (name: string, { history, passivateAfter }: AnySpec) => {
  if (passivateAfter === undefined) return undefined
  const millis = millisOf(passivateAfter)
  assertSettings("behavior", { passivateAfter: millis }, `${name}: `)
  // Without a history there is nothing to recover from.
  return history === "none" ? undefined : millis
}

const snapshotRules = (name: string, policy: SnapshotPolicy<unknown, unknown>): SnapshotRules => {
  const { deleteEvents = false, every = Infinity, keep = 2, state, upcasts = [], when } = policy
  const { version = upcasts.length + 1 } = policy
  assertSettings("snapshot", { version, every, keep }, `${name}: snapshot.`)
  return { codec: makeSnapshotCodec(state, version, upcasts), every, when, keep, deleteEvents }
}

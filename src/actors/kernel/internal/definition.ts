/**
 * A behavior as the kernel runs it: the types of states, messages and events are checked where
 * the behavior is declared and forgotten here.
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import type { Circumstances, Recovery, SnapshotPolicy, Spec, Tagged } from "../Behavior.ts"
import type { Decision } from "../Decision.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import { defaults, type Limits } from "../Limits.ts"
import { type EventCodec, makeEventCodec, makeSnapshotCodec, type SnapshotCodec } from "./codec.ts"

export type AnyDecision = Decision<Tagged, unknown, unknown>
export type AnyEffect = Effect.Effect<unknown, unknown>

export interface SnapshotRules {
  readonly codec: SnapshotCodec
  readonly every: number
  readonly when: ((state: unknown, event: unknown) => boolean) | undefined
  readonly keep: number
  readonly deleteEvents: boolean
}

export interface Definition {
  readonly name: string
  readonly commands: ReadonlySet<string>
  readonly initial: unknown
  readonly decide: Readonly<
    Record<string, (state: unknown, message: unknown, about: Circumstances) => AnyDecision>
  >
  readonly evolve: Readonly<Record<string, (state: unknown, event: Tagged) => unknown>>
  readonly react: Readonly<
    Record<string, ((event: Tagged, self: unknown, state: unknown) => AnyEffect) | undefined>
  >
  readonly epoch: ((state: unknown) => Epoch) | undefined
  readonly reconcile:
    | ((state: unknown, recovery: Recovery, about: Circumstances) => AnyDecision)
    | undefined
  readonly start: ((state: unknown, self: unknown, recovery: Recovery) => AnyEffect) | undefined
  readonly durable: boolean
  /** Whether events are looked at one by one: by effects, epochs or a snapshot policy. */
  readonly observed: boolean
  readonly writtenBehind: ReadonlySet<string>
  readonly codec: EventCodec
  readonly snapshot: SnapshotRules | undefined
  readonly passivateAfterMillis: number | undefined
  readonly limits: Limits
}

/** What a behavior declares, once its types have done their work. */
export type AnySpec = Omit<
  Spec<object, Rpc.Any, Tagged, Schema.Codec<Tagged, unknown>, object, never>,
  "decide" | "evolve" | "react" | "start" | "snapshot"
> & {
  readonly decide: Definition["decide"]
  readonly evolve: Definition["evolve"]
  readonly react?: Definition["react"]
  readonly start?: Definition["start"]
  readonly snapshot?: SnapshotPolicy<unknown, unknown>
}

export const define = (name: string, spec: AnySpec): Definition => ({
  name,
  commands: new Set(spec.commands.map((command) => command._tag)),
  initial: spec.initial,
  decide: spec.decide,
  evolve: spec.evolve,
  react: spec.react ?? {},
  epoch: spec.epoch as Definition["epoch"],
  reconcile: spec.reconcile as Definition["reconcile"],
  start: spec.start,
  durable: spec.history !== "none",
  observed:
    spec.react !== undefined || spec.epoch !== undefined || spec.snapshot?.when !== undefined,
  writtenBehind: new Set(spec.writtenBehind),
  codec: makeEventCodec(spec.events, spec.upcasts ?? [], spec.tags),
  snapshot: spec.snapshot === undefined ? undefined : snapshotRules(spec.snapshot),
  passivateAfterMillis:
    spec.passivateAfter === undefined
      ? undefined
      : Duration.toMillis(Duration.fromInputUnsafe(spec.passivateAfter)),
  limits: { ...defaults, ...spec.limits }
})

const snapshotRules = (policy: SnapshotPolicy<unknown, unknown>): SnapshotRules => ({
  codec: makeSnapshotCodec(policy.state, policy.version ?? 1),
  every: policy.every ?? Infinity,
  when: policy.when,
  keep: policy.keep ?? 2,
  deleteEvents: policy.deleteEvents ?? false
})

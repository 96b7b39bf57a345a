/**
 * A behavior as the kernel runs it: the types of states, messages and events are checked where
 * the behavior is declared and forgotten here.
 */
import type * as Effect from "effect/Effect"
import type { Circumstances, Recovery, Tagged } from "../Behavior.ts"
import type { Decision } from "../Decision.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { Limits } from "../Limits.ts"
import type { EventCodec, SnapshotCodec } from "./codec.ts"

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

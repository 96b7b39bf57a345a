/**
 * Phases of a client's connection, and what leads from one to the next. Pure.
 *
 * ```
 * Connecting ─▶ Proving ─▶ Ready
 *     ▲            │          │
 *     └── Pausing ◀┴──────────┘
 * ```
 * *Proving* has a connection and no valid reply: one call, NULL, is out. Only a valid reply resets
 * the backoff, so a peer that accepts and dies at once is not called without a brake.
 */
import * as Schema from "effect/Schema"
import { Epoch } from "../../schema/Epoch.ts"
import * as Decision from "../kernel/Decision.ts"

/** Why a connection instance ended. */
export const EndReason = Schema.Literals([
  "unreachable",
  "rejected",
  "disconnected",
  "failed",
  "requested"
])
export type EndReason = typeof EndReason.Type

/** A new connection instance. */
export class Began extends Schema.TaggedClass<Began>()("Began", { epoch: Epoch }) {}
/** Both ends are connected. */
export class Established extends Schema.TaggedClass<Established>()("Established", {}) {}
/** The first valid reply has come. */
export class Proved extends Schema.TaggedClass<Proved>()("Proved", {}) {}
/** The connection instance is over; the epoch is that of the pause that follows. */
export class Ended extends Schema.TaggedClass<Ended>()("Ended", {
  epoch: Epoch,
  reason: EndReason,
  detail: Schema.String
}) {}

export const ConnectionEvent = Schema.Union([Began, Established, Proved, Ended])
export type ConnectionEvent = typeof ConnectionEvent.Type

export type ConnectionState =
  | { readonly _tag: "Connecting" | "Proving" | "Ready"; readonly epoch: Epoch | undefined }
  | {
      readonly _tag: "Pausing"
      readonly epoch: Epoch | undefined
      readonly reason: EndReason
      readonly detail: string
    }

export const initial: ConnectionState = { _tag: "Connecting", epoch: undefined }

/** Messages from the effects of a connection instance to their actor. */
export type Signal =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Answered" }
  | { readonly _tag: "Lost"; readonly reason: EndReason; readonly detail: string }
  | { readonly _tag: "Paused" }

type Decided = Decision.Decision<ConnectionEvent>

type Fresh = { readonly fresh: () => Epoch }

const end = ({ fresh }: Fresh, reason: EndReason, detail: string): Decided =>
  Decision.persist(new Ended({ epoch: fresh(), reason, detail }))

export const decide = {
  Reconnect: (state: ConnectionState, _: unknown, about: Fresh): Decided =>
    state._tag === "Pausing" ? Decision.none : end(about, "requested", "by the program"),
  Connected: (state: ConnectionState): Decided =>
    state._tag === "Connecting" ? Decision.persist(new Established()) : Decision.none,
  Answered: (state: ConnectionState): Decided =>
    state._tag === "Proving" ? Decision.persist(new Proved()) : Decision.none,
  Lost: (
    state: ConnectionState,
    { detail, reason }: { readonly reason: EndReason; readonly detail: string },
    about: Fresh
  ): Decided => (state._tag === "Pausing" ? Decision.none : end(about, reason, detail)),
  Paused: (state: ConnectionState, _: unknown, { fresh }: Fresh): Decided =>
    state._tag === "Pausing" ? Decision.persist(new Began({ epoch: fresh() })) : Decision.none
}

export const evolve = {
  Began: (_: ConnectionState, { epoch }: Began): ConnectionState => ({ _tag: "Connecting", epoch }),
  Established: ({ epoch }: ConnectionState): ConnectionState => ({ _tag: "Proving", epoch }),
  Proved: ({ epoch }: ConnectionState): ConnectionState => ({ _tag: "Ready", epoch }),
  Ended: (_: ConnectionState, { detail, epoch, reason }: Ended): ConnectionState => ({
    _tag: "Pausing",
    epoch,
    reason,
    detail
  })
}

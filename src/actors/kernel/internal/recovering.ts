/**
 * How a generation begins: the history is claimed, the newest snapshot is read, the events after
 * it are replayed. Then the behavior reconciles its past with the present, before any message.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import {
  type Claim,
  CorruptRecord,
  type JournalError,
  type StoredEvent
} from "../../../schema/JournalRecord.ts"
import { HistoryRefused } from "../ActorError.ts"
import type { Recovery } from "../Behavior.ts"
import type { Store } from "../Journal.ts"
import { recoveries } from "../Metrics.ts"
import { MaxRecoveries } from "../Limits.ts"
import {
  beginning,
  type Cell,
  Envelope,
  forgotten,
  isPausing,
  noSnapshots,
  nothing,
  transition
} from "./cell.ts"
import type { Definition } from "./definition.ts"
import { halted } from "./releasing.ts"
import { LONG_RECOVERY_EVENTS, takeSnapshot } from "./snapshots.ts"

export type RecoveryError = JournalError | HistoryRefused

const permits = new WeakMap<Store, Semaphore.Semaphore>()

const permitsOf = (cell: Cell, journal: Store): Semaphore.Semaphore => {
  let semaphore = permits.get(journal)
  if (semaphore === undefined) {
    semaphore = Semaphore.makeUnsafe(Context.get(cell.context, MaxRecoveries))
    permits.set(journal, semaphore)
  }
  return semaphore
}

/** What a generation begins with. */
interface Beginning {
  readonly claim: Claim | undefined
  readonly state: unknown
  readonly recovery: Recovery
}

/** Begins a generation of a halted actor. When it returns, the actor works on its mailbox. */
export const recover = (cell: Cell): Effect.Effect<void, RecoveryError> =>
  Effect.suspend(() => generate(cell))

/** The same, for a caller that must not give way before the recovery has begun. */
export const generate = (cell: Cell): Effect.Effect<void, RecoveryError> => {
  const { definition, journal } = cell
  if (cell.phase !== "halted") return Effect.void
  transition(cell, "recovering")
  cell.generation++
  Metric.withAttributes(recoveries, { actor: definition.name }).updateUnsafe(1, cell.context)
  const replay =
    journal === undefined
      ? Effect.succeed(withoutHistory(cell))
      : permitsOf(cell, journal).withPermit(replayHistory(cell, journal))
  return Effect.asVoid(Effect.onExit(replay, (exit) => Effect.sync(() => recovered(cell, exit))))
}

const recovered = (cell: Cell, exit: Exit.Exit<Beginning, RecoveryError>): void => {
  // Meanwhile the actor may have ended.
  if (cell.phase !== "recovering") return
  if (Exit.isFailure(exit) || isPausing(cell)) halted(cell)
  else begin(cell, exit.value)
}

const begin = (cell: Cell, { claim, recovery, state }: Beginning): void => {
  const { last, replayed, snapshot, upcasted } = recovery
  cell.claim = claim
  cell.state = state
  cell.seq = last
  cell.stored = last
  cell.snapshotAt = snapshot
  cell.snapshots = snapshot === 0 ? noSnapshots : [snapshot]
  const long = Math.min(cell.definition.snapshot?.every ?? Infinity, LONG_RECOVERY_EVENTS)
  if (replayed > long || upcasted > 0) takeSnapshot(cell, { seq: last, state })
  const first = new Envelope(beginning, recovery, undefined, false)
  cell.mailbox = cell.mailbox === nothing ? [first] : [first, ...cell.mailbox]
  transition(cell, "ready")
  cell.life.turn(cell)
}

/** The newest durable state of an actor that has forgotten it. It stays passive. */
export const newestState = (cell: Cell): Effect.Effect<unknown, RecoveryError> =>
  Effect.suspend(() => {
    const { definition, journal, state } = cell
    if (state !== forgotten) return Effect.succeed(state)
    if (journal === undefined) return Effect.succeed(definition.initial)
    const read = Effect.map(replayFrom(cell, journal), (replay) =>
      cell.state === forgotten ? replay.state : cell.state
    )
    return permitsOf(cell, journal).withPermit(read)
  })

const withoutHistory = ({ definition, generation }: Cell): Beginning => ({
  claim: undefined,
  state: definition.initial,
  recovery: { generation, last: 0, replayed: 0, upcasted: 0, snapshot: 0 }
})

const replayHistory = Effect.fnUntraced(function* (
  cell: Cell,
  journal: Store
): Effect.fn.Return<Beginning, RecoveryError> {
  const { generation } = cell
  const claim = yield* journal.claim(cell.address)
  const { from, seq, state, upcasted } = yield* replayFrom(cell, journal)
  if (seq !== claim.last) return yield* gap(claim.actor, seq + 1, claim.last)
  const recovery = { generation, last: seq, replayed: seq - from, upcasted, snapshot: from }
  return { claim, state, recovery }
})

/** Reads the newest snapshot and folds the events after it. */
const replayFrom = Effect.fnUntraced(function* (
  cell: Cell,
  journal: Store
): Effect.fn.Return<Replay, RecoveryError> {
  const from = yield* readSnapshot(cell, journal)
  const replay = new Replay(cell.definition, from.state, from.seq)
  yield* Stream.runForEachArray(journal.read(cell.address, from.seq + 1), (events) =>
    Effect.suspend(() => replay.take(events))
  )
  return replay
})

/** Folds stored events into a state. */
class Replay {
  readonly definition: Definition
  /** The sequence number of the snapshot that it begins with. */
  readonly from: number
  state: unknown
  seq: number
  upcasted = 0

  constructor(definition: Definition, state: unknown, seq: number) {
    this.definition = definition
    this.from = seq
    this.state = state
    this.seq = seq
  }

  take(events: ReadonlyArray<StoredEvent>): Effect.Effect<void, RecoveryError> {
    const { codec, rules } = this.definition
    for (const stored of events) {
      const { actor, seq, type, version } = stored
      if (seq !== this.seq + 1) return Effect.fail(gap(actor, this.seq + 1, seq))
      const decoded = codec.decode(stored)
      if (Exit.isFailure(decoded)) return decoded
      try {
        this.state = rules[decoded.value._tag]?.evolve(this.state, decoded.value)
      } catch (defect) {
        const detail = `evolve failed: ${String(defect)}`
        return Effect.fail(new HistoryRefused({ actor, seq, type, version, detail }))
      }
      this.seq = seq
      if (version < codec.version) this.upcasted++
    }
    return Effect.void
  }
}

/** The newest snapshot that this behavior can read; without one, replay starts at the beginning. */
const readSnapshot = Effect.fnUntraced(function* (cell: Cell, journal: Store) {
  const rules = cell.definition.snapshot
  const nothing = { state: cell.definition.initial, seq: 0 }
  if (rules === undefined) return nothing
  const found = yield* journal.loadSnapshot(cell.address)
  if (Option.isNone(found) || found.value.version !== rules.codec.version) return nothing
  const state = yield* rules.codec.decode(found.value)
  return { state, seq: found.value.seq }
})

const gap = (actor: string, expected: number, found: number): CorruptRecord =>
  new CorruptRecord({
    actor,
    seq: expected,
    kind: "event",
    file: "journal",
    detail: `the history goes on with ${found}`
  })

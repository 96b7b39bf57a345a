/**
 * How a generation begins: the history is claimed, the newest snapshot is read, the events after
 * it are replayed. Then the behavior reconciles its past with the present, before any message.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { type Claim, CorruptRecord, type StoredEvent } from "../../../schema/JournalRecord.ts"
import { HistoryRefused } from "../ActorError.ts"
import type { Recovery } from "./spec.ts"
import type { Store } from "./store.ts"
import { recoveries } from "../Metrics.ts"
import { MaxRecoveries } from "../Limits.ts"
import {
  type Life,
  beginning,
  type Cell,
  Envelope,
  forgotten,
  isPausing,
  nothingSaved,
  nothing,
  transition
} from "./cell.ts"
import type { Definition } from "./definition.ts"
import { describe } from "./logging.ts"
import { occupy } from "./occupying.ts"
import { halted } from "./releasing.ts"
import { explainGap, type RecoveryError, restore, type Start } from "./restoring.ts"
import { assertSettings } from "./settingRules.ts"
import { LONG_RECOVERY_EVENTS, takeSnapshot } from "./snapshots.ts"
import { turn } from "./turning.ts"

const permits = new WeakMap<Store, Semaphore.Semaphore>()

const permitsOf = (cell: Cell, journal: Store): Semaphore.Semaphore => {
  let semaphore = permits.get(journal)
  if (semaphore === undefined) {
    const most = Context.get(cell.context, MaxRecoveries)
    assertSettings("process", { MaxRecoveries: most })
    semaphore = Semaphore.makeUnsafe(most)
    permits.set(journal, semaphore)
  }
  return semaphore
}

/** The state and history with which a generation begins. */
interface Beginning {
  readonly claim: Claim | undefined
  readonly state: unknown
  readonly recovery: Recovery
}

/**
 * Begins a generation of a halted actor, and waits until it works on its mailbox. Interrupting the
 * caller does not interrupt the recovery, but the end of the actor does.
 */
export const recover = (cell: Cell): Effect.Effect<void, RecoveryError> =>
  Effect.suspend(() => recoverNow(cell))

/** The same, for a caller that must not yield before the recovery has begun. */
export const recoverNow = (cell: Cell): Effect.Effect<void, RecoveryError> =>
  cell.phase === "halted" ? Effect.asVoid(Fiber.join(generate(cell))) : Effect.void

/**
 * Begins a generation at once, in a fiber that an end waits for: a claim that came after the end
 * would fence the actor's successor.
 */
const generate = (cell: Cell): Fiber.Fiber<unknown, RecoveryError> => {
  const { definition, journal } = cell
  transition(cell, "recovering")
  cell.generation++
  Metric.withAttributes(recoveries, { actor: definition.name }).updateUnsafe(1, cell.context)
  const replay =
    journal === undefined
      ? Effect.succeed(withoutHistory(cell))
      : Effect.suspend(() => permitsOf(cell, journal).withPermit(replayHistory(cell, journal)))
  return occupy(cell, replay, (exit) => recovered(cell, exit))
}

const recovered = (cell: Cell, exit: Exit.Exit<Beginning, RecoveryError>): void => {
  // The actor may have ended since.
  if (cell.phase !== "recovering") return
  if (Exit.isFailure(exit) || isPausing(cell)) halted(cell)
  else begin(cell, exit.value)
}

const begin = (cell: Cell, { claim, recovery, state }: Beginning): void => {
  const { last, replayed, snapshot, unreadableSnapshots, upcasted } = recovery
  // After an append that failed but was stored, or after a crash without a history.
  const isOther = cell.definition.durable ? last !== cell.stored : state !== cell.state
  cell.claim = claim
  cell.state = state
  cell.seq = last
  cell.stored = last
  cell.saved = snapshot === 0 ? nothingSaved : { tried: snapshot, stored: [snapshot] }
  const long = Math.min(cell.definition.snapshot?.every ?? Infinity, LONG_RECOVERY_EVENTS)
  // Unreadable snapshots are replaced, so that the next recovery is short again.
  const isReplacing = unreadableSnapshots.length > 0 && replayed > 0
  if (replayed > long || upcasted > 0 || isReplacing) takeSnapshot(cell, { seq: last, state })
  if (isOther) for (const watcher of cell.watchers ?? []) watcher(undefined, state)
  const first = new Envelope(beginning, recovery, undefined, false)
  // Stashed messages are decided again: the state that stashed them may be gone.
  cell.mailbox = [first, ...cell.stash, ...cell.mailbox]
  cell.stash = nothing
  transition(cell, "ready")
  cell.life.turn(cell)
}

/** The newest durable state of a passive actor, which stays passive. */
export const newestState = (cell: Cell): Effect.Effect<unknown, RecoveryError> =>
  Effect.suspend(() => {
    const { definition, generation, journal, state } = cell
    if (state !== forgotten) return Effect.succeed(state)
    if (journal === undefined) return Effect.succeed(definition.initial)
    const read = Effect.map(replayFrom(cell, journal), (replay) =>
      cell.state === forgotten ? replay.state : cell.state
    )
    // An actor that was woken since may have deleted the events that this was about to read.
    return Effect.catch(permitsOf(cell, journal).withPermit(read), (error) =>
      cell.generation === generation ? Effect.fail(error) : newestState(cell)
    )
  })

const withoutHistory = ({ definition, generation }: Cell): Beginning => ({
  claim: undefined,
  state: definition.initial,
  recovery: { generation, last: 0, replayed: 0, upcasted: 0, snapshot: 0, unreadableSnapshots: [] }
})

const replayHistory = Effect.fnUntraced(function* (
  cell: Cell,
  journal: Store
): Effect.fn.Return<Beginning, RecoveryError> {
  const { generation } = cell
  const claim = yield* journal.claim(cell.address)
  const replay = yield* replayFrom(cell, journal)
  const { seq, start, state, upcasted } = replay
  if (seq !== claim.last) return yield* replay.gap(claim.actor, claim.last + 1)
  const recovery = {
    generation,
    last: seq,
    replayed: seq - start.seq,
    upcasted,
    snapshot: start.seq,
    unreadableSnapshots: start.unreadable.map((error) => error.seq)
  }
  return { claim, state, recovery }
})

/** Reads the newest readable snapshot and folds the events after it. */
const replayFrom = Effect.fnUntraced(function* (
  { address, definition }: Cell,
  journal: Store
): Effect.fn.Return<Replay, RecoveryError> {
  const start = yield* restore(definition, journal, address)
  const replay = new Replay(definition, start)
  yield* Stream.runForEachArray(journal.read(address, start.seq + 1), (events) =>
    Effect.suspend(() => replay.take(events))
  )
  return replay
})

/** Folds stored events into a state. */
class Replay {
  readonly definition: Definition
  /** The snapshot that it begins with. */
  readonly start: Start
  state: unknown
  seq: number
  upcasted = 0

  constructor(definition: Definition, start: Start) {
    this.definition = definition
    this.start = start
    this.state = start.state
    this.seq = start.seq
  }

  take(events: ReadonlyArray<StoredEvent>): Effect.Effect<void, RecoveryError> {
    const { codec, rules } = this.definition
    for (const stored of events) {
      const { actor, seq, type, version } = stored
      if (seq !== this.seq + 1) return Effect.fail(this.gap(actor, seq))
      const decoded = codec.decode(stored)
      if (Exit.isFailure(decoded)) return decoded
      try {
        this.state = rules[decoded.value._tag]?.evolve(this.state, decoded.value)
      } catch (defect) {
        const detail = `evolve failed: ${describe(Cause.die(defect))}`
        return Effect.fail(new HistoryRefused({ actor, seq, type, version, detail }))
      }
      this.seq = seq
      if (version < codec.version) this.upcasted++
    }
    return Effect.void
  }

  /** The error for a history that goes on with event `found`. */
  gap(actor: string, found: number): RecoveryError {
    if (this.seq === this.start.seq) return explainGap(this.definition, this.start, actor, found)
    const detail = `the history goes on with ${found}`
    return new CorruptRecord({ actor, seq: this.seq + 1, kind: "event", file: "journal", detail })
  }
}

/** Drives the cells of one owner, which decides what happens after a crash. */
export const lifeWith = (crashed: Life["crashed"]): Life => ({
  turn,
  crashed,
  wake: (cell) => {
    const generation = cell.generation + 1
    generate(cell).addObserver((exit) => {
      if (Exit.isFailure(exit) && cell.phase === "halted") crashed(cell, generation, exit.cause)
    })
  }
})

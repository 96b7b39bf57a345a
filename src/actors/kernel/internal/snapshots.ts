/** Stores the state beside its events, and deletes what older snapshots made unnecessary. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type { Store } from "./store.ts"
import { snapshotFailures } from "../Metrics.ts"
import type { Append, Cell } from "./cell.ts"
import { report } from "./logging.ts"

/** A recovery that replayed more events than this stores a snapshot at once. */
export const LONG_RECOVERY_EVENTS = 1000

/** Stores a snapshot if an append reached a count or holds an event that calls for one. */
export const snapshotIfDue = (cell: Cell, append: Append): void => {
  const rules = cell.definition.snapshot
  if (rules === undefined) return
  if (append.snapshot || append.seq - cell.saved.tried >= rules.every) takeSnapshot(cell, append)
}

/**
 * Stores a state in the background. `seq` and `state` come from the same completed append or the
 * same recovery: the actor may be far ahead of them when they are written. A snapshot only saves
 * time: a failure is counted and logged, and the actor goes on.
 */
export const takeSnapshot = (
  cell: Cell,
  { seq, state }: { readonly seq: number; readonly state: unknown }
): void => {
  const { claim, journal } = cell
  const rules = cell.definition.snapshot
  if (rules === undefined || claim === undefined || journal === undefined) return
  const { actor } = claim
  const { generation } = cell
  const { codec, deleteEvents, keep } = rules
  cell.saved = { tried: seq, stored: cell.saved.stored }
  const save = Effect.suspend(() => {
    const body = codec.encode(state)
    return journal.saveSnapshot(claim, { actor, seq, version: codec.version, body, at: cell.now() })
  })
  const prune = Effect.gen(function* () {
    // A recovery knows the newest one only.
    const older = yield* olderThan(journal, actor, cell.saved.stored, seq, keep)
    if (cell.generation !== generation) return
    const known = new Set([...older, ...cell.saved.stored, seq])
    const kept = [...known].toSorted((one, other) => one - other).slice(-keep)
    cell.saved = { tried: cell.saved.tried, stored: kept }
    const oldest = kept[0] ?? seq
    yield* journal.prune(claim, { snapshotsBefore: oldest, eventsTo: deleteEvents ? oldest : 0 })
  })
  cell.fork(
    Effect.andThen(save, prune).pipe(
      Effect.catchCause((cause) =>
        Effect.andThen(
          Metric.update(snapshotFailures, 1),
          report("Warn", "snapshot failed", cause, { actor, seq })
        )
      )
    )
  )
}

/** The stored snapshots before the known ones, up to the number to keep. */
const olderThan = Effect.fnUntraced(function* (
  journal: Store,
  actor: string,
  known: ReadonlyArray<number>,
  seq: number,
  keep: number
) {
  const older: Array<number> = []
  let oldest = known[0] ?? seq
  while (known.length + older.length + 1 < keep) {
    // A damaged one is not worth keeping, nor are those before it.
    const found = yield* Effect.catchTag(
      journal.loadSnapshot(actor, oldest - 1),
      "CorruptRecord",
      () => Effect.succeedNone
    )
    if (Option.isNone(found) || found.value.seq >= oldest) break
    oldest = found.value.seq
    older.push(oldest)
  }
  return older
})

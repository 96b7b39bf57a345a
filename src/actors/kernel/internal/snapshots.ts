/** Stores the state beside its events, and deletes what older snapshots made unnecessary. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
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
 * time: when it fails, that is counted and logged, and the actor goes on.
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
  const prune = Effect.suspend(() => {
    if (cell.generation !== generation) return Effect.void
    const all = [...cell.saved.stored, seq].toSorted((one, other) => one - other)
    cell.saved = { tried: cell.saved.tried, stored: all.slice(-keep) }
    const oldest = cell.saved.stored[0] ?? seq
    return journal.prune(claim, { snapshotsBefore: oldest, eventsTo: deleteEvents ? oldest : 0 })
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

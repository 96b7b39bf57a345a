/** Stores the state beside its events, and deletes what older snapshots made unnecessary. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { snapshotFailures } from "../Metrics.ts"
import type { Cell } from "./cell.ts"
import type { Batch } from "./deciding.ts"
import type { SnapshotRules } from "./definition.ts"

/** A recovery that replayed more events than this stores a snapshot at once. */
export const LONG_RECOVERY_EVENTS = 1000

/** Stores a snapshot if the batch reached a count or an event that calls for one. */
export const snapshotIfDue = (cell: Cell, batch: Batch): void => {
  const rules = cell.definition.snapshot
  if (rules === undefined) return
  if (cell.seq - cell.snapshotAt >= rules.every || called(rules.when, batch.steps))
    takeSnapshot(cell)
}

/** Whether one of the events calls for a snapshot. */
const called = (when: SnapshotRules["when"], steps: ReadonlyArray<unknown>): boolean => {
  if (when === undefined) return false
  for (let index = 0; index < steps.length; index += 2) {
    if (when(steps[index + 1], steps[index])) return true
  }
  return false
}

/**
 * Stores the newest state in the background. A snapshot only saves time: when it fails, that is
 * counted and logged, and the actor goes on.
 */
export const takeSnapshot = (cell: Cell): void => {
  const { claim, journal } = cell
  const rules = cell.definition.snapshot
  // Events written behind may still be on their way; a snapshot must not be ahead of them.
  if (rules === undefined || claim === undefined || journal === undefined) return
  if (cell.stored !== cell.seq) return
  const { actor } = claim
  const { generation, seq } = cell
  const { codec, deleteEvents, keep } = rules
  cell.snapshotAt = seq
  const save = Effect.suspend(() => {
    const body = codec.encode(cell.state)
    return journal.saveSnapshot(claim, { actor, seq, version: codec.version, body, at: cell.now() })
  })
  const prune = Effect.suspend(() => {
    if (cell.generation !== generation) return Effect.void
    cell.snapshots = [...cell.snapshots, seq].toSorted((one, other) => one - other).slice(-keep)
    const oldest = cell.snapshots[0] ?? seq
    return journal.prune(claim, { snapshotsBefore: oldest, eventsTo: deleteEvents ? oldest : 0 })
  })
  cell.fork(
    Effect.andThen(save, prune).pipe(
      Effect.catchCause((cause) =>
        Effect.andThen(
          Metric.update(snapshotFailures, 1),
          Effect.logWarning("snapshot failed", cause).pipe(Effect.annotateLogs({ actor, seq }))
        )
      )
    )
  )
}

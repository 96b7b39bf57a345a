/**
 * Chooses the stored snapshot that a recovery begins with: the newest one that the behavior can
 * read. A snapshot only saves time, so one that cannot be read is logged and skipped. It matters
 * only if the events before it are deleted.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { CorruptRecord, type JournalError } from "../../../schema/JournalRecord.ts"
import { HistoryRefused } from "../ActorError.ts"
import type { Store } from "./store.ts"
import type { SnapshotCodec } from "./codec.ts"
import type { Definition, SnapshotRules } from "./definition.ts"
import { report } from "./logging.ts"

export type RecoveryError = JournalError | HistoryRefused

type Unreadable = CorruptRecord | HistoryRefused

/** Where a replay begins. */
export interface Start {
  readonly state: unknown
  /** The sequence number of the snapshot, 0 if there is none. */
  readonly seq: number
  /** Newer snapshots that cannot be read, the newest one first. */
  readonly unreadable: ReadonlyArray<Unreadable>
}

const isUnreadable = (error: JournalError | HistoryRefused): error is Unreadable =>
  error._tag === "HistoryRefused" || (error._tag === "CorruptRecord" && error.kind === "snapshot")

/** Reads the newest readable snapshot; without one, replay begins with the first event. */
export const restore = Effect.fnUntraced(function* (
  { initial, snapshot: rules }: Definition,
  journal: Store,
  actor: string
): Effect.fn.Return<Start, RecoveryError> {
  const unreadable: Array<Unreadable> = []
  const beginning = { state: initial, seq: 0 }
  if (rules === undefined) return { ...beginning, unreadable }
  let atMost = Number.MAX_SAFE_INTEGER
  while (atMost > 0) {
    const loaded = yield* Effect.result(load(rules, journal, actor, atMost))
    if (Result.isSuccess(loaded)) return { ...(loaded.success ?? beginning), unreadable }
    const error = loaded.failure
    if (!isUnreadable(error)) return yield* error
    const { message, seq } = error
    const passedOver = `snapshot passed over: ${message}`
    yield* report("Warn", passedOver, Cause.empty, { actor, seq })
    unreadable.push(error)
    // A store that answers with a newer snapshot than requested has no older ones.
    atMost = seq > atMost ? 0 : seq - 1
  }
  return { ...beginning, unreadable }
})

const load = Effect.fnUntraced(function* (
  { codec }: SnapshotRules,
  journal: Store,
  actor: string,
  atMost: number
) {
  const found = yield* journal.loadSnapshot(actor, atMost)
  if (Option.isNone(found)) return undefined
  const { seq } = found.value
  return { seq, state: yield* codec.decode(found.value) }
})

/**
 * Explains why nothing can be replayed after a `Start`: the next event would be `seq + 1`, but the
 * history goes on with `found`.
 */
export const explainGap = (
  { snapshot: rules }: Definition,
  { seq, unreadable }: Start,
  actor: string,
  found: number
): Unreadable => {
  const file = "journal"
  if (found <= seq) {
    const detail = `the history ends before it, with ${found - 1}`
    return new CorruptRecord({ actor, seq, kind: "snapshot", file, detail })
  }
  const [newest] = unreadable
  if (newest === undefined) {
    const detail = `the history goes on with ${found}, and no snapshot stands for what is missing`
    return new CorruptRecord({ actor, seq: seq + 1, kind: "event", file, detail })
  }
  const deleted = `${newest.detail}; the events up to ${found - 1} are deleted`
  if (newest._tag === "CorruptRecord") {
    const detail = `${deleted}: restore the journal from a backup`
    return new CorruptRecord({ ...newest, detail })
  }
  const detail = `${deleted}: ${adviceFor(newest.version, rules?.codec)}`
  return new HistoryRefused({ ...newest, detail })
}

const adviceFor = (version: number, codec: SnapshotCodec | undefined): string => {
  if (codec !== undefined && version < codec.oldest) {
    return `add the steps from version ${version} to \`snapshot.upcasts\``
  }
  if (codec !== undefined && version > codec.version) {
    return (
      "start the version of the program that stored it, " +
      "or bring a copy of the journal back with `Journal.rewriteSqlite`"
    )
  }
  return "let `snapshot.state` or its upcasts accept what was stored"
}

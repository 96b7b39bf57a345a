/** Rewrites a journal file: an Effect around the native copy. */
import * as Effect from "effect/Effect"
import { CorruptRecord, JournalUnavailable } from "../../../schema/JournalRecord.ts"
import { isRefusal, OperationFailed, refusalOf } from "../../../native/sqlite/failures.ts"
import { rewriteFile } from "../../../native/sqlite/rewriteFile.ts"
import type { RewriteSettings } from "./journalSettings.ts"

const cacheBytes = 16 << 20

/** Copies a file; an exception of the given functions is a defect. */
export const rewriteSqlite = ({
  event = (event) => event,
  from,
  snapshot = (snapshot) => snapshot,
  to
}: RewriteSettings): Effect.Effect<void, JournalUnavailable | CorruptRecord> =>
  Effect.suspend((): Effect.Effect<void, JournalUnavailable | CorruptRecord> => {
    try {
      rewriteFile(from, to, cacheBytes, { event, snapshot })
      return Effect.void
    } catch (cause) {
      if (cause instanceof OperationFailed && cause.failure.kind === "corrupt") {
        const { actor, detail, record, seq } = cause.failure
        return Effect.fail(new CorruptRecord({ actor, seq, kind: record, file: from, detail }))
      }
      if (!isRefusal(cause)) return Effect.die(cause)
      return Effect.fail(new JournalUnavailable({ file: from, ...refusalOf(from, cause) }))
    }
  })

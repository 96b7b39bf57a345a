/** A journal in memory. Each operation is one synchronous step, so it is atomic by itself. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import {
  type Append,
  type Claim,
  Fenced,
  type JournalError,
  SequenceConflict,
  type StoredEvent,
  type StoredSnapshot
} from "../../../schema/JournalRecord.ts"
import type { Store } from "../Journal.ts"

interface History {
  writer: number
  last: number
  events: Array<StoredEvent>
  snapshots: Array<StoredSnapshot>
}

/** Makes an empty journal that lives as long as the value itself. */
export const makeMemory = (): Store => {
  const histories = new Map<string, History>()
  let offset = 0

  const historyOf = (actor: string): History => {
    let history = histories.get(actor)
    if (history === undefined) {
      history = { writer: 0, last: 0, events: [], snapshots: [] }
      histories.set(actor, history)
    }
    return history
  }
  const guarded = (
    claim: { readonly actor: string; readonly writer: number },
    change: (history: History) => JournalError | void
  ) =>
    Effect.suspend((): Effect.Effect<void, JournalError> => {
      const history = historyOf(claim.actor)
      if (history.writer !== claim.writer) {
        const { actor, writer } = claim
        return Effect.fail(new Fenced({ actor, writer, by: history.writer }))
      }
      const failure = change(history)
      return failure === undefined ? Effect.void : Effect.fail(failure)
    })

  const append = (request: Append) =>
    guarded(request, (history) => {
      const { actor, expected } = request
      if (history.last !== expected) {
        return new SequenceConflict({ actor, expected, actual: history.last })
      }
      for (const event of request.events) {
        history.last++
        offset++
        history.events.push({ ...event, actor, seq: history.last, offset })
      }
    })

  return {
    claim: (actor) =>
      Effect.sync((): Claim => {
        const history = historyOf(actor)
        history.writer++
        return { actor, writer: history.writer, last: history.last }
      }),
    append,
    read: (actor, from = 1) =>
      Stream.suspend(() =>
        Stream.fromIterable(historyOf(actor).events.filter((event) => event.seq >= from))
      ),
    saveSnapshot: (claim, snapshot) =>
      guarded(claim, (history) => {
        const { actor, seq } = snapshot
        if (seq > history.last) {
          return new SequenceConflict({ actor, expected: seq, actual: history.last })
        }
        const others = history.snapshots.filter((other) => other.seq !== seq)
        history.snapshots = [...others, snapshot].toSorted((one, other) => one.seq - other.seq)
      }),
    loadSnapshot: (actor, atMost = Infinity) =>
      Effect.sync(() =>
        Option.fromUndefinedOr(
          historyOf(actor).snapshots.findLast((snapshot) => snapshot.seq <= atMost)
        )
      ),
    prune: (claim, { eventsTo = 0, snapshotsBefore = 0 }) =>
      guarded(claim, (history) => {
        history.events = history.events.filter((event) => event.seq > eventsTo)
        history.snapshots = history.snapshots.filter((other) => other.seq >= snapshotsBefore)
      }),
    tagged: (tag, after = 0) =>
      Stream.suspend(() =>
        Stream.fromIterable(
          [...histories.values()]
            .flatMap((history) => history.events)
            .filter((event) => event.offset > after && event.tags.includes(tag))
            .toSorted((a, b) => a.offset - b.offset)
        )
      )
  }
}

/** Demands on snapshots: the newest that is not too new, one for each event. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { StoredSnapshot } from "../../../../schema/JournalRecord.ts"
import { failureOf, same } from "../contract.ts"
import { append, demand, events, history, range, sequence } from "./cases.ts"

const snapshot = (seq: number, body = `{"n":${seq}}`): StoredSnapshot => ({
  actor: "a",
  seq,
  version: 2,
  body,
  at: 1_700_000_000_000 + seq
})

export const snapshots = [
  demand("an actor without snapshots has none", function* (journal) {
    yield* history(journal, "a", 3)
    yield* same(yield* journal.loadSnapshot("a"), Option.none(), "snapshot")
    yield* same(yield* journal.loadSnapshot("b"), Option.none(), "snapshot of an unknown actor")
  }),

  demand("the newest snapshot that is not after an event is found", function* (journal) {
    const claim = yield* history(journal, "a", 9)
    for (const seq of [6, 2, 4]) yield* journal.saveSnapshot(claim, snapshot(seq))
    yield* same(yield* journal.loadSnapshot("a"), Option.some(snapshot(6)), "newest")
    for (const atMost of range(0, 8)) {
      const expected = [6, 4, 2].find((seq) => seq <= atMost)
      yield* same(
        yield* journal.loadSnapshot("a", atMost),
        Option.map(Option.fromUndefinedOr(expected), (seq) => snapshot(seq)),
        `newest up to ${atMost}`
      )
    }
    yield* same(yield* sequence(journal, "a"), range(1, 9), "events")
  }),

  demand("a snapshot takes the place of another one of the same event", function* (journal) {
    const claim = yield* history(journal, "a", 5)
    yield* journal.saveSnapshot(claim, snapshot(3))
    yield* journal.saveSnapshot(claim, snapshot(5))
    yield* journal.saveSnapshot(claim, snapshot(3, "other é\0"))
    yield* same(yield* journal.loadSnapshot("a"), Option.some(snapshot(5)), "newest")
    yield* same(
      yield* journal.loadSnapshot("a", 4),
      Option.some(snapshot(3, "other é\0")),
      "replaced"
    )
  }),

  demand("snapshots of different actors do not meet", function* (journal) {
    for (const actor of ["a", "b"]) {
      const claim = yield* history(journal, actor, 2)
      yield* journal.saveSnapshot(claim, { ...snapshot(2, actor), actor })
    }
    for (const actor of ["a", "b"]) {
      const found = yield* journal.loadSnapshot(actor)
      yield* same(found, Option.some({ ...snapshot(2, actor), actor }), actor)
    }
  }),

  demand("a snapshot of an event that is not there is refused", function* (journal) {
    const claim = yield* history(journal, "a", 2)
    const refused = yield* failureOf(journal.saveSnapshot(claim, snapshot(3)))
    yield* same(refused, "SequenceConflict", "snapshot of event 3 of 2")
    yield* same(yield* journal.loadSnapshot("a"), Option.none(), "snapshot")
  }),

  demand("large snapshots come back whole", function* (journal) {
    const claim = yield* history(journal, "a", 1)
    const large = snapshot(1, JSON.stringify("é😀x".repeat(400_000)))
    yield* journal.saveSnapshot(claim, large)
    yield* same(yield* journal.loadSnapshot("a"), Option.some(large), "snapshot")
  }),

  demand("snapshots and appends of many actors go together", function* (journal) {
    const names = range(1, 50).map((index) => `actor ${index}`)
    yield* Effect.forEach(
      names,
      Effect.fnUntraced(function* (actor) {
        const claim = yield* history(journal, actor, 1)
        for (const seq of range(1, 5)) {
          yield* journal.saveSnapshot(claim, { ...snapshot(seq, actor), actor })
          yield* append(journal, claim, seq, events(1))
        }
      }),
      { concurrency: "unbounded", discard: true }
    )
    for (const actor of names) {
      const found = yield* journal.loadSnapshot(actor)
      yield* same(found, Option.some({ ...snapshot(5, actor), actor }), actor)
    }
  })
]

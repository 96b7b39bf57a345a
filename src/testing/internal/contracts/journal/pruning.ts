/** Demands on deletion: exactly the named events, and the last sequence number is never lost. */
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { same } from "../contract.ts"
import { append, demand, events, history, range, sequence, stored } from "./cases.ts"

const snapshot = (seq: number) => ({ actor: "a", seq, version: 1, body: "{}", at: 0 })

export const pruning = [
  demand("events are deleted up to and with the one named", function* (journal) {
    const claim = yield* history(journal, "a", 10)
    yield* history(journal, "b", 10)
    for (const eventsTo of [0, 1, 4, 3, 7]) {
      yield* journal.prune(claim, { eventsTo })
      const first = Math.max(eventsTo, eventsTo === 3 ? 4 : 0) + 1
      yield* same(yield* sequence(journal, "a"), range(first, 10), `after ${eventsTo}`)
    }
    yield* same(yield* sequence(journal, "a", 3), [8, 9, 10], "read from a deleted event")
    yield* same(yield* sequence(journal, "a", 9), [9, 10], "read from a kept event")
    yield* same(yield* sequence(journal, "b"), range(1, 10), "events of another actor")
  }),

  demand("the last sequence number outlives the events", function* (journal) {
    const claim = yield* history(journal, "a", 5)
    yield* journal.prune(claim, { eventsTo: 5 })
    yield* same(yield* sequence(journal, "a"), [], "events")
    yield* append(journal, claim, 5, events(1))
    yield* same(yield* sequence(journal, "a"), [6], "events")
    yield* journal.prune(claim, { eventsTo: 100 })
    const again = yield* journal.claim("a")
    yield* same(again.last, 6, "last event")
    yield* append(journal, again, 6, events(2))
    yield* same(yield* sequence(journal, "a"), [7, 8], "events")
  }),

  demand("deletion uses no offset twice", function* (journal) {
    const claim = yield* history(journal, "a", 5)
    const before = (yield* stored(journal, "a")).at(-1)?.offset ?? 0
    yield* journal.prune(claim, { eventsTo: 5 })
    yield* append(journal, claim, 5, events(1))
    const after = (yield* stored(journal, "a"))[0]?.offset ?? 0
    yield* same(after > before, true, `${after} is after ${before}`)
  }),

  demand("snapshots are deleted before the event named", function* (journal) {
    const claim = yield* history(journal, "a", 6)
    for (const seq of [2, 4, 6]) yield* journal.saveSnapshot(claim, snapshot(seq))
    yield* journal.prune(claim, { snapshotsBefore: 4 })
    yield* same(yield* journal.loadSnapshot("a", 3), Option.none(), "before the event")
    yield* same(yield* journal.loadSnapshot("a", 5), Option.some(snapshot(4)), "of the event")
    yield* same(yield* sequence(journal, "a"), range(1, 6), "events")
    yield* journal.prune(claim, { eventsTo: 6 })
    yield* same(yield* journal.loadSnapshot("a"), Option.some(snapshot(6)), "newest")
  }),

  demand("a long history is deleted in its middle of use", function* (journal) {
    const claim = yield* history(journal, "a", 2500)
    yield* journal.prune(claim, { eventsTo: 1234 })
    yield* append(journal, claim, 2500, events(1))
    yield* same(yield* sequence(journal, "a"), range(1235, 2501), "events")
  }),

  demand("deleted events are found by no tag", function* (journal) {
    const claim = yield* journal.claim("a")
    yield* append(journal, claim, 0, events(4, ["t"]))
    const offset = (yield* stored(journal, "a"))[2]?.offset
    yield* journal.prune(claim, { eventsTo: 3 })
    const found = yield* Stream.runCollect(journal.tagged("t", offset))
    yield* same(
      found.map(({ seq }) => seq),
      [4],
      "tagged events"
    )
  })
]

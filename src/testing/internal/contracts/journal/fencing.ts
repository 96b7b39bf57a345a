/** Demands on claims: the newest writer alone writes, from the moment of its claim. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { failureOf, same } from "../contract.ts"
import { append, demand, event, events, history, range, sequence } from "./cases.ts"

export const fencing = [
  demand("each claim has a higher writer than the one before", function* (journal) {
    const first = yield* journal.claim("a")
    const second = yield* journal.claim("a")
    yield* append(journal, second, 0, events(1))
    const third = yield* journal.claim("a")
    yield* same(first.writer < second.writer && second.writer < third.writer, true, "rising")
    yield* same([first.last, second.last, third.last], [0, 0, 1], "last events")
  }),

  demand("an older writer is fenced from everything that writes", function* (journal) {
    const old = yield* history(journal, "a", 2)
    const now = yield* journal.claim("a")
    const error = yield* Effect.flip(append(journal, old, 2, events(1)))
    yield* same(error._tag, "Fenced", "append of the older writer")
    if (error._tag === "Fenced") {
      yield* same([error.writer, error.by], [old.writer, now.writer], "writers")
    }
    const snapshot = { actor: "a", seq: 2, version: 1, body: "{}", at: 0 }
    yield* same(yield* failureOf(journal.saveSnapshot(old, snapshot)), "Fenced", "snapshot")
    yield* same(yield* failureOf(journal.prune(old, { eventsTo: 2 })), "Fenced", "deletion")
    yield* same(yield* failureOf(append(journal, old, 9, events(1))), "Fenced", "wrong place")
    yield* same(yield* sequence(journal, "a"), [1, 2], "events")
    yield* append(journal, now, 2, events(1))
  }),

  demand("a writer without a claim writes nothing", function* (journal) {
    const other = yield* journal.claim("other")
    for (const actor of ["a", "b"]) {
      const stranger = { actor, writer: other.writer + 1, last: 0 }
      yield* same(yield* failureOf(append(journal, stranger, 0, events(1))), "Fenced", actor)
      yield* same(yield* sequence(journal, actor), [], actor)
    }
    yield* same((yield* journal.claim("a")).last, 0, "last event")
  }),

  demand("a claim fences appends that are under way", function* (journal) {
    const old = yield* journal.claim("a")
    const writing = yield* Effect.forkChild(
      Effect.forEach(
        range(0, 199),
        (index) => failureOf(append(journal, old, index, [event(`${index + 1}`)])),
        { concurrency: "unbounded" }
      ),
      { startImmediately: true }
    )
    const now = yield* journal.claim("a")
    // Gives appends that have passed the journal's checks the time to store events.
    yield* Effect.yieldNow
    yield* append(journal, now, now.last, [event("newer")])
    const outcomes = yield* Fiber.join(writing)
    const count = outcomes.filter((outcome) => outcome === "nothing").length
    yield* same(count, now.last, "appends that succeeded, against the claim's last event")
    yield* same(yield* sequence(journal, "a"), range(1, now.last + 1), "events")
  }),

  demand("two writers that race for an actor never mix their events", function* (journal) {
    const write = Effect.fnUntraced(function* (name: string) {
      let done = 0
      for (const round of range(1, 30)) {
        const claim = yield* journal.claim("a")
        const outcome = yield* failureOf(
          append(journal, claim, claim.last, [event(name), event(`${name} ${round}`)])
        )
        if (outcome === "nothing") done++
        else yield* same(outcome, "Fenced", name)
      }
      return done
    })
    const done = yield* Effect.all([write("x"), write("y"), write("z")], {
      concurrency: "unbounded"
    })
    const total = done.reduce((sum, count) => sum + count, 0)
    yield* same(yield* sequence(journal, "a"), range(1, 2 * total), "events")
  })
]

/** Demands on read: from any event on, long histories too, and never more than is asked for. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { same } from "../contract.ts"
import { append, demand, event, events, history, range, sequence, stored } from "./cases.ts"

export const reading = [
  demand("a history is read from any event on", function* (journal) {
    yield* history(journal, "a", 7)
    for (const from of range(1, 9)) {
      yield* same(yield* sequence(journal, "a", from), range(from, 7), `events from ${from}`)
    }
    yield* same(yield* sequence(journal, "a"), range(1, 7), "events")
  }),

  demand("a long history among others is read whole and in order", function* (journal) {
    const long = yield* journal.claim("long")
    const other = yield* journal.claim("other")
    for (const index of range(0, 24)) {
      yield* append(
        journal,
        long,
        100 * index,
        range(1, 100).map((n) => event(`${index} ${n}`))
      )
      yield* append(journal, other, index, events(1))
    }
    const all = yield* stored(journal, "long")
    yield* same(
      all.map(({ seq }) => seq),
      range(1, 2500),
      "sequence numbers"
    )
    yield* same(
      all.every(({ body, seq }) => {
        const [block, place] = [Math.floor((seq - 1) / 100), ((seq - 1) % 100) + 1]
        return JSON.parse(body) === `${block} ${place}`
      }),
      true,
      "bodies"
    )
    for (const from of [999, 1000, 1001, 1002, 2000, 2001, 2500]) {
      yield* same(yield* sequence(journal, "long", from), range(from, 2500), `from ${from}`)
    }
  }),

  demand("a reader that stops early or is slow delays no other", function* (journal) {
    const claim = yield* history(journal, "a", 3000)
    const some = yield* journal.read("a").pipe(Stream.take(5), Stream.runCollect)
    yield* same(
      some.map(({ seq }) => seq),
      range(1, 5),
      "first five"
    )
    let seen = 0
    yield* journal.read("a").pipe(
      Stream.rechunk(500),
      Stream.runForEachArray((batch) => {
        seen += batch.length
        return append(journal, claim, 3000 + seen / 500 - 1, [event("meanwhile")])
      })
    )
    yield* same(seen, 3000, "events that were there when the reading began")
    yield* same((yield* sequence(journal, "a")).length, 3006, "events afterwards")
  }),

  demand("many histories are read at the same time", function* (journal) {
    const names = range(1, 50).map((index) => `actor ${index}`)
    yield* Effect.forEach(names, (name, index) => history(journal, name, 10 + index), {
      concurrency: "unbounded"
    })
    const counts = yield* Effect.forEach(names, (name) => sequence(journal, name), {
      concurrency: "unbounded"
    })
    yield* same(
      counts,
      names.map((_, index) => range(1, 10 + index)),
      "histories"
    )
  })
]

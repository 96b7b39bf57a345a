/** Demands on tags and offsets: one order for all actors, the order of the commits. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Store } from "../../../../actors/kernel/Journal.ts"
import { same } from "../contract.ts"
import { append, demand, event, history, range, stored } from "./cases.ts"

const tagged = (journal: Store, tag: string, after?: number) =>
  Stream.runCollect(journal.tagged(tag, after))

const bodies = (events: ReadonlyArray<{ readonly body: string }>) =>
  events.map(({ body }) => JSON.parse(body))

const rises = (numbers: ReadonlyArray<number>) =>
  numbers.every((number, at) => at === 0 || number > numbers[at - 1]!)

export const tags = [
  demand("offsets rise across actors in the order of commits", function* (journal) {
    const claims = [yield* journal.claim("b"), yield* journal.claim("a"), yield* journal.claim("c")]
    for (const round of range(0, 9)) {
      for (const claim of claims) {
        yield* append(journal, claim, 2 * round, [event("x", ["t"]), event("y", ["t"])])
      }
    }
    const all = yield* tagged(journal, "t")
    yield* same(rises(all.map(({ offset }) => offset)), true, "rising offsets")
    yield* same(
      all.map(({ actor, seq }) => `${actor}${seq}`),
      range(0, 9).flatMap((round) =>
        claims.flatMap(({ actor }) => [`${actor}${2 * round + 1}`, `${actor}${2 * round + 2}`])
      ),
      "order"
    )
  }),

  demand("an event has the same fields by tag and by actor", function* (journal) {
    const claim = yield* journal.claim("a")
    const labels = ["t", "other", "é\0"]
    yield* append(journal, claim, 0, [event("1", labels), event("2"), event("3", ["t"])])
    const events = yield* stored(journal, "a")
    yield* same(yield* tagged(journal, "t"), [events[0], events[2]], "events by tag")
    yield* same(yield* tagged(journal, "é\0"), [events[0]], "events by an odd tag")
    yield* same(events[0]?.tags, labels, "tags")
  }),

  demand("only events with exactly that tag are found", function* (journal) {
    const claim = yield* journal.claim("a")
    const labels = ["t", "T", "t ", "tt", "", "%", "t,u"]
    yield* append(
      journal,
      claim,
      0,
      labels.map((label) => event(label, [label]))
    )
    yield* history(journal, "b", 3)
    for (const label of labels) yield* same(bodies(yield* tagged(journal, label)), [label], label)
    yield* same(yield* tagged(journal, "u"), [], "an unknown tag")
  }),

  demand("a projection goes on after the last offset it has stored", function* (journal) {
    const claim = yield* journal.claim("a")
    yield* append(
      journal,
      claim,
      0,
      range(1, 5).map((n) => event(`${n}`, ["t"]))
    )
    const first = yield* tagged(journal, "t")
    for (const [at, { offset }] of first.entries()) {
      const rest = bodies(yield* tagged(journal, "t", offset))
      yield* same(rest, range(at + 2, 5).map(String), `after event ${at + 1}`)
    }
    yield* append(journal, claim, 5, [event("6", ["t"])])
    yield* same(bodies(yield* tagged(journal, "t", first.at(-1)?.offset)), ["6"], "the new one")
  }),

  demand("names may be empty, those of actors and those of tags", function* (journal) {
    const claim = yield* journal.claim("")
    yield* append(journal, claim, 0, [event("1", ["", "t"])])
    yield* same(bodies(yield* tagged(journal, "")), ["1"], "by the empty tag")
    yield* same(bodies(yield* tagged(journal, "t")), ["1"], "of the empty actor")
  }),

  demand("a tag of many events is read whole", function* (journal) {
    const claims = [yield* journal.claim("a"), yield* journal.claim("b")]
    for (const round of range(0, 11)) {
      for (const claim of claims) {
        const batch = range(1, 100).map((n) => event(`${100 * round + n}`, ["t"]))
        yield* append(journal, claim, 100 * round, batch)
      }
    }
    const all = yield* tagged(journal, "t")
    yield* same(all.length, 2400, "events")
    yield* same(rises(all.map(({ offset }) => offset)), true, "rising offsets")
  }),

  demand("no projection misses an event that is stored while it reads", function* (journal) {
    const names = range(1, 20).map((index) => `actor ${index}`)
    const seen: Array<number> = []
    let after = 0
    const look = Effect.map(
      Effect.suspend(() => tagged(journal, "t", after)),
      (events) => {
        for (const { offset } of events) seen.push(offset)
        after = events.at(-1)?.offset ?? after
      }
    )
    yield* Effect.forEach(
      names,
      Effect.fnUntraced(function* (name) {
        const claim = yield* journal.claim(name)
        for (const index of range(0, 9)) {
          yield* append(journal, claim, index, [event(name, ["t"])])
          if (name === "actor 1") yield* look
        }
      }),
      { concurrency: "unbounded", discard: true }
    )
    yield* look
    yield* same(seen.length, 200, "events seen")
    yield* same(rises(seen), true, "rising offsets")
  })
]

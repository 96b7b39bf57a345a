/** Demands on append: dense, whole or not at all, exact, and side by side with others. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { JournalError, NewEvent, StoredSnapshot } from "../../../../schema/JournalRecord.ts"
import { failureOf, same } from "../contract.ts"
import { append, demand, event, events, given, history, range, sequence, stored } from "./cases.ts"

const texts = [
  "",
  "\0",
  "a\0b",
  '\n\r\t"\\',
  "é, e\u0301, ß, 漢字, 😀, \u2028",
  "'; DROP TABLE events; --"
]

const lone = ["\ud800", "a\udc00", "\udc00\ud800"]

const like = (change: Partial<NewEvent>): NewEvent =>
  Object.assign({ type: "T", version: 1, body: "{}", at: 0, tags: [] }, change)

const unstorable: ReadonlyArray<NewEvent> = [
  ...lone.flatMap((text) => [
    like({ type: text }),
    like({ body: JSON.stringify(text).replaceAll(/\\u[0-9a-f]+/g, text) }),
    like({ tags: ["t", text] })
  ]),
  ...[NaN, Infinity, -Infinity, 2 ** 60].map((at) => like({ at })),
  ...[NaN, 1.5, Infinity, 2 ** 60].map((version) => like({ version }))
]

const odd: ReadonlyArray<NewEvent> = [
  ...texts.map((text) => ({ type: "T", version: 1, body: text, at: 0, tags: [] })),
  ...texts.map((text) => ({ type: text, version: 1, body: "{}", at: 0, tags: [] })),
  { type: "T", version: 2_147_483_648, body: "{}", at: 1_800_000_000_000.25, tags: [] },
  { type: "T", version: 0, body: "{}", at: -1, tags: [] }
]

export const appending = [
  demand("a new actor has no history", function* (journal) {
    yield* same((yield* journal.claim("a")).last, 0, "last event")
    yield* same(yield* sequence(journal, "a"), [], "events of a claimed actor")
    yield* same(yield* sequence(journal, "b"), [], "events of an unknown actor")
  }),

  demand("events get dense numbers in the order of their appends", function* (journal) {
    const claim = yield* journal.claim("a")
    for (const before of [0, 1, 3, 6]) {
      const count = before === 0 ? 1 : before === 1 ? 2 : before === 3 ? 3 : 4
      yield* append(journal, claim, before, events(count, []))
    }
    const all = yield* stored(journal, "a")
    yield* same(
      all.map(({ seq }) => seq),
      range(1, 10),
      "sequence numbers"
    )
    yield* same(
      all.map(({ body }) => JSON.parse(body)),
      ["1", "1", "2", "1", "2", "3", "1", "2", "3", "4"],
      "bodies"
    )
    yield* same((yield* journal.claim("a")).last, 10, "last event")
  }),

  demand("an event comes back as it was given", function* (journal) {
    const claim = yield* journal.claim("a")
    yield* append(journal, claim, 0, odd)
    const all = yield* stored(journal, "a")
    yield* same(all.map(given), odd, "events")
    yield* same(
      all.every(({ actor }) => actor === "a"),
      true,
      "actor of the events"
    )
  }),

  demand("actors whose names differ in anything are different actors", function* (journal) {
    const names = [...texts, "a", "A", "a ", " a", "é"]
    for (const [index, name] of names.entries()) yield* history(journal, name, index)
    for (const [index, name] of names.entries()) {
      yield* same((yield* journal.claim(name)).last, index, `last event of ${JSON.stringify(name)}`)
      yield* same(yield* sequence(journal, name), range(1, index), JSON.stringify(name))
    }
  }),

  demand("large bodies come back whole", function* (journal) {
    const claim = yield* journal.claim("a")
    const large = range(1, 5).map((index) => event(`${index}${"é😀x".repeat(200_000)}`))
    yield* append(journal, claim, 0, large)
    yield* same((yield* stored(journal, "a")).map(given), large, "events")
  }),

  demand(
    "an append at the wrong place stores nothing and names the right one",
    function* (journal) {
      const claim = yield* history(journal, "a", 2)
      for (const wrong of [0, 1, 3]) {
        const error = yield* Effect.flip(append(journal, claim, wrong, events(3)))
        yield* same(error._tag, "SequenceConflict", `append after ${wrong}`)
        if (error._tag === "SequenceConflict") {
          yield* same([error.expected, error.actual], [wrong, 2], "places")
        }
      }
      yield* same(yield* sequence(journal, "a"), [1, 2], "events")
      yield* append(journal, claim, 2, events(1))
    }
  ),

  demand("a refused append does not spoil the ones beside it", function* (journal) {
    const names = range(1, 20).map((index) => `a${index}`)
    const outcomes = yield* Effect.forEach(
      names,
      Effect.fnUntraced(function* (name, index) {
        const claim = yield* journal.claim(name)
        return yield* failureOf(append(journal, claim, index % 3 === 1 ? 7 : 0, events(2)))
      }),
      { concurrency: "unbounded" }
    )
    for (const [index, name] of names.entries()) {
      const isRefused = index % 3 === 1
      yield* same(outcomes[index], isRefused ? "SequenceConflict" : "nothing", name)
      yield* same(yield* sequence(journal, name), isRefused ? [] : [1, 2], name)
    }
  }),

  demand("an append that cannot be stored is refused alone", function* (journal) {
    const names = unstorable.map((_, index) => `a${index}`)
    const outcomes = yield* Effect.forEach(
      ["good", ...names],
      Effect.fnUntraced(function* (name, index) {
        const claim = yield* journal.claim(name)
        const last = index === 0 ? [] : [unstorable[index - 1]!]
        return yield* failureOf(append(journal, claim, 0, [...events(1), ...last]))
      }),
      { concurrency: "unbounded" }
    )
    yield* same(outcomes, ["nothing", ...names.map(() => "NotStorable")], "outcomes")
    yield* same(yield* sequence(journal, "good"), [1], "events beside them")
    for (const name of names) yield* same(yield* sequence(journal, name), [], name)
  }),

  demand("a name with a lone surrogate is no other name", function* (journal) {
    for (const name of lone) {
      const claim = { actor: name, writer: 1, last: 0 }
      const projection = { name, tag: "t" }
      const snapshot = { actor: name, seq: 1, version: 1, body: "{}", at: 0 }
      for (const operation of [
        journal.claim(name),
        append(journal, claim, 0, events(1)),
        Stream.runDrain(journal.read(name)),
        Stream.runDrain(journal.tagged(name)),
        journal.saveSnapshot(claim, snapshot),
        journal.loadSnapshot(name),
        journal.prune(claim, { eventsTo: 1 }),
        journal.register(projection),
        journal.register({ name: "x", tag: name }),
        journal.acknowledge(projection, 1),
        journal.unregister(projection)
      ] satisfies ReadonlyArray<Effect.Effect<unknown, JournalError>>) {
        yield* same(yield* failureOf(operation), "NotStorable", JSON.stringify(name))
      }
    }
  }),

  demand("a snapshot that cannot be stored is refused alone", function* (journal) {
    const claim = yield* history(journal, "a", 1)
    const like = (change: Partial<StoredSnapshot>): StoredSnapshot =>
      Object.assign({ actor: "a", seq: 1, version: 1, body: "{}", at: 0 }, change)
    const unstorable = [
      like({ body: lone[0]! }),
      ...[NaN, 0.5].map((seq) => like({ seq })),
      ...[NaN, 1.5].map((version) => like({ version })),
      ...[NaN, 2 ** 60].map((at) => like({ at }))
    ]
    const outcomes = yield* Effect.forEach(
      [...unstorable, like({})],
      (each) => failureOf(journal.saveSnapshot(claim, each)),
      { concurrency: "unbounded" }
    )
    yield* same(outcomes, [...unstorable.map(() => "NotStorable"), "nothing"], "outcomes")
  }),

  demand("an append is seen whole or not at all", function* (journal) {
    const claim = yield* journal.claim("a")
    const writing = yield* Effect.forkChild(
      Effect.forEach(range(0, 99), (index) => append(journal, claim, 3 * index, events(3)), {
        discard: true
      })
    )
    let count = 0
    while (count < 300 && writing.pollUnsafe() === undefined) {
      count = (yield* sequence(journal, "a")).length
      yield* same(count % 3, 0, `rest of ${count} events by three`)
      yield* Effect.yieldNow
    }
    yield* Fiber.join(writing)
    yield* same((yield* sequence(journal, "a")).length, 300, "events")
  }),

  demand("many actors write at the same time, each its own dense history", function* (journal) {
    const names = range(1, 200).map((index) => `actor ${index}`)
    yield* Effect.forEach(
      names,
      Effect.fnUntraced(function* (name) {
        const claim = yield* journal.claim(name)
        for (const index of range(0, 9)) {
          yield* append(journal, claim, 2 * index, [event(`${name} 1`), event(`${name} 2`)])
        }
      }),
      { concurrency: "unbounded", discard: true }
    )
    for (const name of names) {
      const all = yield* stored(journal, name)
      yield* same(
        all.map(({ seq }) => seq),
        range(1, 20),
        name
      )
      yield* same(
        all.every(({ body }, at) => JSON.parse(body) === `${name} ${(at % 2) + 1}`),
        true,
        `bodies of ${name}`
      )
    }
  }),

  demand("an append whose caller is gone leaves a dense history", function* (journal) {
    const claim = yield* history(journal, "a", 1)
    const fiber = yield* Effect.forkChild(append(journal, claim, 1, events(2)), {
      startImmediately: true
    })
    yield* Fiber.interrupt(fiber)
    const again = yield* journal.claim("a")
    yield* same(again.last === 1 || again.last === 3, true, `last event ${again.last} is 1 or 3`)
    yield* append(journal, again, again.last, events(1))
    yield* same(yield* sequence(journal, "a"), range(1, again.last + 1), "events")
  })
]

/** Demands on projections: unacknowledged events stay, and deleted ones are reported. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Store } from "../../../../actors/kernel/Journal.ts"
import { failureOf, same } from "../contract.ts"
import { append, demand, event, events, history, range, sequence, stored } from "./cases.ts"

const tagged = (journal: Store, tag: string, after?: number) =>
  Stream.runCollect(journal.tagged(tag, after))

const sequenceOf = (journal: Store, tag: string, after?: number) =>
  Effect.map(tagged(journal, tag, after), (all) => all.map(({ seq }) => seq))

/** Stores so many events with a tag, and returns the claim and their offsets. */
const prepare = Effect.fnUntraced(function* (journal: Store, count: number, actor = "a") {
  const claim = yield* journal.claim(actor)
  yield* append(journal, claim, 0, events(count, ["t"]))
  const offsets = (yield* stored(journal, actor)).map(({ offset }) => offset)
  return { claim, offsetOf: (seq: number) => (seq === 0 ? 0 : offsets[seq - 1]!) }
})

const large = { name: "large", tag: "t" }

const reading = [
  demand(
    "a reader behind deleted events gets an error with the offset to begin at",
    function* (journal) {
      const { claim, offsetOf } = yield* prepare(journal, 6)
      yield* journal.prune(claim, { eventsTo: 4 })
      for (const seq of range(0, 3)) {
        const after = offsetOf(seq)
        const error = yield* Effect.flip(tagged(journal, "t", after))
        yield* same(error._tag, "EventsPruned", `read after event ${seq}`)
        if (error._tag === "EventsPruned") {
          const { prunedTo, tag } = error
          yield* same([tag, error.after, prunedTo], ["t", after, offsetOf(4)], "the error's fields")
        }
      }
      yield* same(yield* sequenceOf(journal, "t", offsetOf(4)), [5, 6], "from where it may begin")
      yield* same(yield* sequenceOf(journal, "t", offsetOf(5)), [6], "behind that")
    }
  ),

  demand("only readers of a tag that deleted events carried get an error", function* (journal) {
    const claim = yield* journal.claim("a")
    yield* append(journal, claim, 0, [event("1", ["t", "é\0"]), event("2"), event("3", ["u"])])
    yield* journal.prune(claim, { eventsTo: 2 })
    for (const tag of ["t", "é\0"]) {
      yield* same(yield* failureOf(tagged(journal, tag)), "EventsPruned", tag)
    }
    yield* same(yield* sequenceOf(journal, "u"), [3], "another tag")
    yield* same(yield* tagged(journal, "v"), [], "an unknown tag")
  }),

  demand("the newest deleted event of all actors counts", function* (journal) {
    const a = yield* prepare(journal, 3, "a")
    const b = yield* prepare(journal, 3, "b")
    yield* journal.prune(b.claim, { eventsTo: 2 })
    yield* journal.prune(a.claim, { eventsTo: 3 })
    const error = yield* failureOf(tagged(journal, "t", a.offsetOf(3)))
    yield* same(error, "EventsPruned", "read after the newest deleted one of one actor")
    yield* same(yield* sequenceOf(journal, "t", b.offsetOf(2)), [3], "after that of the other")
  }),

  demand("a reader that is overtaken by a deletion gets an error", function* (journal) {
    const { claim } = yield* prepare(journal, 5000)
    let seen = 0
    const slow = journal.tagged("t").pipe(
      Stream.rechunk(1),
      Stream.runForEach(() =>
        ++seen === 1 ? journal.prune(claim, { eventsTo: 5000 }) : Effect.void
      )
    )
    const outcome = yield* failureOf(slow)
    yield* same(outcome === "EventsPruned" || seen === 5000, true, `${outcome} after ${seen}`)
  })
]

const registering = [
  demand("a projection begins at 0 and keeps the position it acknowledges", function* (journal) {
    const { offsetOf } = yield* prepare(journal, 5)
    yield* same(yield* journal.register(large), 0, "position of a new projection")
    for (const [seq, expected] of [
      [2, 2],
      [1, 2],
      [5, 5],
      [0, 5]
    ] as const) {
      yield* journal.acknowledge(large, offsetOf(seq))
      yield* same(yield* journal.register(large), offsetOf(expected), `after ${seq}`)
    }
  }),

  demand("projections differ by their name and their tag", function* (journal) {
    const { offsetOf } = yield* prepare(journal, 3)
    const others = [
      { name: "large", tag: "u" },
      { name: "Large", tag: "t" },
      { name: "", tag: "t" },
      { name: "larget", tag: "" }
    ]
    yield* Effect.forEach([large, ...others], journal.register)
    yield* journal.acknowledge(large, offsetOf(3))
    for (const other of others) {
      yield* same(yield* journal.register(other), 0, JSON.stringify(other))
    }
  }),

  demand("no position is beyond the newest event", function* (journal) {
    const { claim, offsetOf } = yield* prepare(journal, 3)
    yield* journal.register(large)
    yield* journal.acknowledge(large, offsetOf(3) + 1000)
    yield* append(journal, claim, 3, events(2, ["t"]))
    const after = yield* journal.register(large)
    yield* same(yield* sequenceOf(journal, "t", after), [4, 5], "events after its position")
  }),

  demand("a projection that is not registered cannot acknowledge", function* (journal) {
    const { offsetOf } = yield* prepare(journal, 3)
    const acknowledging = failureOf(journal.acknowledge(large, offsetOf(2)))
    yield* same(yield* acknowledging, "UnknownProjection", "before it is registered")
    yield* journal.register(large)
    yield* same(yield* acknowledging, "nothing", "while it is registered")
    yield* journal.unregister(large)
    yield* journal.unregister(large)
    yield* same(yield* acknowledging, "UnknownProjection", "after it is not any more")
    yield* same(yield* journal.register(large), 0, "position when it is registered again")
  })
]

const keeping = [
  demand(
    "deletion stops before events that a projection has not acknowledged",
    function* (journal) {
      const claim = yield* journal.claim("a")
      const tags = [[], ["t"], [], ["u"], ["t", "u"], [], []]
      yield* append(
        journal,
        claim,
        0,
        tags.map((tags, index) => event(`${index + 1}`, tags))
      )
      const offsets = (yield* stored(journal, "a")).map(({ offset }) => offset)
      yield* journal.register(large)
      for (const [acknowledged, first] of [
        [0, 2],
        [1, 2],
        [2, 5],
        [4, 5],
        [5, 8]
      ] as const) {
        yield* journal.acknowledge(large, acknowledged === 0 ? 0 : offsets[acknowledged - 1]!)
        yield* journal.prune(claim, { eventsTo: 7 })
        const left = yield* sequence(journal, "a")
        yield* same(left, range(first, 7), `events after ${acknowledged} is acknowledged`)
      }
      yield* append(journal, claim, 7, events(1))
      yield* same(yield* sequence(journal, "a"), [8], "the next event")
    }
  ),

  demand("a registered projection misses nothing", function* (journal) {
    const claim = yield* journal.claim("a")
    yield* journal.register(large)
    const seen: Array<number> = []
    for (const round of range(0, 9)) {
      yield* append(journal, claim, 10 * round, events(10, round % 2 === 0 ? ["t"] : []))
      yield* journal.prune(claim, { eventsTo: 10 * round + 7 })
      const after = yield* journal.register(large)
      const found = yield* tagged(journal, "t", after)
      for (const { seq } of found) seen.push(seq)
      yield* journal.acknowledge(large, found.at(-1)?.offset ?? after)
      yield* journal.prune(claim, { eventsTo: 10 * round + 7 })
    }
    const expected = range(0, 9).flatMap((round) =>
      round % 2 === 0 ? range(10 * round + 1, 10 * round + 10) : []
    )
    yield* same(seen, expected, "events seen")
    yield* same(yield* sequence(journal, "a"), range(98, 100), "events left")
  }),

  demand("the slowest projection counts, and none that is not registered", function* (journal) {
    const { claim, offsetOf } = yield* prepare(journal, 9)
    const other = { name: "other", tag: "t" }
    yield* journal.register(large)
    yield* journal.register(other)
    yield* journal.acknowledge(large, offsetOf(7))
    yield* journal.acknowledge(other, offsetOf(3))
    yield* journal.prune(claim, { eventsTo: 9 })
    yield* same(yield* sequence(journal, "a"), range(4, 9), "events")
    yield* journal.unregister(other)
    yield* journal.prune(claim, { eventsTo: 9 })
    yield* same(yield* sequence(journal, "a"), [8, 9], "events without the slower one")
    yield* journal.unregister(large)
    yield* journal.prune(claim, { eventsTo: 9 })
    yield* same(yield* sequence(journal, "a"), [], "events without projections")
  }),

  demand("a deletion that stops early deletes the snapshots that it names", function* (journal) {
    const { claim } = yield* prepare(journal, 6)
    yield* journal.register(large)
    const snapshot = (seq: number) => ({ actor: "a", seq, version: 1, body: "{}", at: 0 })
    for (const seq of [2, 4]) yield* journal.saveSnapshot(claim, snapshot(seq))
    yield* journal.prune(claim, { eventsTo: 4, snapshotsBefore: 4 })
    yield* same(yield* journal.loadSnapshot("a", 3), Option.none(), "older snapshot")
    yield* same(yield* journal.loadSnapshot("a"), Option.some(snapshot(4)), "newest snapshot")
    yield* same(yield* sequence(journal, "a"), range(1, 6), "events")
  }),

  demand("a projection holds up no actor without its tag", function* (journal) {
    yield* journal.register(large)
    const claim = yield* history(journal, "b", 5)
    yield* journal.prune(claim, { eventsTo: 5 })
    yield* same(yield* sequence(journal, "b"), [], "events of another actor")
  })
]

export const projections = [...reading, ...registering, ...keeping]

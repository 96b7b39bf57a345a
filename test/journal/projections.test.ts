/**
 * Goal: a projection sees every event with its tag or is told which are gone, whatever actors
 * delete and whatever happens to the file.
 * Method: actors that delete their events, over both journals; then files that are opened again,
 * looked into and damaged by SQL.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"
import type { Claim } from "../../src/schema/JournalRecord.ts"
import { decide, evolve, react, spec, State } from "../actors/kernel/counter.ts"

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)
const open = (file: string) => Journal.layerSqlite({ file })

const Deleting = Behavior.make("Counter", {
  ...spec,
  decide,
  evolve,
  react,
  tags: () => ["counted"],
  snapshot: { state: State, every: 5, keep: 1, deleteEvents: true }
})

/** Stores events of one actor, and waits until it has asked for the deletion of those up to one. */
const count = Effect.fnUntraced(function* (events: number, deletedTo: number) {
  const journal = yield* Journal
  const deletions = yield* Queue.unbounded<number | undefined>()
  const observed = Journal.of({
    ...journal,
    prune: (claim, limits) =>
      Effect.tap(journal.prune(claim, limits), () => Queue.offer(deletions, limits.eventsTo))
  })
  const counter = yield* Effect.provideService(Actor.spawn(Deleting, "a"), Journal, observed)
  for (let n = 1; n <= events; n++) yield* counter.ask.Add({ n })
  while ((yield* Queue.take(deletions)) !== deletedTo);
}, Effect.scoped)

const projection = { name: "counts", tag: "counted" }

/** Reads on after the stored position, and acknowledges what it has read. */
const readOn = Effect.gen(function* () {
  const journal = yield* Journal
  const after = yield* journal.register(projection)
  const found = yield* Stream.runCollect(journal.tagged(projection.tag, after))
  yield* journal.acknowledge(projection, found.at(-1)?.offset ?? after)
  return found.map(({ seq }) => seq)
})

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)

for (const [kind, layer] of [
  ["memory", () => Journal.layerMemory],
  ["SQLite", () => open(freshFile())]
] as const) {
  describe(`events that actors delete, in ${kind}`, () => {
    it.live("J5: a reader from the beginning is told that they are gone", () =>
      Effect.gen(function* () {
        yield* count(16, 15)
        const journal = yield* Journal
        const error = yield* Effect.flip(Stream.runCollect(journal.tagged("counted")))
        assert.deepInclude({ ...error }, { _tag: "EventsPruned", tag: "counted", after: 0 })
        if (error._tag !== "EventsPruned") return
        const left = yield* Stream.runCollect(journal.tagged("counted", error.prunedTo))
        assert.deepStrictEqual(
          left.map(({ seq }) => seq),
          [16]
        )
      }).pipe(Effect.provide(layer()))
    )

    it.live("J5: a registered projection sees all of them, and then they are deleted", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* journal.register(projection)
        yield* count(16, 15)
        assert.deepStrictEqual(yield* readOn, range(1, 16))
        yield* count(4, 20)
        const left = yield* Stream.runCollect(journal.read("Counter/a"))
        assert.strictEqual(left[0]?.seq, 17, "the newest ones are not acknowledged")
        assert.deepStrictEqual(yield* readOn, range(17, 20))
      }).pipe(Effect.provide(layer()))
    )
  })
}

const alter = (file: string, sql: string) => {
  const database = new DatabaseSync(file)
  database.exec(sql)
  database.close()
}

const query = (file: string, sql: string) => {
  const database = new DatabaseSync(file)
  const rows = database.prepare(sql).all()
  database.close()
  return rows
}

const append = (journal: Store, { actor, last, writer }: Claim, count: number, tag?: string) =>
  journal.append({
    actor,
    writer,
    expected: last,
    events: Array.from({ length: count }, () => ({
      type: "T",
      version: 1,
      body: "{}",
      at: 0,
      tags: tag === undefined ? [] : [tag, "all"]
    }))
  })

/** A closed journal with ten events of each actor, the first six deleted. */
const prepare = Effect.fnUntraced(function* () {
  const file = freshFile()
  yield* Effect.gen(function* () {
    const journal = yield* Journal
    yield* journal.register({ name: "b", tag: "b" })
    for (const actor of ["a", "b"]) {
      const claim = yield* journal.claim(actor)
      yield* append(journal, claim, 10, actor)
      yield* journal.prune(claim, { eventsTo: 6 })
    }
  }).pipe(Effect.provide(open(file)))
  return file
})

describe("a journal file", () => {
  it.live("J5: is opened again with its positions and the ends of its deletions", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const found = yield* Stream.runCollect(journal.tagged("b"))
        assert.strictEqual(found.length, 10)
        yield* journal.acknowledge({ name: "b", tag: "b" }, found[3]!.offset)
        const error = yield* Effect.flip(Stream.runCollect(journal.tagged("a")))
        assert.deepInclude({ ...error }, { _tag: "EventsPruned", prunedTo: 6 })
      }).pipe(Effect.provide(open(file)))
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        assert.strictEqual(yield* journal.register({ name: "b", tag: "b" }), 14)
        yield* journal.prune(yield* journal.claim("b"), { eventsTo: 9 })
        const left = yield* Stream.runCollect(journal.read("b"))
        assert.strictEqual(left[0]?.seq, 5)
      }).pipe(Effect.provide(open(file)))
    })
  )

  it.live("J5: a projection skips nothing after all events were deleted", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      const all = { name: "all", tag: "all" }
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        yield* journal.register(all)
        yield* journal.acknowledge(all, 20)
        yield* journal.unregister({ name: "b", tag: "b" })
        for (const actor of ["a", "b"]) {
          yield* journal.prune(yield* journal.claim(actor), { eventsTo: 10 })
        }
      }).pipe(Effect.provide(open(file)))
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        yield* append(journal, yield* journal.claim("c"), 3, "c")
        const found = yield* Stream.runCollect(journal.tagged("all", yield* journal.register(all)))
        assert.deepStrictEqual(
          found.map(({ offset, seq }) => [offset, seq]),
          [
            [21, 1],
            [22, 2],
            [23, 3]
          ]
        )
      }).pipe(Effect.provide(open(file)))
    })
  )

  it.live("J5: holds no tag of a deleted event", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      const rows = query(
        file,
        "SELECT t.offset FROM tagged t LEFT JOIN events e ON e.offset = t.offset" +
          " WHERE e.offset IS NULL"
      )
      assert.deepStrictEqual(rows, [])
      const [tagged] = query(file, "SELECT count(*) AS count FROM tagged")
      assert.strictEqual(tagged?.["count"], 28)
    })
  )

  for (const [what, sql, actor] of [
    ["a position", "UPDATE projections SET position = 11", "b"],
    ["the tag of a projection", "UPDATE projections SET tag = 'a'", "b"]
  ] as const) {
    it.live(`J5: ${what} that was changed is named, and nothing is deleted`, () =>
      Effect.gen(function* () {
        const file = yield* prepare()
        alter(file, sql)
        yield* Effect.gen(function* () {
          const journal = yield* Journal
          const claim = yield* journal.claim("b")
          const error = yield* Effect.flip(journal.prune(claim, { eventsTo: 10 }))
          assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "projection", actor })
          assert.strictEqual((yield* Stream.runCollect(journal.read("b"))).length, 10)
        }).pipe(Effect.provide(open(file)))
      })
    )
  }

  it.live("J5: the end of a deletion that was changed is named", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      alter(file, "UPDATE pruned_tags SET offset = 1 WHERE tag = 'a'")
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const error = yield* Effect.flip(Stream.runCollect(journal.tagged("a", 1)))
        assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "projection" })
      }).pipe(Effect.provide(open(file)))
    })
  )

  it.live("J5: damaged tags fail a deletion alone, and name their event", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      alter(file, "UPDATE events SET tags = '[' WHERE seq = 8 AND body = '{}'")
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const a = yield* journal.claim("a")
        const c = yield* journal.claim("c")
        const [pruned, appended] = yield* Effect.all(
          [Effect.flip(journal.prune(a, { eventsTo: 9 })), Effect.exit(append(journal, c, 1))],
          { concurrency: "unbounded" }
        )
        assert.deepInclude({ ...pruned }, { _tag: "CorruptRecord", kind: "event", seq: 8 })
        assert.isTrue(Exit.isSuccess(appended))
      }).pipe(Effect.provide(open(file)))
    })
  )

  it.live("the end of an actor's deletions that was changed is named", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      alter(file, "UPDATE actors SET pruned = 8 WHERE name = 'a'")
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const error = yield* Effect.flip(Stream.runCollect(journal.read("a")))
        assert.deepInclude({ ...error }, { _tag: "CorruptRecord", actor: "a" })
      }).pipe(Effect.provide(open(file)))
    })
  )
})

describe("a deletion of several transactions", () => {
  const prepareLong = Effect.fnUntraced(function* (journal: Store, tag?: string) {
    const claim = yield* journal.claim("long")
    yield* append(journal, claim, 45_000, tag)
    const snapshot = { actor: "long", version: 1, body: "{}", at: 0 }
    for (const seq of [100, 44_000]) yield* journal.saveSnapshot(claim, { ...snapshot, seq })
    return claim
  })

  it.live("keeps older snapshots until its last event is deleted", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const claim = yield* prepareLong(journal)
      // All of them are asked for at once: the worker answers one between two transactions.
      const look = Effect.all(
        [journal.loadSnapshot("long", 200), Stream.runHead(journal.read("long"))],
        { concurrency: "unbounded" }
      )
      const [looks] = yield* Effect.all(
        [
          Effect.all([look, look, look], { concurrency: "unbounded" }),
          journal.prune(claim, { eventsTo: 44_000, snapshotsBefore: 44_000 })
        ],
        { concurrency: "unbounded" }
      )
      const between = looks.map(([snapshot, first]) => ({
        hasSnapshot: Option.isSome(snapshot),
        first: Option.getOrThrow(first).seq
      }))
      assert.isTrue(
        between.some(({ first }) => first > 1 && first < 44_001),
        "a look fell between two transactions"
      )
      for (const { first, hasSnapshot } of between) {
        if (first < 44_001) assert.isTrue(hasSnapshot, `at ${first}`)
      }
      assert.isTrue(Option.isNone(yield* journal.loadSnapshot("long", 200)))
    }).pipe(Effect.provide(open(freshFile())))
  )

  it.live("J5: heeds a projection that is registered meanwhile", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const claim = yield* prepareLong(journal, "t")
      const late = { name: "late", tag: "t" }
      yield* Effect.all(
        [
          journal.prune(claim, { eventsTo: 44_000 }),
          Effect.andThen(journal.loadSnapshot("long"), journal.register(late))
        ],
        { concurrency: "unbounded" }
      )
      const left = Option.getOrThrow(yield* Stream.runHead(journal.read("long")))
      assert.isBelow(left.seq, 44_001)
      const error = yield* Effect.flip(Stream.runDrain(journal.tagged("t")))
      assert.deepInclude({ ...error }, { _tag: "EventsPruned", prunedTo: left.offset - 1 })
    }).pipe(Effect.provide(open(freshFile())))
  )
})

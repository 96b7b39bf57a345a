/**
 * Goal: damage is named to the one operation that meets it. It neither leaves that operation half
 * done, nor fails others of the same commit, nor ends the process.
 * Method: real files; rows are changed by SQL, a page by overwriting its type, and the journal is
 * opened again.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"
import { SettingsRefused } from "../../src/native/io/PoolError.ts"
import type {
  Claim,
  CorruptRecord,
  JournalError,
  NewEvent
} from "../../src/schema/JournalRecord.ts"

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)

const using = <A, E>(file: string, use: (journal: Store) => Effect.Effect<A, E>) =>
  Effect.flatMap(Journal, use).pipe(Effect.provide(Journal.layerSqlite({ file })))

const event = (change: Partial<NewEvent> = {}): NewEvent => ({
  type: "T",
  version: 1,
  body: "{}",
  at: 1,
  tags: [],
  ...change
})

const append = (journal: Store, claim: Claim, ...events: ReadonlyArray<NewEvent>) =>
  journal.append({ actor: claim.actor, writer: claim.writer, expected: claim.last, events })

const alter = (file: string, sql: string) => {
  const database = new DatabaseSync(file)
  database.exec(sql)
  database.close()
}

const pageBytes = 8192

/** Where the first page of a table begins in the file. */
const rootOf = (file: string, table: string) => {
  const database = new DatabaseSync(file)
  const find = database.prepare("SELECT rootpage AS page FROM sqlite_schema WHERE name = ?")
  const page = Number(find.get(table)?.["page"])
  database.close()
  return (page - 1) * pageBytes
}

/** Changes a table's last leaf, which holds its newest rows. */
const changeLastLeaf = (file: string, table: string, change: (leaf: Buffer) => void) => {
  const root = rootOf(file, table)
  const bytes = readFileSync(file)
  const [interiorIndex, interiorTable] = [2, 5]
  assert.include([interiorIndex, interiorTable], bytes[root], "the table has several leaves")
  const rightmostChild = pageBytes * (bytes.readUInt32BE(root + 8) - 1)
  change(bytes.subarray(rightmostChild, rightmostChild + pageBytes))
  writeFileSync(file, bytes)
}

const breakType = (leaf: Buffer) => leaf.writeUInt8(0xff, 0)

describe("a leaf of a closed journal that has lost its newest rows", () => {
  it.live("2: is refused, since its offsets would be given away again", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const events = Array.from({ length: 500 }, () => event({ tags: ["t"] }))
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          yield* append(journal, yield* journal.claim("a"), ...events)
        })
      )
      changeLastLeaf(file, "events", (leaf) => leaf.writeUInt16BE(leaf.readUInt16BE(3) - 1, 3))
      const error = yield* Effect.flip(using(file, (journal) => journal.claim("b")))
      assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason: "damaged" })
      assert.include(error.message, "the newest events, after offset 499, are missing")
    })
  )
})

describe("a number that was damaged", () => {
  const prepare = Effect.fnUntraced(function* () {
    const file = freshFile()
    yield* using(
      file,
      Effect.fnUntraced(function* (journal: Store) {
        const claim = yield* journal.claim("a")
        yield* append(journal, claim, event({ tags: ["t"] }))
        const snapshot = { actor: "a", seq: 1, version: 1, body: "{}", at: 1 }
        yield* journal.saveSnapshot(claim, snapshot)
      })
    )
    return file
  })

  const named = (
    name: string,
    sql: string,
    kind: CorruptRecord["kind"],
    use: (journal: Store) => Effect.Effect<unknown, JournalError>
  ) =>
    it.live(`F10: ${name}, and the process goes on`, () =>
      Effect.gen(function* () {
        const file = yield* prepare()
        alter(file, sql)
        const error = yield* Effect.flip(using(file, use))
        assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind, seq: 0 })
      })
    )

  named("an event's place, found by its tag", "UPDATE events SET seq = ''", "event", (journal) =>
    Stream.runDrain(journal.tagged("t"))
  )
  named("a snapshot's place", "UPDATE snapshots SET seq = 0.5", "snapshot", (journal) =>
    journal.loadSnapshot("a")
  )
  named("the last event of an actor", "UPDATE actors SET last = 'x'", "event", (journal) =>
    Stream.runDrain(journal.read("a"))
  )
})

describe("damage that one operation meets", () => {
  it.live("F3: a page of an actor's index fails its claim, and no append of the same commit", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const actors = Array.from({ length: 600 }, (_, index) => `actor ${index}`)
      yield* using(file, (journal) =>
        Effect.forEach(
          actors,
          (actor) =>
            Effect.flatMap(journal.claim(actor), (claim) => append(journal, claim, event())),
          { concurrency: "unbounded" }
        )
      )
      changeLastLeaf(file, "runs", breakType)
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          const claim = yield* journal.claim("actor 0")
          const [claimed, appended] = yield* Effect.all(
            [Effect.flip(journal.claim("actor 599")), Effect.exit(append(journal, claim, event()))],
            { concurrency: "unbounded" }
          )
          assert.deepInclude({ ...claimed }, { _tag: "CorruptRecord", actor: "actor 599" })
          assert.isTrue(Exit.isSuccess(appended))
        })
      )
    })
  )

  it.live("F3: the sum of a tag fails appends with that tag only", () =>
    Effect.gen(function* () {
      const file = freshFile()
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          yield* append(journal, yield* journal.claim("a"), event({ tags: ["t"] }))
        })
      )
      alter(file, "UPDATE tags SET count = count + 1")
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          const [a, b] = [yield* journal.claim("a"), yield* journal.claim("b")]
          const both = [append(journal, a, event({ tags: ["t"] })), append(journal, b, event())]
          const [tagged, other] = yield* Effect.forEach(both, Effect.exit, {
            concurrency: "unbounded"
          })
          assert.strictEqual(tagged?._tag, "Failure")
          assert.strictEqual(other?._tag, "Success")
          assert.strictEqual((yield* journal.claim("a")).last, 1)
        })
      )
    })
  )

  it.live("F4: a deletion that meets a damaged row deletes nothing", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const events = Array.from({ length: 20 }, (_, index) =>
        event({ tags: [index % 2 === 0 ? "u" : "t"] })
      )
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          const claim = yield* journal.claim("a")
          yield* append(journal, claim, ...events)
          yield* journal.prune(claim, { eventsTo: 4 })
        })
      )
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          const claim = yield* journal.claim("a")
          alter(file, "UPDATE pruned_tags SET crc = crc + 1 WHERE tag = 't'")
          const error = yield* Effect.flip(journal.prune(claim, { eventsTo: 10 }))
          assert.strictEqual(error._tag, "CorruptRecord")
          const left = yield* Stream.runCollect(journal.tagged("u", 4))
          assert.deepStrictEqual(
            left.map(({ seq }) => seq),
            [5, 7, 9, 11, 13, 15, 17, 19]
          )
        })
      )
    })
  )

  it.live("F13: a page of the tags is called damage, and not an I/O error", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const tags = Array.from({ length: 100 }, (_, index) => `tag ${index}`)
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          const claim = yield* journal.claim("a")
          yield* append(journal, claim, ...Array.from({ length: 30 }, () => event({ tags })))
        })
      )
      changeLastLeaf(file, "tagged", breakType)
      const error = yield* Effect.flip(
        using(file, (journal) => Stream.runDrain(journal.tagged("tag 99")))
      )
      assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "file", file })
      assert.include(error.message, `${file} is damaged`)
    })
  )
})

describe("a time of -0, which a clock that rounds may give", () => {
  it.live("F1: is stored as 0, and the event and the snapshot are read back", () =>
    using(
      freshFile(),
      Effect.fnUntraced(function* (journal: Store) {
        const claim = yield* journal.claim("a")
        yield* append(journal, claim, event({ at: -0 }))
        yield* journal.saveSnapshot(claim, { actor: "a", seq: 1, version: 1, body: "{}", at: -0 })
        const [found] = yield* Stream.runCollect(journal.read("a"))
        assert.strictEqual(found?.at, 0)
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(journal.loadSnapshot("a"))))
      })
    )
  )
})

describe("a bit of the rows that readers of tags rely on", () => {
  it.live("3: is named to every reader of a tag, wherever it is, and to no actor", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const projection = { name: "counts", tag: "tagged" }
      yield* using(
        file,
        Effect.fnUntraced(function* (journal: Store) {
          const claim = yield* journal.claim("a")
          yield* append(
            journal,
            claim,
            ...Array.from({ length: 9 }, () => event({ tags: ["tagged"] }))
          )
          yield* journal.prune(claim, { eventsTo: 3 })
          yield* journal.register(projection)
          yield* journal.acknowledge(projection, 5)
        })
      )
      const bytes = readFileSync(file)
      const rows = [bytes.indexOf("countstagged") + 3, bytes.lastIndexOf("tagged\u0003") + 3]
      for (const table of ["projections", "pruned_tags"]) rows.push(rootOf(file, table) + 4)
      for (const at of rows) {
        assert.isAbove(at, 5)
        const changed = Buffer.from(bytes)
        changed[at]! ^= 1
        const copy = freshFile()
        writeFileSync(copy, changed)
        yield* using(
          copy,
          Effect.fnUntraced(function* (journal: Store) {
            const claim = yield* journal.claim("a")
            const errors = [
              yield* Effect.flip(journal.register(projection)),
              yield* Effect.flip(Stream.runDrain(journal.tagged("tagged"))),
              yield* Effect.flip(journal.prune(claim, { eventsTo: 9 }))
            ]
            for (const error of errors) {
              assert.deepInclude(
                { ...error },
                { _tag: "CorruptRecord", kind: "projection" },
                `${at}`
              )
            }
            yield* append(journal, claim, event())
          })
        )
      }
    })
  )
})

describe("a limit of nothing", () => {
  it.live.each([
    { replayEvents: 0 },
    { replayBytes: NaN },
    { cacheBytes: Infinity },
    { queueAppends: 1.5 },
    { closeWithin: NaN }
  ])("F11: is a defect that names it: %j", (limits) =>
    Effect.gen(function* () {
      const file = freshFile()
      const layer = Journal.layerSqlite({ file, ...limits })
      const cause = yield* Effect.flip(Effect.sandbox(Effect.provide(Journal, layer)))
      const error = Cause.squash(cause)
      assert.instanceOf(error, SettingsRefused)
      assert.deepStrictEqual([[error.setting, error.value]], Object.entries(limits))
    })
  )
})

/**
 * Goal: a snapshot that was damaged in the file is named by its event, however it was damaged, and
 * an actor recovers without it.
 * Method: real files; rows are changed by SQL, pages by flipping bytes.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { decide, evolve, react, spec, State } from "../actors/kernel/counter.ts"

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

const seen: Array<Behavior.Recovery> = []
const Counter = Behavior.make("Counter", {
  ...spec,
  decide,
  evolve,
  react,
  snapshot: { state: State, every: 3, keep: 3 },
  start: (_, __, recovery) => Effect.sync(() => seen.push(recovery))
})

/** The warnings are tested elsewhere. */
const open = (file: string) => Layer.merge(Journal.layerSqlite({ file }), Logger.layer([]))

let files = 0

/** A closed journal of a counter with 10 events and snapshots of the events 3, 6 and 9. */
const prepare = Effect.fnUntraced(function* () {
  const file = join(directory, `${files++}.db`)
  yield* Effect.gen(function* () {
    const counter = yield* Actor.spawn(Counter, "a")
    for (let n = 1; n <= 10; n++) yield* counter.ask.Add({ n: 1 })
  }).pipe(Effect.scoped, Effect.provide(open(file)))
  return file
})

const alter = (file: string, sql: string) => {
  const database = new DatabaseSync(file)
  database.exec(sql)
  database.close()
}

/** Starts the counter, and answers with its sum and the report of its recovery. */
const recover = (file: string) =>
  Effect.gen(function* () {
    const counter = yield* Actor.spawn(Counter, "a")
    return { sum: yield* counter.ask.Get(), recovery: seen.at(-1)! }
  }).pipe(Effect.scoped, Effect.provide(open(file)))

describe("a snapshot that is damaged in the file", () => {
  for (const [how, sql, unreadableSnapshots] of [
    ["its body", "UPDATE snapshots SET body = '0' WHERE seq = 9", [9]],
    ["its body, to bytes", "UPDATE snapshots SET body = x'00ff' WHERE seq = 9", [9]],
    ["its version", "UPDATE snapshots SET version = 2 WHERE seq = 9", [9]],
    ["its time, to a number too large", `UPDATE snapshots SET at = ${2n ** 60n}`, [9, 6, 3]],
    ["its checksum", "UPDATE snapshots SET crc = crc + 1 WHERE seq > 3", [9, 6]]
  ] as const) {
    it.live(`J3: ${how}: recovery begins with an older one`, () =>
      Effect.gen(function* () {
        const file = yield* prepare()
        alter(file, sql)
        const { recovery, sum } = yield* recover(file)
        assert.strictEqual(sum, 10)
        const snapshot = unreadableSnapshots.length === 3 ? 0 : unreadableSnapshots.at(-1)! - 3
        assert.deepInclude(recovery, { snapshot, unreadableSnapshots: [...unreadableSnapshots] })
      })
    )
  }

  /** Makes the first page of a table or an index unreadable by changing its type. */
  const breakPage = (file: string, name: string) => {
    const database = new DatabaseSync(file)
    const row = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name LIKE ?").get(name)
    database.close()
    const bytes = readFileSync(file)
    bytes[(Number(row?.["rootpage"]) - 1) * bytes.readUInt16BE(16)] = 0xff
    writeFileSync(file, bytes)
  }

  for (const [what, name, unreadableSnapshots] of [
    ["its page", "snapshots", [9, 6, 3]],
    ["the index of all snapshots", "sqlite_autoindex_snapshots%", [0]]
  ] as const) {
    it.live(`J3: ${what}: all events are replayed, and the actor goes on`, () =>
      Effect.gen(function* () {
        const file = yield* prepare()
        breakPage(file, name)
        const { recovery, sum } = yield* recover(file)
        assert.strictEqual(sum, 10)
        assert.deepInclude(recovery, { snapshot: 0, unreadableSnapshots: [...unreadableSnapshots] })
        // Its next snapshot cannot be stored, and takes no append of the same commit with it.
        yield* Effect.gen(function* () {
          const counter = yield* Actor.spawn(Counter, "a")
          for (let n = 1; n <= 10; n++) yield* counter.ask.Add({ n: 1 })
        }).pipe(Effect.scoped, Effect.provide(open(file)))
        assert.strictEqual((yield* recover(file)).sum, 20)
      })
    )
  }

  it.live("J3: a snapshot that cannot be stored fails alone in its commit", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      breakPage(file, "snapshots")
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const a = yield* journal.claim("Counter/a")
        const b = yield* journal.claim("b")
        const snapshot = { actor: "Counter/a", seq: 10, version: 1, body: "{}", at: 0 }
        const events = [{ type: "T", version: 1, body: "{}", at: 0, tags: [] }]
        const append = journal.append({ actor: "b", writer: b.writer, expected: 0, events })
        const [saved, appended] = yield* Effect.all(
          [Effect.flip(journal.saveSnapshot(a, snapshot)), Effect.exit(append)],
          { concurrency: "unbounded" }
        )
        assert.deepInclude({ ...saved }, { _tag: "CorruptRecord", kind: "snapshot", seq: 10 })
        assert.isTrue(Exit.isSuccess(appended))
        assert.strictEqual((yield* journal.claim("b")).last, 1)
      }).pipe(Effect.provide(open(file)))
    })
  )
})

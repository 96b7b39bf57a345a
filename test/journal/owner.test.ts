/**
 * Goal: one opening at a time writes to a journal, whatever a program does with the journal's files
 * meanwhile. An opening that has lost its lock stores nothing once another one has been there.
 * Method: this process opens a journal and gives up its locks, as a backup does: POSIX drops the
 * locks of a process on a file when it closes any descriptor of that file. The other openers are
 * processes of their own.
 */
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"
import type { Claim, NewEvent } from "../../src/schema/JournalRecord.ts"

const writer = fileURLToPath(new URL("../fixtures/journalWriter.ts", import.meta.url))
const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)

const event = (body: string): NewEvent => ({ type: "T", version: 1, body, at: 1, tags: ["t"] })

const append = (journal: Store, { actor, writer }: Claim, expected: number, body: string) =>
  journal.append({ actor, writer, expected, events: [event(body)] })

const node = (...args: ReadonlyArray<string>) =>
  spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 })

/** Another process opens the journal, stores one append for each of its actors, and closes it. */
const openElsewhere = (file: string) => node(writer, file, "1", "1")

/**
 * What an older SQLite does when it closes the file and sees no locks of other processes: it copies
 * the log into the file and deletes it.
 */
const removeLog = (file: string) => {
  const database = new DatabaseSync(file)
  database.exec("PRAGMA wal_checkpoint")
  database.close()
  for (const end of ["-wal", "-shm"]) rmSync(file + end)
}

const read = (file: string, ...ends: ReadonlyArray<string>) => {
  for (const end of ends) readFileSync(file + end)
}

/** An open journal with one event of the actor `a`. */
const prepare = Effect.fnUntraced(function* () {
  const journal = yield* Journal
  const claim = yield* journal.claim("a")
  yield* append(journal, claim, 0, "1")
  return { journal, claim }
})

const bodies = (journal: Store, actor: string) =>
  Effect.map(Stream.runCollect(journal.read(actor)), (events) => events.map(({ body }) => body))

describe("the lock of a journal", () => {
  for (const [name, ends] of [
    ["the journal", [""]],
    ["the journal, its log and its index", ["", "-wal", "-shm"]]
  ] as const) {
    it.live(`J1: is kept when its process reads ${name}`, () =>
      Effect.gen(function* () {
        const file = freshFile()
        yield* Effect.gen(function* () {
          const { claim, journal } = yield* prepare()
          read(file, ...ends)
          const other = openElsewhere(file)
          assert.strictEqual(other.status, 1)
          assert.include(other.stderr, "locked")
          yield* append(journal, claim, 1, "2")
          assert.deepStrictEqual(yield* bodies(journal, "a"), ["1", "2"])
        }).pipe(Effect.provide(Journal.layerSqlite({ file })))
      })
    )
  }
})

it.live("J1: a journal waits for another SQLite program that writes to its file", () =>
  Effect.gen(function* () {
    const file = freshFile()
    yield* Effect.gen(function* () {
      const { claim, journal } = yield* prepare()
      const database = new DatabaseSync(file)
      database.exec("BEGIN IMMEDIATE")
      const appending = yield* Effect.forkChild(append(journal, claim, 1, "2"))
      // Time for the append to meet the lock. On a slow machine it comes later, and passes, too.
      yield* Effect.sleep("300 millis")
      assert.isUndefined(appending.pollUnsafe())
      database.exec("COMMIT")
      database.close()
      yield* Fiber.join(appending)
      assert.deepStrictEqual(yield* bodies(journal, "a"), ["1", "2"])
    }).pipe(Effect.provide(Journal.layerSqlite({ file })))
  })
)

describe("an opening that has lost its lock", () => {
  for (const [name, release] of [
    ["its process has read all files", (file: string) => read(file, "", "-wal", "-shm", "-lock")],
    ["its process has read the lock file", (file: string) => read(file, "-lock")],
    ["the lock file was deleted", (file: string) => rmSync(`${file}-lock`)]
  ] as const) {
    it.live(`J1: stores nothing behind another process: ${name}`, () =>
      Effect.gen(function* () {
        const file = freshFile()
        yield* Effect.gen(function* () {
          const { claim, journal } = yield* prepare()
          yield* append(journal, claim, 1, "2")
          release(file)
          const other = openElsewhere(file)
          assert.strictEqual(other.status, 0, other.stderr)
          const refused = { _tag: "StorageFailed", reason: "replaced", file } as const
          for (const operation of [
            append(journal, claim, 2, "3"),
            Effect.asVoid(journal.claim("b")),
            journal.saveSnapshot(claim, { actor: "a", seq: 2, version: 1, body: "2", at: 1 }),
            journal.prune(claim, { eventsTo: 1 }),
            Stream.runDrain(journal.read("a"))
          ]) {
            const error = yield* Effect.flip(operation)
            assert.deepInclude({ ...error }, refused)
            assert.include(error.message, "opening 2 of the file has replaced opening 1")
          }
        }).pipe(Effect.provide(Journal.layerSqlite({ file })))
        yield* Effect.gen(function* () {
          const journal = yield* Journal
          assert.deepStrictEqual(yield* bodies(journal, "a"), ["1", "2"])
          assert.strictEqual((yield* bodies(journal, "actor0")).length, 1)
        }).pipe(Effect.provide(Journal.layerSqlite({ file })))
      })
    )
  }

  it.live("J1: acknowledges nothing when another program has removed its log", () =>
    Effect.gen(function* () {
      const file = freshFile()
      yield* Effect.gen(function* () {
        const { claim, journal } = yield* prepare()
        removeLog(file)
        const error = yield* Effect.flip(append(journal, claim, 1, "2"))
        assert.deepInclude({ ...error }, { _tag: "StorageFailed", reason: "replaced" })
        assert.include(error.message, "has removed")
      }).pipe(Effect.provide(Journal.layerSqlite({ file })))
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* bodies(yield* Journal, "a"), ["1"])
      }).pipe(Effect.provide(Journal.layerSqlite({ file })))
    })
  )

  const move = (file: string) => renameSync(file, `${file}.away`)
  for (const [name, change] of [
    ["its file was removed", (file: string) => rmSync(file)],
    ["its file was moved", move],
    ["its file was replaced", (file: string) => (move(file), copyFileSync(`${file}.away`, file))],
    ["its index was removed", (file: string) => rmSync(`${file}-shm`)],
    [
      "its log was replaced",
      (file: string) => (move(`${file}-wal`), writeFileSync(`${file}-wal`, ""))
    ]
  ] as const) {
    it.live(`F7, F8: acknowledges nothing when ${name}`, () =>
      Effect.gen(function* () {
        const file = freshFile()
        yield* Effect.gen(function* () {
          const { claim, journal } = yield* prepare()
          change(file)
          const error = yield* Effect.flip(append(journal, claim, 1, "2"))
          assert.deepInclude({ ...error }, { _tag: "StorageFailed", reason: "replaced" })
          assert.include(error.message, "has removed or replaced")
        }).pipe(Effect.provide(Journal.layerSqlite({ file })))
      })
    )
  }

  it.live("F8: leaves the journal whole for a program that has made a new index", () =>
    Effect.gen(function* () {
      const file = freshFile()
      yield* Effect.gen(function* () {
        const { claim, journal } = yield* prepare()
        rmSync(`${file}-shm`)
        const database = new DatabaseSync(file)
        database.exec("PRAGMA wal_checkpoint(TRUNCATE)")
        const error = yield* Effect.flip(append(journal, claim, 1, "2"))
        assert.deepInclude({ ...error }, { _tag: "StorageFailed", reason: "replaced" })
        database.close()
      }).pipe(Effect.provide(Journal.layerSqlite({ file })))
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* bodies(yield* Journal, "a"), ["1"])
      }).pipe(Effect.provide(Journal.layerSqlite({ file })))
    })
  )
})

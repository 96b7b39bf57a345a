/**
 * Goal: a journal is the same file by whatever path it is opened, and a path is a file, never a
 * word of SQLite's.
 * Method: real files behind links; a process of its own changes its directory.
 */
import { spawnSync } from "node:child_process"
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"
import type { Claim, NewEvent } from "../../src/schema/JournalRecord.ts"

const writer = fileURLToPath(new URL("../fixtures/journalPaths.ts", import.meta.url))
const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)
const open = (file: string) => Journal.layerSqlite({ file })

/** Why a file cannot be opened. */
const refusal = (file: string) => Effect.flip(Effect.provide(Effect.asVoid(Journal), open(file)))

const event = (body: string): NewEvent => ({ type: "T", version: 1, body, at: 1, tags: ["t"] })

const append = (journal: Store, { actor, writer }: Claim, expected: number, body: string) =>
  journal.append({ actor, writer, expected, events: [event(body)] })

/** Stores the next event of the actor `a`. */
const appendOne = Effect.gen(function* () {
  const journal = yield* Journal
  const claim = yield* journal.claim("a")
  yield* append(journal, claim, claim.last, "1")
})

const count = Effect.gen(function* () {
  return (yield* Stream.runCollect((yield* Journal).read("a"))).length
})

const link = (file: string) => {
  const path = freshFile()
  symlinkSync(file, path)
  return path
}

describe("a symbolic link to a journal", () => {
  it.live("F2: is locked while the journal is open by its other path", () =>
    Effect.gen(function* () {
      const file = freshFile()
      yield* Effect.gen(function* () {
        yield* appendOne
        assert.strictEqual((yield* refusal(link(file))).reason, "locked")
      }).pipe(Effect.provide(open(file)))
    })
  )

  it.live("F2: is not copied by a rewrite while the journal is open", () =>
    Effect.gen(function* () {
      const file = freshFile()
      yield* Effect.gen(function* () {
        yield* appendOne
        const rewriting = Journal.rewriteSqlite({ from: link(file), to: freshFile() })
        assert.deepInclude({ ...(yield* Effect.flip(rewriting)) }, { reason: "locked" })
      }).pipe(Effect.provide(open(file)))
    })
  )

  it.live("F2: is refused when a frame of its log is damaged", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const left = freshFile()
      yield* Effect.gen(function* () {
        yield* Effect.repeat(appendOne, { times: 9 })
        for (const end of ["", "-wal"]) writeFileSync(left + end, readFileSync(file + end))
      }).pipe(Effect.provide(open(file)))
      const log = readFileSync(`${left}-wal`)
      log[Math.floor(log.length / 2)]! ^= 1
      writeFileSync(`${left}-wal`, log)
      assert.strictEqual((yield* refusal(link(left))).reason, "damaged")
    })
  )

  it.live("F2: acknowledges nothing when its log was removed", () =>
    Effect.gen(function* () {
      const file = freshFile()
      yield* Effect.provide(appendOne, open(file))
      yield* Effect.gen(function* () {
        yield* appendOne
        const database = new DatabaseSync(file)
        database.exec("PRAGMA wal_checkpoint")
        database.close()
        for (const end of ["-wal", "-shm"]) rmSync(file + end)
        assert.deepInclude({ ...(yield* Effect.flip(appendOne)) }, { reason: "replaced" })
      }).pipe(Effect.provide(open(link(file))))
    })
  )

  it.live("F2: is refused when it leads nowhere, and makes nothing there", () =>
    Effect.gen(function* () {
      const target = freshFile()
      const error = yield* refusal(link(target))
      assert.strictEqual(error.reason, "io")
      assert.include(error.message, "leads to no file")
      assert.isFalse(existsSync(target))
    })
  )

  it.live("F2: to its directory locks the same journal", () =>
    Effect.gen(function* () {
      const folder = freshFile()
      mkdirSync(folder)
      const other = link(folder)
      yield* Effect.gen(function* () {
        yield* appendOne
        assert.strictEqual((yield* refusal(join(other, "x.db"))).reason, "locked")
      }).pipe(Effect.provide(open(join(folder, "x.db"))))
    })
  )
})

describe("a path", () => {
  for (const name of [":memory:", "file:x", "file:x?mode=memory", "a?b#c%20d", " ü€"]) {
    it.live(`F11: ${JSON.stringify(name)} is a file of this name`, () =>
      Effect.gen(function* () {
        const folder = freshFile()
        mkdirSync(folder)
        const run = spawnSync(process.execPath, [writer, name], { cwd: folder, encoding: "utf8" })
        assert.strictEqual(run.status, 0, run.stderr)
        assert.isTrue(existsSync(join(folder, name)))
        assert.strictEqual(yield* Effect.provide(count, open(join(folder, name))), 2)
      })
    )
  }

  it.live("F11: that is empty is refused", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* refusal("")).reason, "io")
    })
  )

  it.live("F11: with a zero byte is refused", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* refusal("a\0b")).reason, "io")
    })
  )
})

describe("a journal that has two paths", () => {
  it.live("F1: is refused by each of its hard links, and opens when one is left", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const other = freshFile()
      yield* Effect.provide(appendOne, open(file))
      linkSync(file, other)
      for (const path of [file, other]) {
        const error = yield* refusal(path)
        assert.strictEqual(error.reason, "io")
        assert.include(error.message, "2 hard links")
      }
      rmSync(other)
      assert.strictEqual(yield* Effect.provide(count, open(file)), 1)
    })
  )

  const canMount = spawnSync("unshare", ["-rm", "true"]).status === 0
  it.runIf(canMount)("F1: is refused by the path on which it is mounted alone", () => {
    const folder = freshFile()
    mkdirSync(folder)
    const script = 'touch a "b c"; mount --bind a "b c" && "$1" "$2" "b c"'
    const args = ["-rm", "sh", "-c", script, "sh", process.execPath, writer]
    const run = spawnSync("unshare", args, { cwd: folder, encoding: "utf8" })
    assert.strictEqual(run.status, 1, run.stderr)
    assert.include(run.stderr, "the file is a mount point")
  })
})

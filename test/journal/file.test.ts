/**
 * Goal: a file that cannot be used, or that was changed behind the journal's back, gives a typed
 * error that names it, is left as it was, and costs nothing that was acknowledged.
 * Method: real files and real processes. Read-only directories are met without the right to
 * override modes, a full disk is a small file system of its own (or, where that is not allowed,
 * a limit on file sizes).
 */
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import type { CorruptRecord, JournalUnavailable, NewEvent } from "../../src/schema/JournalRecord.ts"

const writer = fileURLToPath(new URL("../fixtures/journalWriter.ts", import.meta.url))
const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)

const digest = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex")

const open = (file: string) => Journal.layerSqlite({ file })

/** Why a file cannot be opened. */
const refusal = (file: string) => Effect.flip(Effect.provide(Effect.asVoid(Journal), open(file)))

const event = (body: string): NewEvent => ({ type: "T", version: 1, body, at: 1, tags: ["t"] })

/** A closed journal with three events and two snapshots of actor `a`, and one event of `b`. */
const prepare = Effect.fnUntraced(function* () {
  const file = freshFile()
  yield* Effect.gen(function* () {
    const journal = yield* Journal
    const a = yield* journal.claim("a")
    const b = yield* journal.claim("b")
    const events = [event('"first"'), event('"second"'), event('"third"')]
    yield* journal.append({ actor: "b", writer: b.writer, expected: 0, events: [event("0")] })
    yield* journal.append({ actor: "a", writer: a.writer, expected: 0, events })
    for (const seq of [1, 3]) {
      const body = `"snapshot ${seq}"`
      yield* journal.saveSnapshot(a, { actor: "a", seq, version: 1, body, at: seq })
    }
  }).pipe(Effect.provide(open(file)))
  return file
})

const alter = (file: string, sql: string) => {
  const database = new DatabaseSync(file)
  database.exec(sql)
  database.close()
}

const run = (command: string, ...args: ReadonlyArray<string>) =>
  spawnSync(command, args, { encoding: "utf8", timeout: 60_000 })

/** A root user overrides modes; a process without that capability does not. */
const withoutOverride =
  process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] : []

const runWriter = (prefix: ReadonlyArray<string>, file: string) => {
  const [command = "", ...args] = [...prefix, process.execPath, writer, file, "1"]
  return run(command, ...args)
}

describe("a file that is in use", () => {
  it.live("is refused at once, until its process is killed", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const holder = spawn(process.execPath, [writer, file, "1"], {
        stdio: ["ignore", "pipe", "ignore"]
      })
      yield* Effect.callback<void>((resume) => {
        holder.stdout.once("data", () => resume(Effect.void))
      })
      holder.stdout.resume()
      const error = yield* refusal(file)
      assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason: "locked", file })
      assert.include(error.message, file)
      yield* Effect.callback<void>((resume) => {
        holder.once("close", () => resume(Effect.void))
        holder.kill("SIGKILL")
      })
      yield* Effect.provide(Effect.asVoid(Journal), open(file))
    })
  )

  it.live("stays locked for other processes after this one has tried to open it twice", () =>
    Effect.gen(function* () {
      const file = freshFile()
      yield* Effect.gen(function* () {
        yield* Journal
        assert.strictEqual((yield* refusal(file)).reason, "locked")
        const other = runWriter([], file)
        assert.strictEqual(other.status, 1)
        assert.include(other.stderr, "locked")
        assert.include(other.stderr, file)
      }).pipe(Effect.provide(open(file)))
    })
  )
})

describe("a file that is no journal of this version is refused and left alone:", () => {
  const refuses = (
    name: string,
    reason: JournalUnavailable["reason"],
    make: () => Effect.Effect<string, unknown>
  ) =>
    it.live(name, () =>
      Effect.gen(function* () {
        const file = yield* make()
        const before = digest(file)
        const error = yield* refusal(file)
        assert.deepInclude({ ...error }, { _tag: "JournalUnavailable", reason, file })
        assert.strictEqual(digest(file), before)
      })
    )

  const written = (content: string) =>
    Effect.sync(() => {
      const file = freshFile()
      writeFileSync(file, content)
      return file
    })

  refuses("a newer format", "newer-format", () =>
    Effect.tap(prepare(), (file) => Effect.sync(() => alter(file, "PRAGMA user_version = 99")))
  )
  refuses("a newer format that was not closed", "newer-format", () =>
    Effect.map(prepare(), (file) => {
      const left = freshFile()
      // The copy is what a killed process leaves: the newest commit is in the log alone.
      const database = new DatabaseSync(file)
      database.exec("PRAGMA user_version = 99; PRAGMA wal_checkpoint; UPDATE meta SET value = 9")
      for (const end of ["", "-wal"]) writeFileSync(left + end, readFileSync(file + end))
      database.close()
      return left
    })
  )
  refuses("a text", "not-a-journal", () => written("not a database at all\n".repeat(100)))
  refuses("a few bytes", "not-a-journal", () => written("xy"))
  refuses("another program's database", "not-a-journal", () =>
    Effect.sync(() => {
      const file = freshFile()
      alter(file, "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
      return file
    })
  )
  for (const part of [0.3, 0.5, 0.9]) {
    refuses(`a journal cut at ${part}`, "damaged", () =>
      Effect.tap(prepare(), (file) =>
        Effect.sync(() => truncateSync(file, Math.floor(part * readFileSync(file).length)))
      )
    )
  }
  refuses("a journal cut to nothing beside its log", "damaged", () =>
    Effect.tap(written(""), (file) => Effect.sync(() => writeFileSync(`${file}-wal`, "log")))
  )

  it.live("a directory that is not there, and a directory", () =>
    Effect.gen(function* () {
      for (const file of [join(directory, "missing", "x.db"), directory]) {
        const error = yield* refusal(file)
        assert.deepInclude({ ...error }, { reason: "io", file })
      }
    })
  )
})

describe("a place where nothing can be written", () => {
  it.live("a read-only directory is named, with and without a journal in it", () =>
    Effect.gen(function* () {
      const folder = join(directory, "read-only")
      mkdirSync(folder)
      const file = join(folder, "old.db")
      writeFileSync(file, readFileSync(yield* prepare()))
      const before = digest(file)
      chmodSync(file, 0o444)
      chmodSync(folder, 0o555)
      for (const name of ["new.db", "old.db"]) {
        const result = runWriter(withoutOverride, join(folder, name))
        assert.strictEqual(result.status, 1, result.stderr)
        assert.include(result.stderr, `cannot open journal ${join(folder, name)} (read-only)`)
      }
      chmodSync(folder, 0o755)
      assert.strictEqual(digest(file), before)
      assert.isFalse(existsSync(join(folder, "new.db")))
    })
  )

  it.live("5: a file that cannot be read is not called read-only", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      chmodSync(file, 0o000)
      const result = runWriter(withoutOverride, file)
      assert.include(result.stderr, `cannot open journal ${file} (io)`)
    })
  )

  it.live("4: a file that another program keeps locked is called locked", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const other = new DatabaseSync(file)
        yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
        other.exec("BEGIN IMMEDIATE")
        const error = yield* Effect.flip(journal.claim("a"))
        assert.deepInclude({ ...error }, { _tag: "StorageFailed", reason: "locked" })
        other.exec("ROLLBACK")
        yield* journal.claim("a")
      }).pipe(Effect.scoped, Effect.provide(open(file)))
    })
  )

  const canMount = run("unshare", "-rm", "true").status === 0
  const limit = canMount ? 'mount -t tmpfs -o size=4m tmpfs "$1"' : "ulimit -f 4096"
  const writeAndKeep = '"$2" "$3" "$1/full.db" 1; code=$?; cp "$1"/* "$4"; exit $code'
  const runLimited = (script: string, folder: string, out: string) => {
    const args = ["sh", "-c", script, "sh", folder, process.execPath, writer, out]
    const [command = "", ...rest] = canMount ? ["unshare", "-rm", ...args] : args
    return run(command, ...rest)
  }

  it.live("a disk that gets full ends the writer, and keeps what was acknowledged", () =>
    Effect.gen(function* () {
      const folder = join(directory, "full")
      const out = join(directory, "out")
      mkdirSync(folder)
      mkdirSync(out)
      const result = runLimited(`${limit}; ${writeAndKeep}`, folder, out)
      assert.strictEqual(result.status, 1, result.stderr)
      const reason = canMount ? "disk-full" : "io"
      assert.include(result.stderr, `failed on ${join(folder, "full.db")} (${reason})`)
      const acknowledged = new Map<string, number>()
      for (const line of result.stdout.trim().split("\n")) {
        const [, actor = "", last] = line.split(" ")
        acknowledged.set(actor, Number(last))
      }
      assert.strictEqual(acknowledged.size, 40)
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        for (const [actor, last] of acknowledged) {
          const events = yield* Stream.runCollect(journal.read(actor))
          assert.isAtLeast(events.at(-1)?.seq ?? 0, last, actor)
          for (const { body, seq } of events) assert.strictEqual(JSON.parse(body).seq, seq)
        }
      }).pipe(Effect.provide(open(join(out, "full.db"))))
    })
  )

  it.live("a disk that is full already is named", () =>
    Effect.sync(() => {
      const folder = join(directory, "no-room")
      mkdirSync(folder)
      const fill = 'head -c 8m /dev/zero > "$1/filler" 2>/dev/null'
      const script = canMount
        ? `${limit}; ${fill}; ${writeAndKeep}`
        : `ulimit -f 0; ${writeAndKeep}`
      const result = runLimited(script, folder, directory)
      assert.strictEqual(result.status, 1, result.stderr)
      const reason = canMount ? "disk-full" : "io"
      assert.include(result.stderr, `cannot open journal ${join(folder, "full.db")} (${reason})`)
    })
  )
})

describe("a record that was changed in the file is named:", () => {
  const everything = Effect.gen(function* () {
    const journal = yield* Journal
    yield* journal.claim("a")
    yield* Stream.runDrain(journal.read("a"))
    yield* Stream.runDrain(journal.tagged("t"))
    yield* journal.loadSnapshot("a")
  })

  const names = (name: string, sql: string, seq: number, kind: CorruptRecord["kind"] = "event") =>
    it.live(name, () =>
      Effect.gen(function* () {
        const file = yield* prepare()
        yield* Effect.provide(everything, open(file))
        alter(file, sql)
        const error = yield* Effect.flip(Effect.provide(everything, open(file)))
        assert.deepInclude({ ...error }, { _tag: "CorruptRecord", actor: "a", seq, kind, file })
        assert.include(error.message, file)
      })
    )

  const second = "WHERE actor = (SELECT id FROM actors WHERE name = 'a') AND seq = 2"
  names("its body", `UPDATE events SET body = '"other"' ${second}`, 2)
  names("its body, to nothing", `UPDATE events SET body = '' ${second}`, 2)
  names("its body, to a number", `UPDATE events SET body = x'00' ${second}`, 2)
  names("its sequence number", `UPDATE events SET seq = 7 ${second}`, 2)
  names("its actor", `UPDATE events SET actor = actor + 1 ${second}`, 2)
  names("its type", `UPDATE events SET type = type + 1 ${second}`, 2)
  names("its type, to an unknown one", `UPDATE events SET type = 99 ${second}`, 2)
  names("its version", `UPDATE events SET version = 2 ${second}`, 2)
  names("its time", `UPDATE events SET at = at + 1 ${second}`, 2)
  names("its tags", `UPDATE events SET tags = NULL ${second}`, 2)
  names("its checksum", `UPDATE events SET crc = crc + 1 ${second}`, 2)
  names("its offset", `UPDATE events SET offset = 1000 ${second}`, 2)
  names("it is gone", `DELETE FROM events ${second}`, 2)
  names("the name of a type", "UPDATE names SET name = 'U' WHERE name = 'T'", 1)
  names("its index is gone", "DELETE FROM runs", 1)
  names("the actor's last event", "UPDATE actors SET last = 2 WHERE name = 'a'", 2)
  names(
    "two events have changed places",
    "CREATE TEMP TABLE o AS SELECT * FROM events;" +
      "UPDATE events SET (body, crc) = (SELECT body, crc FROM o" +
      " WHERE o.actor = events.actor AND o.seq = 3 - events.seq)" +
      " WHERE seq < 3 AND actor = (SELECT id FROM actors WHERE name = 'a')",
    1
  )
  names("a snapshot's body", "UPDATE snapshots SET body = '0' WHERE seq = 3", 3, "snapshot")
  names("a snapshot's place", "UPDATE snapshots SET seq = 2 WHERE seq = 3", 2, "snapshot")
  names("a snapshot's version", "UPDATE snapshots SET version = 9", 3, "snapshot")

  it.live("a single byte of the file", () =>
    Effect.gen(function* () {
      const file = yield* prepare()
      const bytes = readFileSync(file)
      const at = bytes.indexOf('"second"')
      assert.isAbove(at, 0)
      bytes[at + 3]! ^= 1
      writeFileSync(file, bytes)
      const error = yield* Effect.flip(Effect.provide(everything, open(file)))
      assert.deepInclude({ ...error }, { _tag: "CorruptRecord", actor: "a", seq: 2, file })
    })
  )
})

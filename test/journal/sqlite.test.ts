/**
 * Goal: the limits and the end of a journal in a file: bounded queues, bounded replay, a worker
 * that breaks, a close that loses nothing, claims that end with their opening.
 * Method: the real layer; the messages between it and its worker are watched on their way.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Worker } from "node:worker_threads"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Journal, type SqliteSettings, type Store } from "../../src/actors/kernel/Journal.ts"
import type { FromWorker, ToWorker } from "../../src/native/sqlite/protocol.ts"
import type { NewEvent } from "../../src/schema/JournalRecord.ts"

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)

const event = (body: string): NewEvent => ({ type: "T", version: 1, body, at: 1, tags: [] })

const range = (count: number) => Array.from({ length: count }, (_, index) => index)

/** A journal in a Scope of its own, its worker, and what travelled to it. */
const open = Effect.fnUntraced(function* (settings: SqliteSettings) {
  let worker: Worker | undefined
  process.once("worker", (started) => (worker = started))
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(Journal.layerSqlite(settings), scope)
  if (worker === undefined) return assert.fail("no worker was started")
  const sent: Array<Exclude<ToWorker, "close">> = []
  const post = worker.postMessage.bind(worker)
  worker.postMessage = (message: ToWorker) => {
    if (message !== "close") sent.push(message)
    post(message)
  }
  const journal = Context.get(context, Journal)
  return { journal, worker, sent, close: Scope.close(scope, Exit.void) }
})

/** Forks one append for each actor, all in this turn. */
const appendAll = Effect.fnUntraced(function* (journal: Store, count: number, body = "{}") {
  const claims = yield* Effect.forEach(range(count), (index) => journal.claim(`actor ${index}`), {
    concurrency: "unbounded"
  })
  return yield* Effect.forkDetach(
    Effect.forEach(
      claims,
      ({ actor, last, writer }) =>
        Effect.exit(journal.append({ actor, writer, expected: last, events: [event(body)] })),
      { concurrency: "unbounded" }
    ),
    { startImmediately: true }
  )
})

describe("the queue of a journal", () => {
  it.live("appends of one turn travel in one message, and are one commit", () =>
    Effect.gen(function* () {
      const { close, journal, sent, worker } = yield* open({ file: freshFile() })
      const writing = yield* appendAll(journal, 500)
      sent.length = 0
      const answers: Array<FromWorker> = []
      worker.on("message", (message) => answers.push(message))
      const exits = yield* Fiber.join(writing)
      assert.isTrue(exits.every(Exit.isSuccess))
      assert.deepStrictEqual(
        sent.map(({ append }) => append?.actors.length),
        [500]
      )
      assert.strictEqual(answers.length, 1)
      yield* close
    })
  )

  for (const [limit, settings, most] of [
    ["appends", { queueAppends: 7 }, 7],
    ["bytes", { queueBytes: 1000 }, 9],
    ["one append larger than it", { queueBytes: 10 }, 1]
  ] as const) {
    it.live(`no more is with the worker than its limit: ${limit}`, () =>
      Effect.gen(function* () {
        const { close, journal, sent, worker } = yield* open({ file: freshFile(), ...settings })
        let decided = 0
        worker.on("message", (message: FromWorker) => {
          if ("decided" in message) decided = Math.max(decided, message.decided)
        })
        let worst = 0
        const post = worker.postMessage.bind(worker)
        worker.postMessage = (message: unknown) => {
          post(message)
          const open = sent.filter(({ batch }) => batch > decided)
          const appends = open.reduce((sum, { append }) => sum + (append?.actors.length ?? 0), 0)
          worst = Math.max(worst, appends)
        }
        const exits = yield* Fiber.join(yield* appendAll(journal, 200, "x".repeat(100)))
        assert.isTrue(exits.every(Exit.isSuccess))
        assert.strictEqual(worst, most)
        yield* close
      })
    )
  }

  it.live("a body over the limit is refused alone", () =>
    Effect.gen(function* () {
      const { close, journal } = yield* open({ file: freshFile(), bodyBytes: 10 })
      const claim = yield* journal.claim("a")
      const { actor, writer } = claim
      const append = (expected: number, body: string) =>
        journal.append({ actor, writer, expected, events: [event(body)] })
      const save = (body: string) =>
        journal.saveSnapshot(claim, { actor, seq: 1, version: 1, body, at: 0 })
      const [fits, tooLarge] = ["x".repeat(10), "x".repeat(11)] as const
      for (const write of [(body: string) => append(0, body), save]) {
        const error = yield* Effect.flip(write(tooLarge))
        assert.deepInclude({ ...error }, { _tag: "StorageFailed", reason: "too-large" })
        yield* write(fits)
      }
      yield* close
    })
  )

  it.live("a slow reader does not pull the history", () =>
    Effect.gen(function* () {
      const { close, journal, sent } = yield* open({ file: freshFile(), replayEvents: 10 })
      const { actor, writer } = yield* journal.claim("a")
      const events = range(500).map((index) => event(`${index}`))
      yield* journal.append({ actor, writer, expected: 0, events })
      const reads = () =>
        sent.flatMap(({ asks }) => asks).filter(({ operation }) => operation === "read").length
      let batches = 0
      yield* journal.read("a").pipe(
        Stream.runForEachArray(() => {
          batches++
          // Another operation there and back: time in which a greedy reader would go on.
          return Effect.tap(journal.claim(`other ${batches}`), () =>
            Effect.sync(() => assert.isAtMost(reads(), batches + 3))
          )
        })
      )
      assert.strictEqual(batches, 50)
      yield* close
    })
  )

  it.live("a batch of a history or of a tag ends after the characters that it may hold", () =>
    Effect.gen(function* () {
      const { close, journal } = yield* open({ file: freshFile(), replayBytes: 25 })
      const { actor, writer } = yield* journal.claim("a")
      const tagged: NewEvent = { ...event("x".repeat(10)), tags: ["t"] }
      const events = range(9).map(() => tagged)
      yield* journal.append({ actor, writer, expected: 0, events })
      for (const stored of [journal.read("a"), journal.tagged("t")]) {
        const sizes: Array<number> = []
        yield* Stream.runForEachArray(stored, (batch) =>
          Effect.sync(() => sizes.push(batch.length))
        )
        assert.deepStrictEqual(sizes, [3, 3, 3])
      }
      yield* close
    })
  )
})

describe("a deletion of several transactions", () => {
  it.live("keeps the snapshots until all events are deleted", () =>
    Effect.gen(function* () {
      const { close, journal } = yield* open({ file: freshFile() })
      const claim = yield* journal.claim("a")
      const events = range(25_000).map(() => event("0"))
      yield* journal.append({ actor: "a", writer: claim.writer, expected: 0, events })
      for (const seq of [10, 25_000]) {
        yield* journal.saveSnapshot(claim, { actor: "a", seq, version: 1, body: "0", at: 1 })
      }
      const limits = { eventsTo: 25_000, snapshotsBefore: 25_000 }
      // Both leave in one turn, and a read is served between two transactions.
      const [, during, left] = yield* Effect.all(
        [
          journal.prune(claim, limits),
          journal.loadSnapshot("a", 10),
          Stream.runCount(journal.read("a"))
        ],
        { concurrency: "unbounded" }
      )
      assert.isAbove(left, 0, "the deletion was still under way")
      assert.isTrue(Option.isSome(during))
      assert.isTrue(Option.isNone(yield* journal.loadSnapshot("a", 10)))
      assert.isTrue(Option.isSome(yield* journal.loadSnapshot("a")))
      assert.strictEqual(yield* Stream.runCount(journal.read("a")), 0)
      yield* close
    })
  )
})

describe("the end of a journal", () => {
  it.live("what was accepted is stored before it is closed, and nothing after", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const { close, journal, worker } = yield* open({ file, queueAppends: 10 })
      const writing = yield* appendAll(journal, 300)
      let code: number | undefined
      worker.prependOnceListener("exit", (exitCode) => (code = exitCode))
      yield* close
      assert.strictEqual(code, 0, "the worker has ended by itself")
      assert.isTrue((yield* Fiber.join(writing)).every(Exit.isSuccess))
      for (const operation of [
        journal.claim("a"),
        journal.append({ actor: "a", writer: 1, expected: 0, events: [event("1")] }),
        Stream.runDrain(journal.read("a")),
        journal.loadSnapshot("a")
      ]) {
        const error = yield* Effect.flip(operation as Effect.Effect<unknown, unknown>)
        assert.deepInclude({ ...(error as object) }, { _tag: "StorageFailed", reason: "closed" })
      }
      assert.isFalse(existsSync(`${file}-wal`), "the log was copied into the file")
      const again = yield* open({ file })
      for (const index of range(300)) {
        assert.strictEqual((yield* again.journal.claim(`actor ${index}`)).last, 1)
      }
      yield* again.close
    })
  )

  it.live("a worker that breaks fails what waits for it and what comes later", () =>
    Effect.gen(function* () {
      const { close, journal, worker } = yield* open({ file: freshFile() })
      const writing = yield* appendAll(journal, 10)
      worker.postMessage(null)
      for (const exit of yield* Fiber.join(writing)) {
        if (Exit.isSuccess(exit)) continue
        const [reason] = exit.cause.reasons
        assert.strictEqual(reason?._tag, "Fail")
      }
      const error = yield* Effect.flip(journal.claim("a"))
      assert.deepInclude({ ...error }, { _tag: "StorageFailed", reason: "closed" })
      yield* close
    })
  )

  it.live.each(["30 days", Infinity] as const)(
    "F8: closing within %s waits for what was accepted",
    (closeWithin) =>
      Effect.gen(function* () {
        const { close, journal } = yield* open({ file: freshFile(), closeWithin, queueAppends: 1 })
        const appends = yield* appendAll(journal, 50)
        yield* Effect.yieldNow
        yield* close
        const exits = yield* Fiber.join(appends)
        assert.isTrue(exits.every(Exit.isSuccess))
      })
  )

  it.live("closing is bounded, and what is then unanswered fails", () =>
    Effect.gen(function* () {
      const { close, journal, worker } = yield* open({ file: freshFile(), closeWithin: 50 })
      // A worker that has stopped answering: nothing reaches it any more.
      worker.postMessage = () => {}
      const claiming = yield* Effect.forkChild(Effect.flip(journal.claim("a")), {
        startImmediately: true
      })
      yield* close
      const error = yield* Fiber.join(claiming)
      assert.deepInclude({ ...error }, { _tag: "StorageFailed", reason: "closed" })
      assert.include(error.message, "closed")
    })
  )

  it.live("a claim ends with the opening it was made in", () =>
    Effect.gen(function* () {
      const file = freshFile()
      const first = yield* open({ file })
      const old = yield* first.journal.claim("a")
      yield* first.close
      const second = yield* open({ file })
      const { actor, writer } = old
      const append = second.journal.append({ actor, writer, expected: 0, events: [event("1")] })
      assert.strictEqual((yield* Effect.flip(append))._tag, "Fenced")
      const now = yield* second.journal.claim("a")
      assert.isAbove(now.writer, old.writer)
      assert.strictEqual((yield* Effect.flip(append))._tag, "Fenced")
      yield* second.close
    })
  )

  it.live("an idle journal does not keep the process alive, an unfinished append does", () =>
    Effect.sync(() => {
      const layer = new URL("../../src/actors/kernel/Journal.ts", import.meta.url).href
      const script = `
        import * as Effect from "effect/Effect"
        import { Journal } from ${JSON.stringify(layer)}
        Effect.runFork(Effect.scoped(Effect.gen(function* () {
          const journal = yield* Journal
          const { actor, writer } = yield* journal.claim("a")
          const events = [{ type: "T", version: 1, body: "{}", at: 0, tags: [] }]
          yield* journal.append({ actor, writer, expected: 0, events })
          console.log("stored")
          yield* Effect.never
        })).pipe(Effect.provide(Journal.layerSqlite({ file: ${JSON.stringify(freshFile())} }))))
      `
      const result = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
        encoding: "utf8",
        timeout: 15_000
      })
      assert.strictEqual(result.stdout, "stored\n", result.stderr)
      assert.isNull(result.signal)
    })
  )
})

/**
 * Goal: who is restarted, in which order, how often, and that two generations never overlap.
 * Method: children that write what happens to them into one log, on the test clock.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { StorageFailed } from "../../../src/schema/JournalRecord.ts"
import { crash, family, immediately, pass } from "./family.ts"

describe("strategies", () => {
  it.effect("one-for-one: acquire 1, release 1, acquire 2", () =>
    Effect.gen(function* () {
      const { b, log } = yield* family({ strategy: "one-for-one" })
      yield* crash(b)
      assert.deepStrictEqual(log, ["release b1", "acquire b2"])
      yield* crash(b)
      assert.deepStrictEqual(log.slice(2), ["release b2", "acquire b3"])
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("one-for-all: released in reverse, started in order", () =>
    Effect.gen(function* () {
      const { b, log } = yield* family({ strategy: "one-for-all" })
      yield* crash(b)
      assert.deepStrictEqual(log, [
        "release c1",
        "release b1",
        "release a1",
        "acquire a2",
        "acquire b2",
        "acquire c2"
      ])
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("rest-for-one: the child and those started after it", () =>
    Effect.gen(function* () {
      const { b, log } = yield* family({ strategy: "rest-for-one" })
      yield* crash(b)
      assert.deepStrictEqual(log, ["release c1", "release b1", "acquire b2", "acquire c2"])
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("messages wait for the next generation; what was stored is there again", () =>
    Effect.gen(function* () {
      const { b } = yield* family({})
      assert.strictEqual(yield* b.ask.Work(), 1)
      yield* Effect.exit(b.ask.Crash())
      const waiting = yield* Effect.forkChild(b.ask.Work(), { startImmediately: true })
      yield* pass("2 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), 2)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a child that ended by itself is not started again", () =>
    Effect.gen(function* () {
      const { a, b, c, log } = yield* family({ strategy: "one-for-all" })
      yield* a.stop
      yield* crash(b)
      assert.notInclude(log, "acquire a2")
      assert.strictEqual(yield* c.ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("the Scope of the supervisor ends its children, last one first", () =>
    Effect.gen(function* () {
      const log = yield* Effect.scoped(Effect.map(family({}), ({ log }) => log))
      assert.deepStrictEqual(log, ["release c1", "release b1", "release a1"])
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("limits", () => {
  it.effect("a budget of restarts within a window; then the children end", () =>
    Effect.gen(function* () {
      const { a, b, supervisor } = yield* family({ restarts: { max: 2, within: "1 minute" } })
      const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
      yield* crash(b)
      yield* crash(b)
      assert.strictEqual(yield* b.ask.Work(), 1)
      yield* crash(b)
      assert.deepInclude(yield* Fiber.join(failed), {
        _tag: "RestartsExhausted",
        child: "Worker/b",
        restarts: 2
      })
      assert.deepInclude(yield* Effect.flip(a.ask.Work()), { _tag: "Stopped", reason: "crashed" })
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("restarts that left the window no longer count", () =>
    Effect.gen(function* () {
      const { b } = yield* family({ restarts: { max: 1, within: "10 seconds" } })
      for (let times = 0; times < 4; times++) {
        yield* crash(b)
        yield* pass("11 seconds")
      }
      assert.strictEqual(yield* b.ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("backoff grows with each crash and begins anew after a quiet window", () =>
    Effect.gen(function* () {
      const { b, log } = yield* family({
        restarts: { max: 10, within: "1 minute" },
        backoff: Schedule.exponential("1 second")
      })
      const crashAndWait = (millis: number) =>
        Effect.andThen(Effect.exit(b.ask.Crash()), pass(millis))
      yield* crashAndWait(999)
      assert.deepStrictEqual(log, ["release b1"])
      yield* pass(1)
      assert.strictEqual(log.at(-1), "acquire b2")
      yield* crashAndWait(1999)
      assert.strictEqual(log.length, 3)
      yield* pass(1)
      assert.strictEqual(log.at(-1), "acquire b3")
      yield* pass("2 minutes")
      yield* crashAndWait(1000)
      assert.strictEqual(log.at(-1), "acquire b4")
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a budget of each child: one that spends it ends alone, and may come back", () =>
    Effect.gen(function* () {
      const restarts = { max: 2, within: "1 hour", per: "child" } as const
      const { a, b, log, supervisor, Worker } = yield* family({ restarts })
      for (let n = 0; n < 3; n++) {
        yield* crash(b)
        if (n < 2) yield* crash(a)
      }
      assert.deepInclude(yield* b.ended, { reason: "crashed" })
      assert.include((yield* b.ended).detail, "crashed again after 2 restarts")
      assert.strictEqual(log.filter((line) => line.startsWith("acquire")).length, 4)
      assert.strictEqual(yield* a.ask.Work(), 1)
      const again = yield* supervisor.spawn(Worker, "b")
      yield* crash(again)
      assert.strictEqual(yield* again.ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a backoff longer than the window goes on growing", () =>
    Effect.gen(function* () {
      const { b, log } = yield* family({
        restarts: { max: 1, within: "1 second" },
        backoff: Schedule.exponential("2 seconds")
      })
      yield* Effect.exit(b.ask.Crash())
      yield* pass("2 seconds")
      assert.strictEqual(log.at(-1), "acquire b2")
      yield* Effect.exit(b.ask.Crash())
      yield* pass(3999)
      assert.strictEqual(log.at(-1), "release b2")
      yield* pass(1)
      assert.strictEqual(log.at(-1), "acquire b3")
      yield* pass("1 second")
      yield* Effect.exit(b.ask.Crash())
      yield* pass("2 seconds")
      assert.strictEqual(log.at(-1), "acquire b4")
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a schedule that ends is the end of restarting", () =>
    Effect.gen(function* () {
      const { b, supervisor } = yield* family({ backoff: Schedule.recurs(1) })
      const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
      yield* crash(b)
      yield* crash(b)
      assert.strictEqual((yield* Fiber.join(failed))._tag, "RestartsExhausted")
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a journal that fails for a while: the child recovers and loses nothing", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      let broken = false
      const failure = new StorageFailed({
        operation: "append",
        reason: "io",
        file: "memory",
        detail: "planted"
      })
      const flaky = Journal.of({
        ...journal,
        append: (request) => Effect.suspend(() => (broken ? failure : journal.append(request))),
        claim: (actor) => Effect.suspend(() => (broken ? failure : journal.claim(actor)))
      })
      const patient = { backoff: Schedule.spaced("1 second") }
      const { b } = yield* Effect.provideService(family(patient), Journal, flaky)
      yield* b.ask.Work()
      broken = true
      assert.deepInclude(yield* Effect.flip(b.ask.Work()), { reason: "journal" })
      const waiting = yield* Effect.forkChild(b.ask.Work(), { startImmediately: true })
      yield* pass("1 second")
      broken = false
      yield* pass("5 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), 2)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a supervisor that ends while it waits starts nothing any more", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { b, log } = yield* Scope.provide(family({ backoff: Schedule.spaced("1 hour") }), scope)
      yield* Effect.exit(b.ask.Crash())
      yield* pass("1 minute")
      yield* Scope.close(scope, Exit.void)
      yield* pass("2 hours")
      assert.deepStrictEqual(log, ["release b1", "release c1", "release a1"])
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a crash while others still recover interrupts their recovery", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const slow = Journal.of({
        ...journal,
        claim: (actor) => Effect.delay(journal.claim(actor), actor.endsWith("c") ? 1000 : 0)
      })
      const spawning = yield* Effect.forkChild(
        Effect.provideService(family({ strategy: "one-for-all" }), Journal, slow)
      )
      yield* pass("10 seconds")
      const { b, c, log } = yield* Fiber.join(spawning)
      yield* Effect.exit(b.ask.Crash())
      yield* pass(500)
      // b lives again and crashes once more while c still reads its history.
      yield* Effect.exit(b.ask.Crash())
      yield* pass("10 seconds")
      const ofC = log.filter((line) => line.includes(" c"))
      assert.deepStrictEqual(ofC, ["release c1", "acquire c3"])
      assert.strictEqual(yield* c.ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("escalation", () => {
  it.effect("a supervisor that gives up is restarted by its own, children and all", () =>
    Effect.gen(function* () {
      const parent = yield* Supervisor.make({ backoff: immediately })
      const { a, b, log } = yield* family({
        parent,
        restarts: { max: 1, within: "1 minute" }
      })
      yield* crash(b)
      log.length = 0
      yield* crash(b)
      assert.deepStrictEqual(log, [
        "release c1",
        "release b2",
        "release a1",
        "acquire a2",
        "acquire b3",
        "acquire c2"
      ])
      assert.strictEqual(yield* a.ask.Work(), 1)
      yield* crash(b)
      assert.strictEqual(yield* b.ask.Work(), 1, "its budget is fresh")
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("supervised effects", () => {
  it.effect("run again when they fail, each time in a Scope of their own", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      let runs = 0
      const supervisor = yield* Supervisor.make({ backoff: immediately })
      yield* supervisor.run(
        "listener",
        Effect.gen(function* () {
          const run = ++runs
          yield* Effect.acquireRelease(
            Effect.sync(() => log.push(`acquire ${run}`)),
            () => Effect.sync(() => log.push(`release ${run}`))
          )
          yield* Effect.sleep("1 second")
          if (run < 3) return yield* Effect.fail("again")
          return run
        })
      )
      yield* pass("10 seconds")
      assert.deepStrictEqual(log, [
        "acquire 1",
        "release 1",
        "acquire 2",
        "release 2",
        "acquire 3",
        "release 3"
      ])
    })
  )
})

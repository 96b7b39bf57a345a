/**
 * Goal: one cause is counted once, a halted supervisor starts nothing, giving up is said and
 * final, and nothing is left of what has ended.
 * Method: children that log their life, on the test clock; failures are planted in the journal,
 * and what is left is looked up in the Scopes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { StorageFailed } from "../../../src/schema/JournalRecord.ts"
import { crash, family, immediately, pass, turns, worker } from "./family.ts"

const failure = (reason: StorageFailed["reason"]) =>
  new StorageFailed({ operation: "append", reason, file: "memory", detail: "planted" })

/** A journal whose writes fail while `broken` says so. */
const breakable = Effect.map(Journal, (journal) => {
  const state = { broken: undefined as StorageFailed["reason"] | undefined }
  const guard = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.suspend((): Effect.Effect<A, E | StorageFailed> =>
      state.broken === undefined ? effect : Effect.fail(failure(state.broken))
    )
  const store = Journal.of({
    ...journal,
    append: (request) => guard(journal.append(request)),
    claim: (actor) => guard(journal.claim(actor))
  })
  return { state, store }
})

/** The messages that are logged at a level, with their causes. */
const logged = (level: string, into: Array<string>) =>
  Effect.provideService(
    Logger.CurrentLoggers,
    new Set([
      Logger.make(({ cause, logLevel, message }) => {
        if (logLevel === level) into.push(`${String(message)} ${Cause.pretty(cause)}`)
      })
    ])
  )

const starts = (log: ReadonlyArray<string>, of = "") =>
  log.filter((line) => line.startsWith(`acquire ${of}`)).length

/** A supervisor whose child supervisor has one worker, `n`; `s` is a sibling of that supervisor. */
const nested = Effect.fnUntraced(function* (outer: Supervisor.Options, inner: Supervisor.Options) {
  const log: Array<string> = []
  const parent = yield* Supervisor.make({ backoff: immediately, ...outer })
  const child = yield* Supervisor.make({ backoff: immediately, ...inner, parent })
  const Worker = worker(log)
  const n = yield* child.spawn(Worker, "n")
  const s = yield* parent.spawn(Worker, "s")
  log.length = 0
  return { parent, child, n, s, log, Worker }
})

const finalizers = (scope: Scope.Scope): number => {
  const { state } = scope
  if (state._tag !== "Open") return 0
  return state.finalizers?.size ?? (state.finalizer === undefined ? 0 : 1)
}

const scopeOf = (supervisor: Supervisor.Supervisor) =>
  supervisor["~handfast/actors/Supervisor"].settings.scope

describe("nested supervisors", () => {
  it.effect("K5: a halted child supervisor starts nothing until its parent starts it", () =>
    Effect.gen(function* () {
      const { log, n, s } = yield* nested(
        { strategy: "one-for-all", backoff: Schedule.spaced("5 seconds") },
        { backoff: Schedule.spaced("1 second") }
      )
      yield* Effect.exit(n.ask.Crash())
      yield* pass(500)
      yield* Effect.exit(s.ask.Crash())
      yield* pass("4 seconds")
      assert.deepStrictEqual(log, ["release n1", "release s1"])
      yield* pass("10 seconds")
      assert.deepStrictEqual(log.slice(2), ["acquire n2", "acquire s2"])
      assert.strictEqual(yield* n.ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: what is spawned while its supervisor is halted waits for the start", () =>
    Effect.gen(function* () {
      const { child, log, s, Worker } = yield* nested(
        { strategy: "one-for-all", backoff: Schedule.spaced("5 seconds") },
        {}
      )
      yield* Effect.exit(s.ask.Crash())
      yield* pass(100)
      const spawning = yield* Effect.forkChild(child.spawn(Worker, "new"))
      let runs = 0
      const running = yield* Effect.forkChild(
        child.run(
          "runs",
          Effect.sync(() => runs++)
        )
      )
      // A supervisor that is made under a halted one is halted, too.
      const grandchild = yield* Supervisor.make({ parent: child })
      const below = yield* Effect.forkChild(
        grandchild.run(
          "below",
          Effect.sync(() => runs++)
        )
      )
      yield* pass("4 seconds")
      assert.deepStrictEqual([starts(log), runs], [0, 0])
      yield* pass("2 seconds")
      yield* Fiber.join(below)
      yield* Fiber.join(running)
      assert.strictEqual(yield* (yield* Fiber.join(spawning)).ask.Work(), 1)
      assert.deepStrictEqual([starts(log, "new"), runs], [1, 2])
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: an effect under a child supervisor never runs twice at once", () =>
    Effect.gen(function* () {
      const { child, n, s } = yield* nested(
        { strategy: "one-for-all", restarts: { max: 100, within: "1 second" } },
        { strategy: "one-for-all", restarts: { max: 100, within: "1 second" } }
      )
      let [now, most, runs] = [0, 0, 0]
      const hold = Effect.acquireRelease(
        Effect.sync(() => {
          runs++
          most = Math.max(most, ++now)
        }),
        () =>
          Effect.andThen(
            turns(20),
            Effect.sync(() => now--)
          )
      )
      yield* child.run("holder", Effect.andThen(hold, Effect.never))
      for (let round = 0; round < 10; round++) {
        yield* Effect.forkChild(Effect.exit(n.ask.Crash()))
        yield* Effect.forkChild(Effect.exit(s.ask.Crash()))
        yield* pass(round * 5)
      }
      yield* pass("1 second")
      assert.deepStrictEqual([now, most], [1, 1])
      assert.isAbove(runs, 2)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: a supervisor that has given up refuses children with a typed error", () =>
    Effect.gen(function* () {
      const { b, supervisor, Worker } = yield* family({ restarts: { max: 0, within: "1 minute" } })
      yield* crash(b)
      const refused = { _tag: "SupervisorStopped", reason: "gave-up" } as const
      const spawn = yield* Effect.flip(supervisor.spawn(Worker, "d"))
      assert.deepInclude(spawn, refused)
      assert.include(spawn.message, "told to crash")
      let runs = 0
      const run = supervisor.run(
        "late",
        Effect.sync(() => runs++)
      )
      assert.deepInclude(yield* Effect.flip(run), refused)
      const below = yield* Supervisor.make({ parent: supervisor })
      const late = yield* Effect.flip(below.run("late", Effect.never))
      assert.strictEqual(late._tag, "SupervisorStopped")
      assert.strictEqual(runs, 0)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: a supervisor that its parent will restart lets new children wait for that", () =>
    Effect.gen(function* () {
      const none = { restarts: { max: 0, within: "1 minute" } } as const
      const { child, s } = yield* nested({ backoff: Schedule.spaced("1 second") }, none)
      yield* Effect.exit(s.ask.Crash())
      yield* turns(100)
      const n = yield* Effect.forkChild(child.spawn(worker([]), "late"))
      yield* pass("2 seconds")
      assert.strictEqual(yield* (yield* Fiber.join(n)).ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: a closed supervisor refuses children too", () =>
    Effect.gen(function* () {
      const { supervisor, Worker } = yield* Effect.scoped(family({}))
      const refused = { _tag: "SupervisorStopped", reason: "closed" } as const
      assert.deepInclude(yield* Effect.flip(supervisor.spawn(Worker, "d")), refused)
      assert.deepInclude(yield* Effect.flip(supervisor.run("late", Effect.never)), refused)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: `failed` of a child supervisor fires when its parent has given up", () =>
    Effect.gen(function* () {
      const { child, n, parent, s } = yield* nested(
        { restarts: { max: 0, within: "1 minute" } },
        {}
      )
      const failed = yield* Effect.forkChild(Effect.flip(child.failed))
      yield* Effect.exit(s.ask.Crash())
      yield* pass("1 second")
      assert.strictEqual((yield* Fiber.join(failed)).child, "Worker/s")
      assert.strictEqual((yield* Effect.flip(parent.failed)).child, "Worker/s")
      assert.deepInclude(yield* Effect.flip(n.ask.Work()), { _tag: "Stopped", reason: "crashed" })
      const spawn = Effect.flip(child.spawn(worker([]), "late"))
      assert.deepInclude(yield* spawn, { _tag: "SupervisorStopped", reason: "gave-up" })
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: a child supervisor ends with the Scope of its parent", () =>
    Effect.gen(function* () {
      const outer = yield* Scope.make()
      const log: Array<string> = []
      const parent = yield* Scope.provide(Supervisor.make(), outer)
      const child = yield* Supervisor.make({ parent })
      const n = yield* child.spawn(worker(log), "n")
      yield* Scope.close(outer, Exit.void)
      assert.deepStrictEqual(log, ["acquire n1", "release n1"])
      assert.deepInclude(yield* Effect.flip(n.ask.Work()), { reason: "released" })
      const orphan = yield* Supervisor.make({ parent })
      const spawn = Effect.flip(orphan.spawn(worker(log), "late"))
      assert.deepInclude(yield* spawn, { _tag: "SupervisorStopped", reason: "closed" })
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K5: a halt that is interrupted while an append is under way is taken up again", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const gate = yield* Deferred.make<void>()
      let held = false
      const slow = Journal.of({
        ...journal,
        append: (request) =>
          Effect.andThen(held ? Deferred.await(gate) : Effect.void, journal.append(request))
      })
      const all = { strategy: "one-for-all" } as const
      const { child, log, n, s, Worker } = yield* nested(all, all)
      const busy = yield* Effect.provideService(child.spawn(Worker, "busy"), Journal, slow)
      held = true
      const working = yield* Effect.forkChild(busy.ask.Work(), { startImmediately: true })
      // The restart of n waits for the append of its sibling, and is interrupted by the parent.
      yield* Effect.exit(n.ask.Crash())
      yield* pass(10)
      yield* Effect.exit(s.ask.Crash())
      yield* pass(10)
      assert.deepStrictEqual([starts(log, "n"), starts(log, "busy")], [0, 1])
      yield* Deferred.succeed(gate, undefined)
      yield* pass(10)
      assert.strictEqual(yield* Fiber.join(working), 1)
      assert.deepStrictEqual([starts(log, "n"), starts(log, "busy")], [1, 2])
      yield* Effect.exit(n.ask.Crash())
      yield* pass(10)
      assert.deepStrictEqual([starts(log, "n"), starts(log, "busy")], [2, 3])
      assert.strictEqual(yield* busy.ask.Work(), 2)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("one cause", () => {
  it.effect("K6: three one-for-all children that crash together make three starts", () =>
    Effect.gen(function* () {
      const { a, b, c, log, supervisor } = yield* family({
        strategy: "one-for-all",
        restarts: { max: 1, within: "1 minute" }
      })
      const failed = yield* Effect.forkChild(supervisor.failed)
      yield* Effect.all(
        [a, b, c].map((child) => Effect.exit(child.ask.Crash())),
        { concurrency: "unbounded" }
      )
      yield* pass("5 seconds")
      assert.strictEqual(starts(log), 3)
      assert.strictEqual(failed.pollUnsafe(), undefined)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: a late report of a generation that was replaced is dropped", () =>
    Effect.gen(function* () {
      const { b, log, supervisor } = yield* family({})
      const supervision = supervisor["~handfast/actors/Supervisor"]
      const subject = [...supervision.children.keys()][1] ?? {}
      yield* crash(b)
      supervision.crashed(subject, 1, Cause.die("late"))
      yield* pass("1 second")
      assert.deepStrictEqual(log, ["release b1", "acquire b2"])
      supervision.crashed(subject, 2, Cause.die("in time"))
      yield* pass("1 second")
      assert.strictEqual(log.at(-1), "acquire b3")
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: a failed commit under six actors ends none of them, with default settings", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const log: Array<string> = []
      const supervisor = yield* Supervisor.make()
      const failed = yield* Effect.forkChild(supervisor.failed)
      const spawn = (id: string) => supervisor.spawn(worker(log), id)
      const actors = yield* Effect.forEach(["a", "b", "c", "d", "e", "f", "g"], spawn).pipe(
        Effect.provideService(Journal, store)
      )
      state.broken = "io"
      yield* Effect.forEach(actors, (actor) => Effect.exit(actor.ask.Work()), {
        concurrency: "unbounded"
      })
      state.broken = undefined
      yield* pass("1 second")
      for (const actor of actors) assert.strictEqual(yield* actor.ask.Work(), 1)
      assert.strictEqual(failed.pollUnsafe(), undefined)
      assert.strictEqual(starts(log), 14)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: a journal that is down for less than `journalOutage` ends nobody", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const { b, supervisor } = yield* Effect.provideService(
        family({ backoff: Schedule.spaced("1 second"), journalOutage: "30 seconds" }),
        Journal,
        store
      )
      const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
      state.broken = "disk-full"
      yield* Effect.exit(b.ask.Work())
      for (let second = 0; second < 29; second++) yield* pass("1 second")
      state.broken = undefined
      yield* pass("2 seconds")
      assert.strictEqual(yield* b.ask.Work(), 1)
      state.broken = "disk-full"
      yield* pass("11 seconds")
      yield* Effect.exit(b.ask.Work())
      for (let second = 0; second < 32; second++) yield* pass("1 second")
      const exhausted = yield* Fiber.join(failed)
      assert.deepInclude(exhausted, { _tag: "RestartsExhausted", child: "Worker/b" })
      assert.isAbove(exhausted.withinMillis, 30_000)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: a neighbour whose journal is down spends no restarts of who asks it", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const { b, supervisor } = yield* Effect.provideService(
        family({ restarts: { max: 1, within: "1 minute" }, backoff: Schedule.spaced("1 second") }),
        Journal,
        store
      )
      const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
      state.broken = "io"
      yield* supervisor.run("asks b", Effect.andThen(b.ask.Work(), Effect.never))
      for (let second = 0; second < 10; second++) yield* pass("1 second")
      assert.isUndefined(failed.pollUnsafe())
      state.broken = undefined
      yield* pass("3 seconds")
      assert.isAbove(yield* b.ask.Work(), 0)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: an outage is over once its actor has stored events again", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const { b, supervisor } = yield* Effect.provideService(
        family({ backoff: Schedule.spaced("1 second"), journalOutage: "5 seconds" }),
        Journal,
        store
      )
      const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
      for (let round = 0; round < 4; round++) {
        state.broken = "io"
        yield* Effect.exit(b.ask.Work())
        state.broken = undefined
        yield* pass("2 seconds")
        yield* b.ask.Work()
      }
      assert.isUndefined(failed.pollUnsafe())
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: what only one actor's journal calls meet is counted as its crash", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const { b, supervisor } = yield* Effect.provideService(family({}), Journal, store)
      state.broken = "closed"
      yield* Effect.exit(b.ask.Work())
      yield* pass("5 seconds")
      assert.deepInclude(yield* Effect.flip(supervisor.failed), { restarts: 5 })
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: each child has a backoff of its own", () =>
    Effect.gen(function* () {
      const { a, b, c, log } = yield* family({ backoff: Schedule.exponential("1 second") })
      for (const child of [a, b, c]) yield* Effect.exit(child.ask.Crash())
      yield* pass(999)
      assert.strictEqual(starts(log), 0)
      yield* pass(1)
      assert.strictEqual(starts(log), 3)
      yield* Effect.exit(a.ask.Crash())
      yield* pass("1 second")
      assert.strictEqual(starts(log), 3, "the second crash of one child waits longer")
      yield* pass("1 second")
      assert.strictEqual(starts(log), 4)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K6: the default backoff of a long outage is at most 5 seconds", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const supervisor = yield* Supervisor.make({ journalOutage: "10 minutes" })
      const spawn = supervisor.spawn(worker([]), "b")
      const b = yield* Effect.provideService(spawn, Journal, store)
      state.broken = "io"
      yield* Effect.exit(b.ask.Work())
      for (let second = 0; second < 60; second++) yield* pass("1 second")
      state.broken = undefined
      yield* pass("7 seconds")
      assert.strictEqual(yield* b.ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("an effect that finishes", () => {
  it.effect("K5: while a restart of its siblings is under way is not run again", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ strategy: "one-for-all", backoff: immediately })
      const [finish, fail, gate] = yield* Effect.all([
        Deferred.make<void>(),
        Deferred.make<void, string>(),
        Deferred.make<void>()
      ])
      let [firstRuns, secondRuns] = [0, 0]
      const first = Effect.andThen(
        Effect.sync(() => firstRuns++),
        Deferred.await(finish)
      )
      const second = Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Deferred.await(gate))
        if (++secondRuns === 1) yield* Deferred.await(fail)
      })
      yield* supervisor.run("first", first)
      yield* supervisor.run("second", second)
      yield* Deferred.fail(fail, "planted")
      yield* pass(10)
      yield* Deferred.succeed(finish, undefined)
      yield* pass(10)
      yield* Deferred.succeed(gate, undefined)
      yield* pass(10)
      assert.deepStrictEqual([firstRuns, secondRuns], [1, 2])
    })
  )
})

describe("the end of a child", () => {
  it.effect("K5: whose finalizer fails does not keep its siblings from being restarted", () =>
    Effect.gen(function* () {
      const errors: Array<string> = []
      const options = { strategy: "one-for-all", backoff: immediately } as const
      const supervisor = yield* logged("Error", errors)(Supervisor.make(options))
      const fail = yield* Deferred.make<never, string>()
      let [firstRuns, badRuns] = [0, 0]
      yield* supervisor.run(
        "first",
        Effect.suspend(() => (firstRuns++, Effect.never))
      )
      const bad = Effect.suspend(() =>
        badRuns++ > 0
          ? Effect.never
          : Effect.andThen(
              Effect.addFinalizer(() => Effect.die("on the way out")),
              Deferred.await(fail)
            )
      )
      yield* supervisor.run("bad", bad)
      yield* Deferred.fail(fail, "planted")
      yield* pass("1 second")
      assert.deepStrictEqual([firstRuns, badRuns], [2, 2])
      assert.strictEqual(errors.length, 1)
      assert.match(errors[0]!, /^a finalizer failed .*on the way out/)
    })
  )

  it.effect("F9: a budget that is never forgotten is given up, too", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const errors: Array<string> = []
      const supervisor = yield* logged(
        "Error",
        errors
      )(Supervisor.make({ restarts: { max: 1, within: Infinity }, backoff: immediately }))
      const [a, b] = [
        yield* supervisor.spawn(worker(log), "a"),
        yield* supervisor.spawn(worker(log), "b")
      ]
      for (let crashes = 0; crashes < 2; crashes++) {
        yield* Effect.exit(a.ask.Crash())
        yield* turns(20)
      }
      assert.deepInclude(yield* b.ended, { reason: "crashed" })
      const error = yield* Effect.flip(supervisor.failed)
      assert.deepInclude({ ...error }, { restarts: 1, withinMillis: Infinity })
      assert.strictEqual(errors.length, 1, errors.join("\n"))
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K9: giving up is logged as an error with the cause", () =>
    Effect.gen(function* () {
      const errors: Array<string> = []
      const { b } = yield* logged(
        "Error",
        errors
      )(family({ restarts: { max: 0, within: "1 minute" } }))
      yield* crash(b)
      assert.strictEqual(errors.length, 1)
      assert.match(errors[0]!, /gave up.*told to crash/s)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K9, K10: a fenced actor is logged as an error and never restarted", () =>
    Effect.gen(function* () {
      const errors: Array<string> = []
      const journal = yield* Journal
      const { b, c, log } = yield* logged("Error", errors)(family({ strategy: "one-for-all" }))
      yield* journal.claim("Worker/b")
      const stopped = yield* Effect.flip(b.ask.Work())
      assert.deepInclude(stopped, { _tag: "Stopped", reason: "journal", outcome: "unknown" })
      assert.include(stopped.message, "writer 1 was replaced by writer 2")
      yield* crash(c)
      assert.strictEqual(starts(log, "b"), 0)
      assert.strictEqual(starts(log, "a"), 1)
      assert.include((yield* b.ended).detail, "writer 1 was replaced by writer 2")
      assert.strictEqual(errors.length, 1)
      assert.include(errors[0]!, "writer 1 was replaced by writer 2")
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K10: a second spawn of an id is refused while the first lives, and only then", () =>
    Effect.gen(function* () {
      const { a, supervisor, Worker } = yield* family({})
      const second = yield* Effect.flip(supervisor.spawn(Worker, "a"))
      assert.deepInclude(second, { _tag: "AlreadyRunning", actor: "Worker/a" })
      assert.strictEqual(yield* a.ask.Work(), 1)
      yield* a.stop
      const again = yield* supervisor.spawn(Worker, "a")
      assert.strictEqual(yield* again.ask.Work(), 2)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K10: an actor that is about to end is waited for", () =>
    Effect.gen(function* () {
      const { a, log, supervisor, Worker } = yield* family({})
      yield* Effect.forkChild(a.stop, { startImmediately: true })
      const again = yield* supervisor.spawn(Worker, "a")
      assert.strictEqual(yield* again.ask.Work(), 1)
      assert.deepStrictEqual(log, ["release a1", "acquire a1"])
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("9: an actor whose Scope closes behind a slow sibling is waited for", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const release = yield* Deferred.make<void>()
      const owner = yield* Scope.make()
      const first = yield* Scope.provide(Actor.spawn(worker(log), "a"), owner)
      yield* Scope.addFinalizer(owner, Deferred.await(release))
      const closing = yield* Effect.forkChild(Scope.close(owner, Exit.void))
      const second = yield* Effect.forkChild(Actor.spawn(worker(log), "a"))
      yield* turns(20)
      assert.strictEqual(second.pollUnsafe(), undefined)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(closing)
      assert.deepInclude(yield* first.ended, { reason: "released" })
      yield* (yield* Fiber.join(second)).ask.Work()
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K10: an address is free again after a failed start and after its Scope", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const Worker = worker([])
      const spawn = Effect.flatMap(Supervisor.make(), (one) => one.spawn(Worker, "a")).pipe(
        Effect.provideService(Journal, store)
      )
      state.broken = "io"
      assert.strictEqual((yield* Effect.flip(Effect.scoped(spawn)))._tag, "StorageFailed")
      state.broken = undefined
      yield* Effect.scoped(spawn)
      yield* Effect.scoped(spawn)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("what is left", () => {
  it.effect("K11: closed child supervisors leave nothing in their parent", () =>
    Effect.gen(function* () {
      const parent = yield* Supervisor.make()
      const before = finalizers(scopeOf(parent))
      for (let count = 0; count < 100; count++) {
        const child = Effect.flatMap(Supervisor.make({ parent }), (child) =>
          child.spawn(worker([]), `${count}`)
        )
        yield* Effect.scoped(child)
      }
      assert.strictEqual(parent["~handfast/actors/Supervisor"].children.size, 0)
      assert.strictEqual(finalizers(scopeOf(parent)), before)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K11: finished runs and ended actors leave nothing in their supervisor", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make()
      const before = finalizers(scopeOf(supervisor))
      for (let count = 0; count < 100; count++) {
        yield* supervisor.run("short", Effect.void)
        yield* supervisor.run("longer", Effect.sleep(1))
        const actor = yield* supervisor.spawn(worker([]), `${count}`)
        yield* actor.stop
      }
      yield* pass(10)
      assert.strictEqual(supervisor["~handfast/actors/Supervisor"].children.size, 0)
      assert.strictEqual(finalizers(scopeOf(supervisor)), before)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K11: a failed spawn leaves nothing in its supervisor", () =>
    Effect.gen(function* () {
      const { state, store } = yield* breakable
      const supervisor = yield* Supervisor.make()
      const before = finalizers(scopeOf(supervisor))
      const spawn = supervisor.spawn(worker([]), "a").pipe(Effect.provideService(Journal, store))
      state.broken = "io"
      assert.strictEqual((yield* Effect.flip(spawn))._tag, "StorageFailed")
      yield* pass(0)
      assert.strictEqual(supervisor["~handfast/actors/Supervisor"].children.size, 0)
      assert.strictEqual(finalizers(scopeOf(supervisor)), before)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("K11: the Scope ends supervision before the children, so none is restarted", () =>
    Effect.gen(function* () {
      let starts = 0
      const crashing = Effect.andThen(
        Effect.sync(() => starts++),
        Effect.andThen(Effect.sleep("500 millis"), Effect.fail("crash"))
      )
      const program = Effect.gen(function* () {
        const supervisor = yield* Supervisor.make({ backoff: immediately })
        yield* supervisor.run("crashes while the other one is released", crashing)
        yield* supervisor.run(
          "slow",
          Effect.andThen(
            Effect.addFinalizer(() => Effect.sleep("1 second")),
            Effect.never
          )
        )
      })
      const fiber = yield* Effect.forkChild(Effect.scoped(program), { startImmediately: true })
      yield* pass("500 millis")
      yield* pass("500 millis")
      yield* Fiber.join(fiber)
      assert.strictEqual(starts, 1)
    })
  )

  it.effect("K11: the Scope waits for a run that is just ending", () =>
    Effect.gen(function* () {
      let released = false
      const release = Effect.andThen(
        Effect.sleep("1 second"),
        Effect.sync(() => (released = true))
      )
      const program = Effect.gen(function* () {
        const supervisor = yield* Supervisor.make()
        yield* supervisor.run(
          "short",
          Effect.addFinalizer(() => release)
        )
      })
      const fiber = yield* Effect.forkChild(Effect.scoped(program), { startImmediately: true })
      yield* pass(500)
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* pass(500)
      yield* Fiber.join(fiber)
      assert.isTrue(released)
    })
  )

  it.effect("K11: a wall clock that steps back does not keep the budget spent", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(7_200_000)
      const { b, log } = yield* family({ restarts: { max: 1, within: "10 seconds" } })
      yield* crash(b)
      yield* TestClock.setTime(3_600_000)
      yield* pass("11 seconds")
      yield* crash(b)
      assert.strictEqual(starts(log), 2)
      assert.strictEqual(yield* b.ask.Work(), 1)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

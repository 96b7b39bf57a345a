/**
 * Goal: whatever a behavior throws and wherever, it is a crash of that actor alone, each ask ends,
 * and the operator reads why an actor is gone. Method: behaviors that throw in each of their
 * functions, on a synchronous and an asynchronous journal.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import { Stopped } from "../../../src/actors/kernel/ActorError.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { droppedMessages, refusedMessages } from "../../../src/actors/kernel/Metrics.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { Counter, decide, evolve, react, spec, State } from "./counter.ts"
import { failure, fork, journals, makeHeld, settle } from "./journals.ts"

const boom = (): never => {
  throw new Error("boom")
}

const tables = { ...spec, decide, evolve, react }

/** Behaviors that throw once the sum is above 1. */
const throwing = {
  "snapshot.when": Behavior.make("Counter", {
    ...tables,
    snapshot: { state: State, when: ({ sum }) => (sum > 1 ? boom() : false) }
  }),
  epoch: Behavior.make("Counter", {
    ...tables,
    react: { Added: () => Effect.void },
    epoch: ({ sum }) => (sum > 1 ? boom() : undefined)
  }),
  tags: Behavior.make("Counter", {
    ...tables,
    tags: (event) => (event._tag === "Added" && event.n > 1 ? boom() : [])
  }),
  thenReply: Behavior.make("Counter", {
    ...tables,
    decide: {
      ...decide,
      Add: (_, { n }) =>
        Decision.persist({ _tag: "Added" as const, n }).pipe(
          Decision.thenReply((state: State) => (state.sum > 1 ? boom() : state.sum))
        )
    }
  }),
  react: Behavior.make("Counter", {
    ...tables,
    react: { Added: (_, __, { sum }) => (sum > 1 ? boom() : Effect.void) }
  }),
  "something that cannot be printed": Behavior.make("Counter", {
    ...tables,
    evolve: {
      ...evolve,
      Added: (state, { n }) => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error
        if (n > 1) throw Object.create(null)
        return evolve.Added(state, { n })
      }
    }
  })
}

/** What the operator reads: each message with its cause. */
const logged = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    lines.push(`${logLevel} ${String(message)} ${Cause.pretty(cause)}`)
  })
  return { lines, layer: Logger.layer([logger]) }
}

describe.each(journals)("a throw of a behavior on %s", (_, layer) => {
  for (const [where, behavior] of Object.entries(throwing)) {
    it.effect(`K1: in ${where}, ends that actor and every ask`, () =>
      Effect.gen(function* () {
        const counter = yield* Actor.spawn(behavior, "a")
        assert.strictEqual(yield* counter.ask.Add({ n: 1 }), 1)
        const asks = yield* Effect.forEach([2, 3], (n) => fork(Effect.exit(counter.ask.Add({ n }))))
        assert.deepInclude(yield* counter.ended, { reason: "crashed" })
        for (const ask of asks) {
          const exit = yield* Fiber.join(ask)
          if (Exit.isFailure(exit)) assert.instanceOf(Cause.squash(exit.cause), Stopped)
        }
        // Effects and epochs come after the event is stored.
        const first = yield* Fiber.join(asks[0]!)
        assert.strictEqual(Exit.isSuccess(first), where === "react" || where === "epoch")
        assert.instanceOf(yield* Effect.flip(counter.ask.Get()), Stopped)
        assert.deepInclude(yield* counter.stop, { reason: "crashed" })
      }).pipe(Effect.provide(layer))
    )
  }

  it.effect("K1: in start, ends that actor and every ask", () =>
    Effect.gen(function* () {
      const Broken = Behavior.make("Counter", { ...tables, epoch: boom, start: () => Effect.never })
      const counter = yield* Actor.spawn(Broken, "a")
      const ask = yield* fork(Effect.exit(counter.ask.Get()))
      assert.deepInclude(yield* counter.ended, { reason: "crashed" })
      assert.isTrue(Exit.isFailure(yield* Fiber.join(ask)))
    }).pipe(Effect.provide(layer))
  )

  it.effect("K1: of the journal's layer, ends that actor and every ask", () =>
    Effect.gen(function* () {
      const journal = Journal.of({ ...(yield* Journal), append: boom })
      const counter = yield* Effect.provideService(Actor.spawn(Counter, "a"), Journal, journal)
      const stopped = yield* Effect.flip(counter.ask.Add({ n: 1 }))
      assert.deepInclude(stopped, { reason: "journal", outcome: "unknown" })
      assert.deepInclude(yield* counter.ended, { reason: "crashed" })
    }).pipe(Effect.provide(layer))
  )

  it.effect("effects of a decision that could not be taken whole do not run", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const Half = Behavior.make("Counter", {
        ...tables,
        decide: {
          ...decide,
          Hold: () =>
            Decision.persist(
              { _tag: "Added" as const, n: 5 },
              { _tag: "Broken" as const, how: "evolve" }
            )
        },
        react: {
          Added: ({ n }) => Effect.sync(() => ran.push(`added ${n}`)),
          Noted: () => Effect.sync(() => ran.push("noted"))
        }
      })
      const counter = yield* Actor.spawn(Half, "a")
      yield* counter.tell.Note({ text: "before it in the batch" })
      assert.deepInclude(yield* Effect.flip(counter.ask.Hold()), { outcome: "not-run" })
      yield* counter.ended
      assert.deepStrictEqual(ran, ["noted"])
    }).pipe(Effect.provide(layer))
  )
})

const Wait = Rpc.make("Wait", { success: Schema.Int })
const Answer = Rpc.make("Answer", { payload: { n: Schema.Int } })
const Waited = Schema.TaggedStruct("Waited", {})
const Answered = Schema.TaggedStruct("Answered", { n: Schema.Int })
const answer = Decision.pending<number>("answer")

/** Its callers wait for an answer; what happens then, `waited` says. */
const waiter = <D extends "journal" | "none">(history: D, waited: () => Effect.Effect<unknown>) =>
  Behavior.make("Waiter", {
    commands: [Wait, Answer],
    events: Schema.Union([Waited, Answered]),
    initial: {},
    history,
    decide: {
      Wait: () => Decision.persist(Waited.make({})).pipe(Decision.thenWait(answer)),
      Answer: (_, { n }) =>
        Decision.persist(Answered.make({ n })).pipe(Decision.thenSettle(answer, Exit.succeed(n)))
    },
    evolve: { Waited: (state) => state, Answered: (state) => state },
    react: { Waited: waited }
  })

const fails = () => Effect.die(new Error("boom"))

describe.each(journals)(
  "a caller who waits, while the effect of its command fails, on %s",
  (_, layer) => {
    it.effect("K2: hears of the end of an actor without a supervisor", () =>
      Effect.gen(function* () {
        const actor = yield* Actor.spawn(waiter("journal", fails), "a")
        const stopped = yield* Effect.flip(actor.ask.Wait())
        assert.deepInclude(stopped, { _tag: "Stopped", reason: "crashed", outcome: "unknown" })
      }).pipe(Effect.provide(layer))
    )

    it.effect("K2: hears of the crash of one without a history", () =>
      Effect.gen(function* () {
        const supervisor = yield* Supervisor.make()
        const actor = yield* supervisor.spawn(waiter("none", fails), "a")
        const stopped = yield* Effect.flip(actor.ask.Wait())
        assert.deepInclude(stopped, { _tag: "Stopped", reason: "crashed", outcome: "unknown" })
      }).pipe(Effect.provide(layer))
    )

    it.effect("K2: waits on over the restart of one with a history", () =>
      Effect.gen(function* () {
        const supervisor = yield* Supervisor.make()
        const actor = yield* supervisor.spawn(waiter("journal", fails), "a")
        const waits = yield* fork(actor.ask.Wait())
        yield* settle
        yield* TestClock.adjust("1 second")
        yield* actor.ask.Answer({ n: 7 })
        assert.strictEqual(yield* Fiber.join(waits), 7)
      }).pipe(Effect.provide(layer))
    )

    it.effect("K2: hears of an end that its own effect has brought about", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const ends = () => Effect.sync(() => Effect.runFork(Scope.close(scope, Exit.void)))
        const actor = yield* Scope.provide(Actor.spawn(waiter("journal", ends), "a"), scope)
        assert.instanceOf(yield* Effect.flip(actor.ask.Wait()), Stopped)
      }).pipe(Effect.provide(layer))
    )
  }
)

describe("the operator", () => {
  it.effect("K9: reads why an actor without a supervisor has ended", () => {
    const { layer, lines } = logged()
    return Effect.gen(function* () {
      const counter = yield* Actor.spawn(Counter, "a")
      yield* Effect.flip(counter.ask.Break({ how: "decide" }))
      yield* counter.ended
      const errors = lines.filter((line) => line.startsWith("Error"))
      assert.strictEqual(errors.length, 1)
      assert.include(errors[0], "decide broke")
    }).pipe(Effect.provide([Journal.layerMemory, layer]))
  })

  it.effect("K9: reads why a fenced actor has ended, which no supervisor restarts", () => {
    const { layer, lines } = logged()
    return Effect.gen(function* () {
      const supervisor = yield* Supervisor.make()
      const first = yield* supervisor.spawn(Counter, "a")
      yield* (yield* Journal).claim("Counter/a")
      const stopped = yield* Effect.flip(first.ask.Add({ n: 1 }))
      assert.include(stopped._tag === "Stopped" ? stopped.detail : "", "replaced by writer 2")
      assert.deepInclude(yield* first.ended, { reason: "journal" })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* (yield* Journal).claim("Counter/a")).writer, 3)
      assert.strictEqual(lines.filter((line) => line.startsWith("Error")).length, 1)
      assert.include(lines.join(), "replaced by writer 2")
    }).pipe(Effect.provide([Journal.layerMemory, layer]))
  })

  it.effect("K9: is told of a fence that is found after a crash", () => {
    const { layer, lines } = logged()
    return Effect.gen(function* () {
      const { journal, latch, store } = makeHeld()
      const supervisor = yield* Supervisor.make()
      const Failing = Behavior.make("Counter", {
        ...tables,
        writtenBehind: ["Noted"],
        react: { Noted: () => Effect.andThen(Effect.sleep("1 second"), fails()) }
      })
      const counter = yield* supervisor
        .spawn(Failing, "a")
        .pipe(Effect.provideService(Journal, journal))
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "written behind" })
      yield* TestClock.adjust("1 second")
      yield* store.claim("Counter/a")
      latch.openUnsafe()
      assert.deepInclude(yield* counter.ended, { reason: "journal" })
      assert.include(lines.join(), "replaced by writer 2")
    }).pipe(Effect.provide(layer))
  })

  it.effect("K9: sees how many told messages a full stash has lost", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Counter, "a")
      const dropped = Metric.withAttributes(droppedMessages, { actor: "Counter" })
      const before = (yield* Metric.value(dropped)).count
      yield* counter.ask.Hold()
      for (let n = 0; n < 5; n++) yield* counter.tell.Add({ n: 1 })
      yield* counter.ask.Resume()
      assert.strictEqual(yield* counter.ask.Get(), 2, "the stash holds two")
      assert.strictEqual((yield* Metric.value(dropped)).count - before, 3)
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

const { onDefect: _, ...byDefault } = tables
const Strict = Behavior.make("Strict", byDefault)

describe.each(journals)("an actor that throws at a command, by default, on %s", (_, layer) => {
  it.effect("K9: fails the caller only, stores nothing of it, and goes on", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make()
      const strict = yield* supervisor.spawn(Strict, "a")
      const refused = Metric.withAttributes(refusedMessages, { actor: "Strict" })
      const { count } = yield* Metric.value(refused)
      for (const how of ["decide", "evolve", "encode"] as const) {
        assert.deepInclude(yield* Effect.flip(strict.ask.Break({ how })), {
          _tag: "Stopped",
          reason: "defect",
          outcome: "not-run"
        })
        yield* strict.tell.Break({ how })
        yield* strict.ask.Add({ n: 1 })
      }
      assert.strictEqual(yield* strict.ask.Get(), 3)
      assert.strictEqual((yield* Metric.value(refused)).count - count, 6)
      const again = yield* (yield* Journal).claim("Strict/a")
      assert.deepInclude(again, { writer: 2, last: 3 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("K9: stores nothing of a decision that is refused half way", () =>
    Effect.gen(function* () {
      const Half = Behavior.make("Half", {
        ...tables,
        onDefect: "refuse",
        decide: {
          ...decide,
          Hold: () =>
            Decision.persist(
              { _tag: "Added" as const, n: 5 },
              { _tag: "Broken" as const, how: "evolve" }
            )
        }
      })
      const half = yield* Actor.spawn(Half, "a")
      assert.deepInclude(yield* Effect.flip(half.ask.Hold()), { reason: "defect" })
      assert.strictEqual(yield* half.ask.Add({ n: 1 }), 1)
      assert.deepInclude(yield* (yield* Journal).claim("Half/a"), { last: 1 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("K9: crashes at a signal, which comes from its effects", () =>
    Effect.gen(function* () {
      const Signalled = Behavior.make("Signalled", {
        ...tables,
        signals: Behavior.signals<{ readonly _tag: "Now" }>(),
        onDefect: "refuse",
        decide: { ...decide, Now: boom },
        react: { Added: (_, self) => self.signal.Now() }
      })
      const signalled = yield* Actor.spawn(Signalled, "a")
      yield* signalled.ask.Add({ n: 1 })
      assert.deepInclude(yield* signalled.ended, { reason: "crashed" })
    }).pipe(Effect.provide(layer))
  )

  it.effect("K9: spends no restart of its supervisor, so its siblings live", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ restarts: { max: 1, within: "1 minute" } })
      const strict = yield* supervisor.spawn(Strict, "a")
      const sibling = yield* supervisor.spawn(Strict, "b")
      for (let n = 0; n < 6; n++) yield* Effect.flip(strict.ask.Break({ how: "decide" }))
      assert.strictEqual(yield* sibling.ask.Add({ n: 1 }), 1)
    }).pipe(Effect.provide(layer))
  )

  it.effect("K9: still crashes when its effects fail", () =>
    Effect.gen(function* () {
      const strict = yield* Actor.spawn(Strict, "a")
      yield* strict.ask.Break({ how: "react" })
      assert.deepInclude(yield* strict.ended, { reason: "crashed" })
    }).pipe(Effect.provide(layer))
  )
})

it.effect("a failed append is followed by no other", () =>
  Effect.gen(function* () {
    const { appends, faults, journal, latch } = makeHeld()
    const counter = yield* Effect.provideService(Actor.spawn(Counter, "a"), Journal, journal)
    latch.closeUnsafe()
    faults.push(failure)
    yield* counter.ask.Note({ text: "fails" })
    yield* counter.ask.Note({ text: "would go with the next one" })
    latch.openUnsafe()
    assert.deepInclude(yield* counter.ended, { reason: "crashed" })
    assert.strictEqual(appends.length, 1)
  })
)

describe("a command whose event the journal cannot store", () => {
  const directory = mkdtempSync(join(tmpdir(), "handfast-"))
  afterAll(() => rmSync(directory, { recursive: true }))
  const Tagging = Behavior.make("Tagging", {
    ...byDefault,
    tags: (event) => [event._tag === "Broken" ? "\ud800" : "counted"]
  })
  const file = join(directory, "small.db")
  const small = Journal.layerSqlite({ file, bodyBytes: 24 })

  it.live.each([
    ["for its tag", Tagging, { how: "react" }, Journal.layerMemory],
    ["for its size", Strict, { how: "react" }, small]
  ] as const)(
    "F2: is refused %s, alone in its batch, and no sibling ends",
    ([, behavior, payload, layer]) =>
      Effect.gen(function* () {
        const supervisor = yield* Supervisor.make({ restarts: { max: 1, within: "1 minute" } })
        const actor = yield* supervisor.spawn(behavior, "a")
        const sibling = yield* supervisor.spawn(behavior, "b")
        for (let n = 0; n < 3; n++) {
          const [refused, taken] = yield* Effect.all(
            [Effect.flip(actor.ask.Break(payload)), actor.ask.Add({ n: 1 })],
            { concurrency: "unbounded" }
          )
          assert.deepInclude(refused, { _tag: "Stopped", reason: "defect", outcome: "not-run" })
          assert.strictEqual(taken, n + 1)
        }
        assert.strictEqual(yield* sibling.ask.Add({ n: 1 }), 1)
      }).pipe(Effect.provide(layer))
  )
})

/**
 * Goal: snapshots, passivation and what is shown of an actor follow the journal: nothing is ahead
 * of it, and nothing that it has is missed. Method: a counter on a journal that tests hold up,
 * under a scheduler that gives way at every step where that matters.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type { Fiber as AnyFiber } from "effect/Fiber"
import { MixedScheduler, Scheduler } from "effect/Scheduler"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import { Journal, type Store } from "../../../src/actors/kernel/Journal.ts"
import { snapshotFailures } from "../../../src/actors/kernel/Metrics.ts"
import type { StoredSnapshot } from "../../../src/schema/JournalRecord.ts"
import { decide, evolve, react, spec, State } from "./counter.ts"
import { fork, journals, makeHeld, settle } from "./journals.ts"

const tables = { ...spec, decide, evolve, react }

/** Lets no fiber begin in the turn of the one that forks it, as a simulation may. */
class LateStarts extends MixedScheduler {
  readonly #begun = new WeakSet<object>()

  override shouldYield(fiber: AnyFiber<unknown, unknown>): boolean {
    if (this.#begun.has(fiber)) return super.shouldYield(fiber)
    this.#begun.add(fiber)
    return true
  }
}

/** A store that lists the snapshots that it was asked to store. */
const recording = (store: Store) => {
  const snapshots: Array<StoredSnapshot> = []
  const journal: Store = {
    ...store,
    saveSnapshot: (claim, snapshot) => {
      snapshots.push(snapshot)
      return store.saveSnapshot(claim, snapshot)
    }
  }
  return { snapshots, journal }
}

/** What the event with this number brought the sum to, when each adds 1. */
const sumIn = ({ body }: StoredSnapshot): number => (JSON.parse(body) as State).sum

describe("a snapshot", () => {
  for (const [name, layer] of journals) {
    it.effect(`K3: holds the state of its own event, on ${name}`, () =>
      Effect.gen(function* () {
        const { journal, snapshots } = recording(yield* Journal)
        const Often = Behavior.make("Counter", { ...tables, snapshot: { state: State, every: 1 } })
        const counter = yield* Actor.spawn(Often, "a").pipe(
          Effect.provideService(Journal, journal),
          Effect.provideService(Scheduler, new LateStarts())
        )
        for (let n = 0; n < 20; n++) yield* counter.ask.Add({ n: 1 })
        yield* Effect.repeat(settle, { until: () => snapshots.length > 10 })
        assert.isAbove(snapshots.length, 10)
        for (const snapshot of snapshots) assert.strictEqual(sumIn(snapshot), snapshot.seq)
      }).pipe(Effect.provide(layer))
    )

    it.effect(`K4: is stored of events that are all written behind, on ${name}`, () =>
      Effect.gen(function* () {
        const Behind = Behavior.make("Counter", {
          ...tables,
          writtenBehind: ["Added"],
          snapshot: { state: State, every: 10 }
        })
        const counter = yield* Actor.spawn(Behind, "a")
        for (let n = 0; n < 40; n++) yield* counter.ask.Add({ n: 1 })
        yield* settle
        const snapshot = Option.getOrThrow(yield* (yield* Journal).loadSnapshot("Counter/a"))
        assert.isAtLeast(snapshot.seq, 30)
        assert.strictEqual(sumIn(snapshot), snapshot.seq)
      }).pipe(Effect.provide(layer))
    )
  }

  it.effect("is never ahead of the events that are stored", () =>
    Effect.gen(function* () {
      const { journal: slow, latch } = makeHeld()
      const { journal, snapshots } = recording(slow)
      const failed = (yield* Metric.value(snapshotFailures)).count
      const Behind = Behavior.make("Counter", {
        ...tables,
        writtenBehind: ["Added"],
        snapshot: { state: State, every: 2, when: ({ sum }) => sum === 5 }
      })
      const counter = yield* Effect.provideService(Actor.spawn(Behind, "a"), Journal, journal)
      latch.closeUnsafe()
      for (let n = 0; n < 7; n++) yield* counter.ask.Add({ n: 1 })
      assert.deepStrictEqual(snapshots, [])
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(
        snapshots.map(({ seq }) => seq),
        [7]
      )
      assert.strictEqual((yield* Metric.value(snapshotFailures)).count, failed)
    })
  )
})

/** Counts its generations, and those of them that are over. */
const sleepy = (log: Array<string>) =>
  Behavior.make("Counter", {
    ...tables,
    writtenBehind: ["Noted"],
    passivateAfter: "1 minute",
    start: (_, __, { generation }) =>
      Effect.acquireRelease(
        Effect.sync(() => log.push(`begin ${generation}`)),
        () => Effect.sync(() => log.push(`end ${generation}`))
      )
  })

describe.each(journals)("a passive actor on %s", (_, layer) => {
  it.effect("K7: shows its newest state and stays passive", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const counter = yield* Actor.spawn(sleepy(log), "a")
      yield* counter.ask.Add({ n: 5 })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log, ["begin 1", "end 1"])
      assert.strictEqual((yield* counter.state).sum, 5)
      const states = yield* fork(
        counter.states.pipe(
          Stream.map(({ sum }) => sum),
          Stream.take(2),
          Stream.runCollect
        )
      )
      yield* settle
      assert.deepStrictEqual(log, ["begin 1", "end 1"], "nothing has woken it")
      yield* counter.ask.Add({ n: 1 })
      assert.deepStrictEqual(yield* Fiber.join(states), [5, 6])
      assert.deepStrictEqual(log, ["begin 1", "end 1", "begin 2"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("K7: shows its newest state also after it was stopped", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(sleepy([]), "a")
      yield* counter.ask.Add({ n: 5 })
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* counter.stop, { reason: "stopped" })
      assert.strictEqual((yield* counter.state).sum, 5)
    }).pipe(Effect.provide(layer))
  )

  it.effect("does not become so while messages are put aside", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const counter = yield* Actor.spawn(sleepy(log), "a")
      yield* counter.ask.Hold()
      const aside = yield* fork(counter.ask.Add({ n: 5 }))
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(log, ["begin 1"])
      yield* counter.ask.Resume()
      assert.strictEqual(yield* Fiber.join(aside), 5)
      yield* settle
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log, ["begin 1", "end 1"])
    }).pipe(Effect.provide(layer))
  )
})

describe("an actor", () => {
  it.effect("K7: becomes passive a while after its last event is written, and not before", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const log: Array<string> = []
      const spawn = Actor.spawn(sleepy(log), "a")
      const counter = yield* Effect.provideService(spawn, Journal, journal)
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "written behind" })
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(log, ["begin 1"])
      latch.openUnsafe()
      yield* settle
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(log, ["begin 1"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(log, ["begin 1", "end 1"])
      yield* counter.ask.Get()
      assert.strictEqual((yield* counter.state).notes, 1)
    })
  )

  it.effect("K7: shows who subscribes during an append what it brings", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const spawn = Actor.spawn(Behavior.make("Counter", { ...spec, decide, evolve }), "a")
      const counter = yield* Effect.provideService(spawn, Journal, journal)
      latch.closeUnsafe()
      const add = yield* fork(counter.ask.AddTwice({ n: 1 }))
      const states = yield* fork(counter.states.pipe(Stream.take(3), Stream.runCollect))
      const events = yield* fork(counter.events.pipe(Stream.take(2), Stream.runCollect))
      yield* settle
      latch.openUnsafe()
      yield* Fiber.join(add)
      assert.deepStrictEqual(
        (yield* Fiber.join(states)).map(({ sum }) => sum),
        [0, 1, 2]
      )
      assert.strictEqual((yield* Fiber.join(events)).length, 2)
    })
  )
})

/**
 * Goal: an actor's history is its state, however it is cut into snapshots, restarts and versions.
 * Method: laws over random histories, and histories written by hand into a journal in memory.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { MaxRecoveries } from "../../../src/actors/kernel/Limits.ts"
import { type NewEvent, StorageFailed } from "../../../src/schema/JournalRecord.ts"
import { Counter, decide, evolve, react, spec, State } from "./counter.ts"

const counterWith = (snapshot: Behavior.SnapshotPolicy<State, unknown>) =>
  Behavior.make("Counter", { ...spec, decide, evolve, react, snapshot })

const stored = (type: string, body: object, version = 1): NewEvent => ({
  type,
  version,
  body: JSON.stringify({ _tag: type, ...body }),
  at: 0,
  tags: []
})

/** Writes a history as another program would have. */
const history = Effect.fnUntraced(function* (actor: string, events: ReadonlyArray<NewEvent>) {
  const journal = yield* Journal
  const { last, writer } = yield* journal.claim(actor)
  yield* journal.append({ actor, writer, expected: last, events })
})

const eventsOf = Effect.fnUntraced(function* (actor: string) {
  const journal = yield* Journal
  return yield* Stream.runCollect(journal.read(actor))
})

const Numbers = Schema.Array(
  Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: -9, maximum: 9 })))
)
const Cut = Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 7 })))

describe("laws of recovery", () => {
  it.effect.prop(
    "snapshot + tail = full replay, for every cut",
    [Numbers, Cut],
    Effect.fnUntraced(
      function* ([numbers, every]) {
        const Snapshotting = counterWith({ state: State, every, keep: 100 })
        const before = yield* Effect.scoped(
          Effect.gen(function* () {
            const counter = yield* Actor.spawn(Snapshotting, "a")
            for (const n of numbers) yield* counter.ask.Add({ n })
            return yield* counter.state
          })
        )
        const journal = yield* Journal
        // Cut the history at every snapshot: each one with its tail gives the same state.
        for (let at = numbers.length; at >= 0; at--) {
          const snapshot = yield* journal.loadSnapshot("Counter/a", at)
          const from = Option.isSome(snapshot) ? snapshot.value.seq : 0
          let state: State = Option.isSome(snapshot)
            ? yield* Schema.decodeUnknownEffect(State)(JSON.parse(snapshot.value.body))
            : spec.initial
          for (const n of numbers.slice(from)) state = evolve.Added(state, { n })
          assert.deepStrictEqual(state, before)
        }
        const replayed = yield* Effect.scoped(
          Effect.flatMap(Actor.spawn(Counter, "a"), (counter) => counter.state)
        )
        const recovered = yield* Effect.scoped(
          Effect.flatMap(Actor.spawn(Snapshotting, "a"), (counter) => counter.state)
        )
        assert.deepStrictEqual(replayed, before)
        assert.deepStrictEqual(recovered, before)
      },
      Effect.provide(Layer.fresh(Journal.layerMemory))
    )
  )

  it.effect.prop(
    "persist(restore(persist x)) = persist x",
    [Numbers],
    Effect.fnUntraced(
      function* ([numbers]) {
        const Snapshotting = counterWith({ state: State, when: () => true, keep: 1 })
        const journal = yield* Journal
        const bodyAfter = (adds: ReadonlyArray<number>) =>
          Effect.gen(function* () {
            const counter = yield* Actor.spawn(Snapshotting, "a")
            for (const n of adds) yield* counter.ask.Add({ n })
            const snapshot = yield* journal.loadSnapshot("Counter/a")
            return Option.isSome(snapshot) ? snapshot.value.body : ""
          }).pipe(Effect.scoped)
        const once = yield* bodyAfter([...numbers, 0])
        const twice = yield* bodyAfter([0])
        assert.strictEqual(twice, once)
      },
      Effect.provide(Layer.fresh(Journal.layerMemory))
    )
  )
})

describe("recovery", () => {
  it.effect("deletes events that the oldest kept snapshot makes unnecessary", () =>
    Effect.gen(function* () {
      const Pruning = counterWith({ state: State, every: 10, keep: 2, deleteEvents: true })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const counter = yield* Actor.spawn(Pruning, "a")
          for (let n = 0; n < 35; n++) yield* counter.ask.Add({ n: 1 })
        })
      )
      const left = yield* eventsOf("Counter/a")
      assert.deepStrictEqual([left[0]?.seq, left.length], [21, 15])
      const again = yield* Actor.spawn(Pruning, "a")
      assert.strictEqual(yield* again.ask.Get(), 35)
      assert.strictEqual(yield* again.ask.Add({ n: 1 }), 36)
      yield* again.stop
      assert.strictEqual((yield* Effect.flip(Actor.spawn(Counter, "a")))._tag, "CorruptRecord")
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a snapshot that was refused keeps nothing from being recovered", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const refused = new Set([10])
      const refusing = Journal.of({
        ...journal,
        saveSnapshot: (claim, snapshot) =>
          refused.has(snapshot.seq)
            ? new StorageFailed({ operation: "snapshot", reason: "io", file: "memory", detail: "" })
            : journal.saveSnapshot(claim, snapshot)
      })
      const Pruning = counterWith({ state: State, every: 10, keep: 2, deleteEvents: true })
      const counter = yield* Effect.provideService(Actor.spawn(Pruning, "a"), Journal, refusing)
      for (let n = 0; n < 25; n++) yield* counter.ask.Add({ n: 1 })
      const left = yield* eventsOf("Counter/a")
      assert.strictEqual(left[0]?.seq, 21, "20 is the only snapshot: what is before it may go")
      for (let n = 0; n < 5; n++) yield* counter.ask.Add({ n: 1 })
      assert.strictEqual((yield* eventsOf("Counter/a"))[0]?.seq, 21, "20 and 30 are kept")
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a snapshot of another version is passed over, and never half-read", () =>
    Effect.gen(function* () {
      const Old = counterWith({ state: State, version: 1, when: () => true })
      yield* Effect.scoped(
        Effect.flatMap(Actor.spawn(Old, "a"), (counter) => counter.ask.Add({ n: 7 }))
      )
      const New = counterWith({ state: State, version: 2, when: () => true })
      const again = yield* Actor.spawn(New, "a")
      assert.strictEqual(yield* again.ask.Get(), 7)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a long recovery stores a snapshot at once", () =>
    Effect.gen(function* () {
      yield* history(
        "Counter/a",
        Array.from({ length: 1001 }, () => stored("Added", { n: 1 }))
      )
      const Rare = counterWith({ state: State, when: () => false })
      const counter = yield* Actor.spawn(Rare, "a")
      assert.strictEqual(yield* counter.ask.Get(), 1001)
      const journal = yield* Journal
      const snapshot = yield* journal.loadSnapshot("Counter/a")
      assert.strictEqual(Option.getOrUndefined(snapshot)?.seq, 1001)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("upcasts events of older versions, says so, and snapshots the result", () =>
    Effect.gen(function* () {
      yield* history("Counter/a", [
        stored("Plus", { amount: 2 }, 1),
        stored("Added", { amount: 3 }, 2),
        stored("Added", { n: 4 }, 3)
      ])
      let seen: Behavior.Recovery | undefined
      const Newer = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        upcasts: [
          (event) => ({ ...event, _tag: "Added" }),
          ({ _tag, amount }) => ({ _tag, n: amount })
        ],
        snapshot: { state: State, every: 100 },
        start: (_, __, recovery) =>
          Effect.sync(() => {
            seen = recovery
          })
      })
      const counter = yield* Actor.spawn(Newer, "a")
      assert.strictEqual(yield* counter.ask.Get(), 9)
      assert.deepStrictEqual(seen, {
        generation: 1,
        last: 3,
        replayed: 3,
        upcasted: 2,
        snapshot: 0,
        unreadableSnapshots: []
      })
      const journal = yield* Journal
      assert.isTrue(Option.isSome(yield* journal.loadSnapshot("Counter/a")))
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  for (const [what, event] of [
    ["of a newer version", stored("Added", { n: 1 }, 9)],
    ["of an unknown type", stored("Subtracted", { n: 1 })],
    ["that its schema refuses", stored("Added", { n: "one" })],
    ["that is no JSON", { ...stored("Added", {}), body: "{" }],
    ["that cannot be evolved", stored("Broken", { how: "evolve" })]
  ] as const) {
    it.effect(`an event ${what} is named, and nothing is changed`, () =>
      Effect.gen(function* () {
        yield* history("Counter/a", [stored("Added", { n: 1 }), event])
        const error = yield* Effect.flip(Actor.spawn(Counter, "a"))
        assert.deepInclude(error, { _tag: "HistoryRefused", actor: "Counter/a", seq: 2 })
        assert.strictEqual((yield* eventsOf("Counter/a")).length, 2)
      }).pipe(Effect.provide(Journal.layerMemory))
    )
  }

  it.effect("reconciles after recovery and before the first message, and then starts", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const Reconciling = Behavior.make("Counter", {
        ...spec,
        decide: {
          ...decide,
          Get: (state) => {
            order.push(`message ${state.sum}`)
            return Decision.reply(state.sum)
          }
        },
        evolve,
        react: { Added: (event) => Effect.sync(() => order.push(`effect of ${event.n}`)) },
        reconcile: (state, { generation }) => {
          order.push(`reconcile ${generation} at ${state.sum}`)
          return Decision.persist({ _tag: "Added" as const, n: 100 })
        },
        start: (state) => Effect.sync(() => order.push(`start at ${state.sum}`))
      })
      yield* history("Counter/a", [stored("Added", { n: 1 })])
      const counter = yield* Actor.spawn(Reconciling, "a")
      yield* counter.ask.Get()
      assert.deepStrictEqual(order, [
        "reconcile 1 at 1",
        "effect of 100",
        "start at 101",
        "message 101"
      ])
      assert.strictEqual((yield* eventsOf("Counter/a")).length, 2)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("no more histories are read at once than allowed", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      let reading = 0
      let most = 0
      const slow = Journal.of({
        ...journal,
        claim: (actor) =>
          Effect.suspend(() => {
            most = Math.max(most, ++reading)
            return Effect.andThen(Effect.sleep("1 second"), journal.claim(actor))
          }).pipe(Effect.ensuring(Effect.sync(() => reading--)))
      })
      const spawning = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, index) => `${index}`),
        (id) => Actor.spawn(Counter, id),
        { concurrency: "unbounded" }
      ).pipe(
        Effect.provideService(Journal, slow),
        Effect.provideService(MaxRecoveries, 5),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(spawning)
      assert.strictEqual(most, 5)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("a passive actor holds no state and recovers with the next message", () =>
    Effect.gen(function* () {
      const generations: Array<number> = []
      let released = 0
      const Sleepy = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        passivateAfter: "1 minute",
        start: (_, __, { generation }) =>
          Effect.acquireRelease(
            Effect.sync(() => generations.push(generation)),
            () => Effect.sync(() => released++)
          )
      })
      const counter = yield* Actor.spawn(Sleepy, "a")
      yield* counter.ask.Add({ n: 5 })
      yield* TestClock.adjust("59 seconds")
      yield* counter.ask.Add({ n: 1 })
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(released, 0, "a message puts it off")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(released, 1)
      assert.strictEqual((yield* counter.state).sum, 6, "read from the journal")
      assert.deepStrictEqual(generations, [1], "which does not wake it")
      assert.strictEqual(yield* counter.ask.Get(), 6)
      assert.deepStrictEqual(generations, [1, 2])
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* counter.stop, { reason: "stopped" })
      assert.strictEqual(released, generations.length)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("an actor needs one recovery only for all messages that come meanwhile", () =>
    Effect.gen(function* () {
      const Pausing = Behavior.make("Counter", { ...spec, decide, evolve, passivateAfter: 10 })
      const counter = yield* Actor.spawn(Pausing, "a")
      yield* TestClock.adjust(10)
      const sums = yield* Effect.forEach([1, 2, 3], (n) => counter.ask.Add({ n }), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(sums, [1, 3, 6])
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

const Ping = Rpc.make("Ping", { success: Schema.String })
const Pinged = Schema.TaggedStruct("Pinged", { at: Schema.Finite })

it.effect("decide is told the time and the name of its actor", () =>
  Effect.gen(function* () {
    const Clocked = Behavior.make("Clocked", {
      commands: [Ping],
      events: Pinged,
      initial: { at: 0 },
      decide: {
        Ping: (_, __, { id, now }) =>
          Decision.persist(Pinged.make({ at: now })).pipe(
            Decision.thenReply((state: { at: number }) => `${id} at ${state.at}`)
          )
      },
      evolve: { Pinged: (_, { at }) => ({ at }) }
    })
    yield* TestClock.adjust("90 seconds")
    const clocked = yield* Actor.spawn(Clocked, "c")
    assert.strictEqual(yield* clocked.ask.Ping(), "c at 90000")
  }).pipe(Effect.provide(Journal.layerMemory))
)

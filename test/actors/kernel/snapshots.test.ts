/**
 * Goal: an actor starts from the newest snapshot that can be read, and one that cannot is reported
 * and never keeps an intact history from being recovered.
 * Method: histories and snapshots written by hand into a journal in memory; the journal reports the
 * snapshots of chosen events as damaged.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import { LONG_RECOVERY_EVENTS } from "../../../src/actors/kernel/internal/snapshots.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { CorruptRecord } from "../../../src/schema/JournalRecord.ts"
import { decide, evolve, react, spec, State } from "./counter.ts"
import { settle } from "./journals.ts"

const actor = "Counter/a"

type Policy = Behavior.SnapshotPolicy<State, unknown>

/** A counter that keeps the report of its last recovery. */
const counterWith = (snapshot: Policy | undefined) => {
  const seen: { recovery?: Behavior.Recovery } = {}
  const start = (_: State, __: unknown, recovery: Behavior.Recovery) =>
    Effect.sync(() => {
      seen.recovery = recovery
    })
  const policy = snapshot === undefined ? {} : { snapshot }
  const behavior = Behavior.make("Counter", { ...spec, decide, evolve, react, start, ...policy })
  return { behavior, seen }
}

interface Written {
  readonly events: number
  /** The event of each snapshot, its version, and its body if that is not the counter's state. */
  readonly snapshots: ReadonlyArray<
    readonly [seq: number, version: number, body?: object | undefined]
  >
  readonly deletedTo?: number
}

/** Writes a history of ones: the state after event n is the sum n. */
const write = Effect.fnUntraced(function* ({ deletedTo = 0, events, snapshots }: Written) {
  const journal = yield* Journal
  const claim = yield* journal.claim(actor)
  const added = { type: "Added", version: 1, body: '{"_tag":"Added","n":1}', at: 0, tags: [] }
  const { writer } = claim
  const all = Array.from({ length: events }, () => added)
  yield* journal.append({ actor, writer, expected: 0, events: all })
  for (const [seq, version, body] of snapshots) {
    const text = JSON.stringify(body ?? { ...spec.initial, sum: seq })
    yield* journal.saveSnapshot(claim, { actor, seq, version, body: text, at: 0 })
  }
  yield* journal.prune(claim, { eventsTo: deletedTo })
})

/** A journal in memory that reports the snapshots of these events as damaged. */
const damagedAt = (...damaged: ReadonlyArray<number>) =>
  Layer.effect(
    Journal,
    Effect.map(Journal, (journal) =>
      Journal.of({
        ...journal,
        loadSnapshot: (actor, atMost) =>
          Effect.tap(journal.loadSnapshot(actor, atMost), (found) =>
            Option.isSome(found) && damaged.includes(found.value.seq)
              ? new CorruptRecord({
                  actor,
                  seq: found.value.seq,
                  kind: "snapshot",
                  file: "memory",
                  detail: "wrong checksum"
                })
              : Effect.void
          )
      })
    )
  ).pipe(Layer.provide(Layer.fresh(Journal.layerMemory)))

/** Collects what is logged, as text. */
const logging = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel} ${String(message)}`)
  })
  return { lines, layer: Logger.layer([logger]) }
}

const sumOf = Effect.fnUntraced(function* (behavior: ReturnType<typeof counterWith>["behavior"]) {
  const counter = yield* Actor.spawn(behavior, "a")
  return yield* counter.ask.Get()
})

describe("a damaged snapshot", () => {
  it.effect("J3: the next older snapshot is used, and the recovery and the log say so", () => {
    const { layer, lines } = logging()
    return Effect.gen(function* () {
      yield* write({
        events: 9,
        snapshots: [
          [2, 1],
          [5, 1],
          [8, 1]
        ]
      })
      const { behavior, seen } = counterWith({ state: State })
      assert.strictEqual(yield* sumOf(behavior), 9)
      assert.deepInclude(seen.recovery, { snapshot: 5, replayed: 4, unreadableSnapshots: [8] })
      assert.strictEqual(lines.length, 1)
      assert.include(lines[0], "Warn")
      assert.include(lines[0], `snapshot 8 of ${actor} is damaged: wrong checksum`)
    }).pipe(Effect.scoped, Effect.provide([damagedAt(8), layer]))
  })

  it.effect("J3: without a readable snapshot, all events are replayed", () =>
    Effect.gen(function* () {
      yield* write({
        events: 9,
        snapshots: [
          [2, 1],
          [5, 1],
          [8, 1]
        ]
      })
      const { behavior, seen } = counterWith({ state: State })
      assert.strictEqual(yield* sumOf(behavior), 9)
      const unreadableSnapshots = [8, 5, 2]
      assert.deepInclude(seen.recovery, { snapshot: 0, replayed: 9, unreadableSnapshots })
    }).pipe(Effect.scoped, Effect.provide(damagedAt(2, 5, 8)))
  )

  it.effect("J3: is followed by a new one at once, so that the next start is short", () =>
    Effect.gen(function* () {
      yield* write({
        events: 9,
        snapshots: [
          [2, 1],
          [8, 1]
        ]
      })
      const { behavior, seen } = counterWith({ state: State })
      yield* Effect.scoped(sumOf(behavior))
      assert.strictEqual(yield* Effect.scoped(sumOf(behavior)), 9)
      assert.deepInclude(seen.recovery, { snapshot: 9, replayed: 0, unreadableSnapshots: [] })
    }).pipe(Effect.provide(damagedAt(8)))
  )

  it.effect("J3: is named when the events that it stands for are deleted", () =>
    Effect.gen(function* () {
      yield* write({ events: 9, snapshots: [[8, 1]], deletedTo: 8 })
      const error = yield* Effect.flip(sumOf(counterWith({ state: State }).behavior))
      assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "snapshot", seq: 8 })
      assert.include(error.message, "wrong checksum; the events up to 8 are deleted")
      assert.include(error.message, "restore the journal from a backup")
    }).pipe(Effect.scoped, Effect.provide(damagedAt(8)))
  )

  it.effect("J3: a history that ends with it is not taken for an empty one", () =>
    Effect.gen(function* () {
      yield* write({ events: 8, snapshots: [[8, 1]], deletedTo: 8 })
      const error = yield* Effect.flip(sumOf(counterWith({ state: State }).behavior))
      assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "snapshot", seq: 8 })
    }).pipe(Effect.scoped, Effect.provide(damagedAt(8)))
  )

  it.effect("J3: a damaged event behind it is still named as what it is", () =>
    Effect.gen(function* () {
      yield* write({
        events: 9,
        snapshots: [
          [5, 1],
          [8, 1]
        ]
      })
      const journal = yield* Journal
      const { last, writer } = yield* journal.claim(actor)
      const events = [{ type: "Added", version: 1, body: "{", at: 0, tags: [] }]
      yield* journal.append({ actor, writer, expected: last, events })
      const error = yield* Effect.flip(sumOf(counterWith({ state: State }).behavior))
      assert.deepInclude({ ...error }, { _tag: "HistoryRefused", seq: 10, type: "Added" })
    }).pipe(Effect.scoped, Effect.provide(damagedAt(8)))
  )

  it.effect("J3: a snapshot ahead of the stored events is reported, not passed over", () =>
    Effect.gen(function* () {
      yield* write({ events: 9, snapshots: [[3, 1]] })
      const journal = yield* Journal
      const body = JSON.stringify({ ...spec.initial, sum: 12 })
      const ahead = Journal.of({
        ...journal,
        loadSnapshot: () => Effect.succeedSome({ actor, seq: 12, version: 1, body, at: 0 })
      })
      const { behavior } = counterWith({ state: State })
      const error = yield* Effect.flip(Effect.provideService(sumOf(behavior), Journal, ahead))
      assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "snapshot", seq: 12 })
      assert.include(error.message, "the history ends before it, with 9")
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )

  it.effect("J3: a store that cannot be read at all is no damaged snapshot", () =>
    Effect.gen(function* () {
      yield* write({ events: 9, snapshots: [[8, 1]] })
      const journal = yield* Journal
      const other = new CorruptRecord({ actor, seq: 3, kind: "event", file: "", detail: "" })
      const broken = Journal.of({ ...journal, loadSnapshot: () => Effect.fail(other) })
      const { behavior } = counterWith({ state: State })
      const error = yield* Effect.flip(Effect.provideService(sumOf(behavior), Journal, broken))
      assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "event" })
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )

  it.effect("J3: a store that names the same snapshot for ever does not hold up recovery", () =>
    Effect.gen(function* () {
      yield* write({ events: 9, snapshots: [[8, 1]] })
      const journal = yield* Journal
      const same = new CorruptRecord({ actor, seq: 8, kind: "snapshot", file: "", detail: "" })
      const broken = Journal.of({ ...journal, loadSnapshot: () => Effect.fail(same) })
      const { behavior, seen } = counterWith({ state: State })
      assert.strictEqual(yield* Effect.provideService(sumOf(behavior), Journal, broken), 9)
      assert.deepStrictEqual(seen.recovery?.unreadableSnapshots, [8, 8])
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )
})

describe("a snapshot of another version", () => {
  const two: Behavior.Upcast = ({ total, ...rest }) => ({ ...rest, count: total })
  const three: Behavior.Upcast = ({ count, ...rest }) => ({ ...rest, sum: count })
  const first = { ...spec.initial, sum: undefined, total: 8 }
  const second = { ...spec.initial, sum: undefined, count: 8 }

  for (const [version, body] of [
    [1, first],
    [2, second],
    [3, undefined]
  ] as const) {
    it.effect(`J4: of version ${version} is upcast to version 3, its events are deleted`, () =>
      Effect.gen(function* () {
        yield* write({ events: 9, snapshots: [[8, version, body]], deletedTo: 8 })
        const { behavior, seen } = counterWith({ state: State, upcasts: [two, three] })
        assert.strictEqual(yield* sumOf(behavior), 9)
        assert.deepInclude(seen.recovery, { snapshot: 8, replayed: 1, unreadableSnapshots: [] })
      }).pipe(Effect.scoped, Effect.provide(damagedAt()))
    )
  }

  it.effect("J4: new snapshots have the version that the upcasts lead to", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const upcasts = [two, three]
      const { behavior } = counterWith({ state: State, when: () => true, upcasts })
      const counter = yield* Actor.spawn(behavior, "a")
      yield* counter.ask.Add({ n: 7 })
      assert.strictEqual(Option.getOrThrow(yield* journal.loadSnapshot(actor)).version, 3)
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )

  it.effect("J4: with a version of its own, the upcasts are its last steps", () =>
    Effect.gen(function* () {
      yield* write({
        events: 9,
        snapshots: [
          [3, 1],
          [8, 2, second]
        ],
        deletedTo: 8
      })
      const { behavior } = counterWith({ state: State, version: 3, upcasts: [three] })
      assert.strictEqual(yield* sumOf(behavior), 9)
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )

  for (const [which, version, advice] of [
    ["an older", 1, "add the steps from version 1 to `snapshot.upcasts`"],
    ["a newer", 4, "start the version of the program that stored it"]
  ] as const) {
    it.effect(`J4: ${which} one, its events deleted, is refused with what to do`, () =>
      Effect.gen(function* () {
        yield* write({ events: 9, snapshots: [[8, version, first]], deletedTo: 8 })
        const { behavior } = counterWith({ state: State, version: 3, upcasts: [three] })
        const error = yield* Effect.flip(sumOf(behavior))
        assert.deepInclude(
          { ...error },
          { _tag: "HistoryRefused", type: "snapshot", version, seq: 8 }
        )
        assert.include(error.message, "this behavior reads snapshots of versions 2 to 3")
        assert.include(error.message, "the events up to 8 are deleted")
        assert.include(error.message, advice)
      }).pipe(Effect.scoped, Effect.provide(damagedAt()))
    )

    it.effect(`J4: ${which} one is passed over while its events are there`, () =>
      Effect.gen(function* () {
        yield* write({
          events: 9,
          snapshots: [
            [4, 3],
            [8, version, first]
          ]
        })
        const { behavior, seen } = counterWith({ state: State, version: 3, upcasts: [three] })
        assert.strictEqual(yield* sumOf(behavior), 9)
        assert.deepInclude(seen.recovery, { snapshot: 4, unreadableSnapshots: [8] })
      }).pipe(Effect.scoped, Effect.provide(damagedAt()))
    )
  }

  it.effect("J4: one that its schema refuses, its events deleted, is refused with what to do", () =>
    Effect.gen(function* () {
      yield* write({ events: 9, snapshots: [[8, 2, { sum: "eight" }]], deletedTo: 8 })
      const { behavior } = counterWith({ state: State, version: 3, upcasts: [three] })
      const error = yield* Effect.flip(sumOf(behavior))
      assert.deepInclude({ ...error }, { _tag: "HistoryRefused", type: "snapshot", seq: 8 })
      assert.include(error.message, "let `snapshot.state` or its upcasts accept what was stored")
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )

  it.effect("J4: an upcast that throws is a snapshot that cannot be read", () =>
    Effect.gen(function* () {
      yield* write({ events: 9, snapshots: [[8, 1]] })
      const broken = (): never => {
        throw new Error("no such field")
      }
      const { behavior, seen } = counterWith({ state: State, upcasts: [broken] })
      assert.strictEqual(yield* sumOf(behavior), 9)
      assert.deepInclude(seen.recovery, { snapshot: 0, unreadableSnapshots: [8] })
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )

  it("J4: more upcasts than versions are refused where the behavior is declared", () => {
    const declare = () => counterWith({ state: State, version: 1, upcasts: [two] })
    assert.throws(declare, /snapshot version 1 has 1 upcasts/)
  })
})

it.effect("J4: a behavior without snapshots says that deleted events need one", () =>
  Effect.gen(function* () {
    yield* write({ events: 9, snapshots: [[8, 1]], deletedTo: 8 })
    const error = yield* Effect.flip(sumOf(counterWith(undefined).behavior))
    assert.deepInclude({ ...error }, { _tag: "CorruptRecord", kind: "event", seq: 1 })
    assert.include(error.message, "the history goes on with 9, and no snapshot stands for")
  }).pipe(Effect.scoped, Effect.provide(damagedAt()))
)

it.effect("a long history is recovered by a behavior without snapshots", () =>
  Effect.gen(function* () {
    yield* write({ events: LONG_RECOVERY_EVENTS + 1, snapshots: [] })
    const { behavior } = counterWith(undefined)
    assert.strictEqual(yield* sumOf(behavior), LONG_RECOVERY_EVENTS + 1)
  }).pipe(Effect.scoped, Effect.provide(damagedAt()))
)

/** Adds ones to a new generation of a counter; waits after each until its snapshot is stored. */
const addEach = Effect.fnUntraced(function* (
  behavior: ReturnType<typeof counterWith>["behavior"],
  ones: number
) {
  const counter = yield* Actor.spawn(behavior, "a")
  for (let n = 0; n < ones; n++) {
    yield* counter.ask.Add({ n: 1 })
    yield* settle
  }
})

/** The events of the stored snapshots, the newest one first. */
const snapshotsIn = Effect.fnUntraced(function* (journal: Journal["Service"]) {
  const found: Array<number> = []
  let atMost = Number.MAX_SAFE_INTEGER
  for (;;) {
    const snapshot = yield* journal.loadSnapshot(actor, atMost)
    if (Option.isNone(snapshot)) return found
    found.push(snapshot.value.seq)
    atMost = snapshot.value.seq - 1
  }
})

describe("the snapshots that are kept", () => {
  it.effect("B13: are as many after a restart as before, and are looked for once", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const loaded: Array<number | undefined> = []
      const observed = Journal.of({
        ...journal,
        loadSnapshot: (actor, atMost) => {
          loaded.push(atMost)
          return journal.loadSnapshot(actor, atMost)
        }
      })
      const { behavior } = counterWith({ state: State, every: 1, keep: 4, deleteEvents: true })
      const live = (ones: number) =>
        Effect.provideService(Effect.scoped(addEach(behavior, ones)), Journal, observed)
      yield* live(5)
      for (const [ones, kept] of [
        [1, [6, 5, 4, 3]],
        [2, [8, 7, 6, 5]]
      ] as const) {
        loaded.length = 0
        yield* live(ones)
        assert.deepStrictEqual<ReadonlyArray<number>>(yield* snapshotsIn(journal), kept)
        assert.strictEqual(loaded.length, 3, "the newest one, and two before it")
      }
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("end before one that is damaged", () =>
    Effect.gen(function* () {
      const snapshots = [
        [2, 1],
        [4, 1]
      ] as const
      yield* write({ events: 6, snapshots })
      yield* addEach(counterWith({ state: State, every: 2, keep: 3 }).behavior, 1)
      assert.deepStrictEqual(yield* snapshotsIn(yield* Journal), [7, 4])
    }).pipe(Effect.scoped, Effect.provide(damagedAt(2)))
  )

  it.effect("are all, and no more is looked for in a store that answers with the same one", () =>
    Effect.gen(function* () {
      yield* write({ events: 6, snapshots: [[4, 1]] })
      const journal = yield* Journal
      const same = yield* journal.loadSnapshot(actor)
      const pruned: Array<number | undefined> = []
      const broken = Journal.of({
        ...journal,
        loadSnapshot: () => Effect.succeed(same),
        prune: (_, { snapshotsBefore }) => Effect.sync(() => void pruned.push(snapshotsBefore))
      })
      const { behavior } = counterWith({ state: State, every: 2, keep: Infinity })
      yield* Effect.provideService(addEach(behavior, 1), Journal, broken)
      assert.deepStrictEqual(pruned, [4])
    }).pipe(Effect.scoped, Effect.provide(damagedAt()))
  )
})

/**
 * Goal: every journal of this library keeps the published contract, and the contract notices a
 * journal that does not.
 * Method: each demand runs on a fresh journal of each kind; then on journals in memory with one
 * planted defect each, where at least one demand must fail.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { makeMemory } from "../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"
import { Fenced, type JournalUnavailable } from "../../src/schema/JournalRecord.ts"
import { agreement, cases } from "../../src/testing/JournalContract.ts"
import { memoryPlace } from "../fixtures/memoryPlace.ts"

const directory = mkdtempSync(join(memoryPlace, "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)

const kinds: Record<string, () => Layer.Layer<Journal, JournalUnavailable>> = {
  memory: () => Journal.layerMemory,
  SQLite: () => Journal.layerSqlite({ file: freshFile() }),
  "SQLite with the smallest limits": () =>
    Journal.layerSqlite({
      file: freshFile(),
      queueAppends: 1,
      queueBytes: 1,
      replayEvents: 3,
      replayBytes: 1,
      cachedActors: 1,
      cacheBytes: 4096,
      unindexedEvents: 2
    })
}

for (const [kind, layer] of Object.entries(kinds)) {
  describe(`a journal in ${kind}`, () => {
    for (const { name, test } of cases) {
      it.live(name, () => Effect.provide(test, layer()))
    }
  })
}

describe("a journal that outlives its layer", () => {
  const smallest = { replayEvents: 3, replayBytes: 1, cachedActors: 1, unindexedEvents: 2 }
  for (const [kind, settings] of [
    ["the usual limits", {}],
    ["the smallest limits", smallest]
  ] as const) {
    // One seed is new in each run; a failure names it.
    for (const [index, seed] of [1, 2, 3, 4, 5, Date.now()].entries()) {
      const name = index < 5 ? `seed ${seed}` : "a new seed"
      it.live(`has the answers of a journal in memory, with ${kind}, ${name}`, () => {
        const journal = Journal.layerSqlite({ file: freshFile(), ...settings })
        return agreement({ seed, journal, outlivesLayer: true })
      })
    }
  }

  it.live("must be one: a journal in memory that is built again is noticed", () =>
    Effect.gen(function* () {
      const journal = Journal.layerMemory
      const error = yield* Effect.flip(agreement({ seed: 1, journal, outlivesLayer: true }))
      assert.match(String(error), /seed 1, operation \d+/)
    })
  )
})

const defects: Record<string, (store: Store) => Partial<Store>> = {
  "no writer is fenced": (store) => ({
    append: (append) =>
      Effect.catchTag(store.append(append), "Fenced", ({ by }) =>
        store.append({ ...append, writer: by })
      )
  }),
  "an append is checked first and stored later": (store) => ({
    append: (append) =>
      store.append({ ...append, events: [] }).pipe(
        Effect.andThen(Effect.yieldNow),
        Effect.andThen(store.append(append)),
        Effect.catchTag("Fenced", ({ by, writer }) =>
          writer === append.writer ? store.append({ ...append, writer: by }) : Effect.void
        )
      )
  }),
  "a stranger may write": (store) => ({
    append: (append) =>
      Effect.catchIf(
        store.append(append),
        (error) => error instanceof Fenced && error.by === 0,
        () => Effect.void
      )
  }),
  "the second event of an append is lost": (store) => ({
    append: (append) => store.append({ ...append, events: append.events.slice(0, 1) })
  }),
  "an append is stored in two steps": (store) => ({
    append: ({ events, ...append }) =>
      Effect.forEach(
        events,
        (event, index) =>
          Effect.andThen(
            Effect.yieldNow,
            store.append({ ...append, expected: append.expected + index, events: [event] })
          ),
        { discard: true }
      )
  }),
  "the expected place is not checked": (store) => ({
    append: (append) =>
      Effect.catchTag(store.append(append), "SequenceConflict", ({ actual }) =>
        store.append({ ...append, expected: actual })
      )
  }),
  "a refusal does not name the place": (store) => ({
    append: (append) =>
      Effect.mapError(store.append(append), (error) =>
        error._tag === "SequenceConflict" ? Object.assign(error, { actual: 0 }) : error
      )
  }),
  "a claim forgets the last event": (store) => ({
    claim: (actor) => Effect.map(store.claim(actor), (claim) => ({ ...claim, last: 0 }))
  }),
  "names are compared without case": (store) => ({
    claim: (actor) => store.claim(actor.toLowerCase()),
    append: (append) => store.append({ ...append, actor: append.actor.toLowerCase() }),
    read: (actor, from) => store.read(actor.toLowerCase(), from)
  }),
  "a text ends at a zero byte": (store) => ({
    append: (append) =>
      store.append({
        ...append,
        events: append.events.map((event) => ({ ...event, body: event.body.split("\0")[0]! }))
      })
  }),
  "a lone surrogate is replaced": (store) => ({
    append: (append) =>
      store.append({
        ...append,
        events: append.events.map(({ at, body, tags, type, version }) => ({
          type: type.toWellFormed(),
          version,
          body: body.toWellFormed(),
          at,
          tags: tags.map((tag) => tag.toWellFormed())
        }))
      })
  }),
  "names that differ in lone surrogates are one": (store) => ({
    claim: (actor) => store.claim(actor.toWellFormed())
  }),
  "a time that is no number becomes 0": (store) => ({
    append: (append) =>
      store.append({
        ...append,
        events: append.events.map((event) => Object.assign({}, event, { at: event.at || 0 }))
      })
  }),
  "times are whole numbers": (store) => ({
    append: (append) =>
      store.append({
        ...append,
        events: append.events.map((event) => ({ ...event, at: Math.trunc(event.at) }))
      })
  }),
  "read starts one too late": (store) => ({
    read: (actor, from = 1) => store.read(actor, from + 1)
  }),
  "read starts one too early": (store) => ({
    read: (actor, from = 1) => store.read(actor, from - 1)
  }),
  "read loses an event between two batches": (store) => ({
    read: (actor, from) => Stream.filter(store.read(actor, from), ({ seq }) => seq !== 1001)
  }),
  "read waits for the writer": (store) => ({
    read: (actor, from = 1) =>
      Stream.paginate(from, (next) =>
        Effect.map(Stream.runCollect(store.read(actor, next)), (events) => [
          events.slice(0, 100),
          Option.map(Option.fromUndefinedOr(events[99]), ({ seq }) => seq + 1)
        ])
      )
  }),
  "the oldest snapshot is found": (store) => ({
    loadSnapshot: (actor, atMost = 9) =>
      Effect.firstSuccessOf(
        Array.from({ length: atMost }, (_, index) =>
          Effect.filterOrFail(store.loadSnapshot(actor, index + 1), Option.isSome, () => "none")
        )
      ).pipe(Effect.orElseSucceed(() => Option.none()))
  }),
  "the limit of a snapshot is left out": (store) => ({
    loadSnapshot: (actor) => store.loadSnapshot(actor)
  }),
  "the limit of a snapshot is exclusive": (store) => ({
    loadSnapshot: (actor, atMost) =>
      store.loadSnapshot(actor, atMost === undefined ? undefined : atMost - 1)
  }),
  "a snapshot is never replaced": (store) => ({
    saveSnapshot: (claim, snapshot) =>
      Effect.flatMap(store.loadSnapshot(claim.actor, snapshot.seq), (found) =>
        Option.isSome(found) && found.value.seq === snapshot.seq
          ? Effect.void
          : store.saveSnapshot(claim, snapshot)
      )
  }),
  "deletion ends one too early": (store) => ({
    prune: (claim, limits) =>
      store.prune(claim, { ...limits, eventsTo: (limits.eventsTo ?? 0) - 1 })
  }),
  "deletion takes one too many": (store) => ({
    prune: (claim, limits) =>
      store.prune(claim, limits.eventsTo ? { ...limits, eventsTo: limits.eventsTo + 1 } : limits)
  }),
  "deletion takes the named snapshot too": (store) => ({
    prune: (claim, { snapshotsBefore = 0, ...limits }) =>
      store.prune(claim, { ...limits, snapshotsBefore: snapshotsBefore + 1 })
  }),
  "tags come in the order of actors": (store) => ({
    tagged: (tag, after) =>
      Stream.fromIterableEffect(
        Effect.map(Stream.runCollect(store.tagged(tag, after)), (events) =>
          events.toSorted((one, other) => one.actor.localeCompare(other.actor))
        )
      )
  }),
  "tags are compared by their beginning": (store) => ({
    tagged: (tag, after) => store.tagged(tag.trim(), after)
  }),
  "an offset is inclusive": (store) => ({
    tagged: (tag, after = 0) => store.tagged(tag, after - 1)
  }),
  "an offset is left out": (store) => ({ tagged: (tag) => store.tagged(tag) }),
  "a reader behind deleted events gets what is left": (store) => ({
    tagged: (tag, after) =>
      Stream.catchTag(store.tagged(tag, after), "EventsPruned", ({ prunedTo }) =>
        store.tagged(tag, prunedTo)
      )
  }),
  "a reader behind deleted events is not told where it may begin": (store) => ({
    tagged: (tag, after) =>
      Stream.mapError(store.tagged(tag, after), (error) =>
        error._tag === "EventsPruned" ? Object.assign(error, { prunedTo: 0 }) : error
      )
  }),
  "deletion waits for no projection": (store) => ({
    prune: (claim, limits) =>
      Effect.gen(function* () {
        const projection = { name: "large", tag: "t" }
        const position = yield* store.register(projection)
        yield* store.unregister(projection)
        yield* store.prune(claim, limits)
        yield* store.register(projection)
        yield* store.acknowledge(projection, position)
      })
  }),
  "a projection begins again when it is registered again": (store) => ({
    register: (projection) =>
      Effect.andThen(store.unregister(projection), store.register(projection))
  }),
  "a projection without a name is not registered": (store) => ({
    register: (projection) =>
      projection.name === "" ? Effect.succeed(1) : store.register(projection)
  }),
  "a projection is known by its name alone": (store) => ({
    register: ({ name }) => store.register({ name, tag: "t" })
  }),
  "a position goes back": (store) => ({
    acknowledge: (projection, offset) =>
      store
        .unregister(projection)
        .pipe(
          Effect.andThen(store.register(projection)),
          Effect.andThen(store.acknowledge(projection, offset))
        )
  }),
  "a position is not stored": (store) => ({
    acknowledge: (projection) => store.acknowledge(projection, 0)
  }),
  "an unknown projection may acknowledge": (store) => ({
    acknowledge: (projection, offset) =>
      Effect.andThen(store.register(projection), store.acknowledge(projection, offset))
  }),
  "a projection is never forgotten": () => ({ unregister: () => Effect.void })
}

describe("the contract notices that", () => {
  for (const [defect, plant] of Object.entries(defects)) {
    it.live(defect, () =>
      Effect.gen(function* () {
        const caught = []
        for (const { name, test } of cases) {
          const store = makeMemory()
          const journal = Layer.succeed(Journal, { ...store, ...plant(store) })
          const exit = yield* Effect.exit(
            Effect.timeout(Effect.provide(test, journal), "5 seconds")
          )
          if (exit._tag === "Failure") caught.push(name)
        }
        assert.isAbove(caught.length, 0, "no demand failed")
      })
    )
  }
})

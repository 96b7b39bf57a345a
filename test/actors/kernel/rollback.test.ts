/**
 * Goal: a refused decision leaves nothing in its batch, and a batch keeps what the batches before
 * it have asked of the append that they share.
 * Method: events written behind, on a journal that tests hold up.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { fork, makeHeld, settle } from "./journals.ts"

const Note = Rpc.make("Note", { success: Schema.Int })
const Overpromise = Rpc.make("Overpromise")
const Noted = Schema.TaggedStruct("Noted", {})
const Promised = Schema.TaggedStruct("Promised", { n: Schema.Int })

interface State {
  readonly notes: number
}

/** Notes are written behind; a promise is not, and the second one cannot be encoded. */
const Notebook = Behavior.make("Notebook", {
  commands: [Note, Overpromise],
  events: Schema.Union([Noted, Promised]),
  initial: { notes: 0 } as State,
  writtenBehind: ["Noted"],
  onDefect: "refuse",
  snapshot: {
    state: Schema.Struct({ notes: Schema.Int }),
    when: ({ notes }, { _tag }) => notes === 2 || _tag === "Promised"
  },
  decide: {
    Note: () =>
      Decision.persist(Noted.make({})).pipe(Decision.thenReply((state: State) => state.notes)),
    Overpromise: () =>
      Decision.persist(Promised.make({ n: 1 }), { ...Promised.make({ n: 1 }), n: 0.5 })
  },
  evolve: {
    Noted: ({ notes }) => ({ notes: notes + 1 }),
    Promised: ({ notes }) => ({ notes: notes + 100 })
  }
})

const make = Effect.fnUntraced(function* () {
  const held = makeHeld()
  const notebook = yield* Effect.provideService(Actor.spawn(Notebook, "a"), Journal, held.journal)
  held.latch.closeUnsafe()
  return { ...held, notebook }
})

describe("a decision that is refused", () => {
  it.effect("does not let the replies of its batch wait for a promise that it made", () =>
    Effect.gen(function* () {
      const { appends, latch, notebook } = yield* make()
      yield* notebook.tell.Overpromise()
      const noting = yield* fork(notebook.ask.Note())
      yield* settle
      assert.strictEqual(appends.length, 1, "the event is on its way to the journal")
      assert.isDefined(noting.pollUnsafe(), "and the caller has not waited for it")
      assert.strictEqual(yield* Fiber.join(noting), 1)
      latch.openUnsafe()
      yield* settle
      const stored = appends.flatMap(({ events }) => events.map(({ type }) => type))
      assert.deepStrictEqual(stored, ["Noted"])
    })
  )

  it.effect("calls for no snapshot", () =>
    Effect.gen(function* () {
      const { latch, notebook, store } = yield* make()
      latch.openUnsafe()
      yield* notebook.tell.Overpromise()
      yield* notebook.ask.Note()
      yield* settle
      assert.isTrue(Option.isNone(yield* store.loadSnapshot("Notebook/a")))
    })
  )
})

describe("batches that wait for one append", () => {
  it.effect("store a snapshot that only an earlier one of them has called for", () =>
    Effect.gen(function* () {
      const { appends, latch, notebook, store } = yield* make()
      for (const count of [1, 2, 3]) assert.strictEqual(yield* notebook.ask.Note(), count)
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual(
        appends.map(({ events }) => events.length),
        [1, 2]
      )
      const snapshot = Option.getOrThrow(yield* store.loadSnapshot("Notebook/a"))
      assert.strictEqual(snapshot.seq, 3)
    })
  )
})

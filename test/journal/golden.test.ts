/**
 * Goal: journals that earlier versions wrote are read for ever. Method: each journal in
 * `test/journal/golden` is copied, opened and replayed by today's code, and gives the state that
 * was noted when it was written; a change that would break them is planted, and is refused by name.
 */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../src/actors/kernel/Decision.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { Ledger, State, written } from "./golden/ledger.ts"

const golden = fileURLToPath(new URL("./golden/", import.meta.url))
const names = readdirSync(golden)
  .filter((file) => file.endsWith(".journal"))
  .map((file) => file.replace(/\.journal$/, ""))

/** Runs an effect on a copy of a golden journal. */
const onCopy = <A, E>(name: string, effect: Effect.Effect<A, E, Journal>) =>
  Effect.gen(function* () {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "handfast-golden-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
    )
    const file = join(directory, "copy.journal")
    copyFileSync(`${golden}${name}.journal`, file)
    return yield* Effect.provide(effect, Journal.layerSqlite({ file }))
  }).pipe(Effect.scoped)

/** Without snapshots, so that every event is replayed. */
const eventsOnly = { ...Ledger, definition: { ...Ledger.definition, snapshot: undefined } }

describe("golden journals", () => {
  it("are there", () => assert.include(names, "ledger-1"))

  for (const name of names) {
    const expected = readFileSync(`${golden}${name}.json`, "utf8").trimEnd()

    for (const [how, behavior] of [
      ["from its snapshot", Ledger],
      ["from all its events", eventsOnly]
    ] as const) {
      it.live(`${name} is read ${how}`, () =>
        Effect.gen(function* () {
          const ledger = yield* Actor.spawn(behavior, "golden")
          assert.strictEqual(written(yield* ledger.state), expected)
          yield* ledger.ask.Book({ cents: 1n, on: new Date(0) })
        }).pipe(Effect.scoped, (effect) => onCopy(name, effect))
      )
    }

    it.live(`${name} is found by its tags`, () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const closed = yield* Stream.runCollect(journal.tagged("closed"))
        assert.deepStrictEqual(
          closed.map(({ actor, seq }) => [actor, seq]),
          [["Ledger/golden", 13]]
        )
      }).pipe((effect) => onCopy(name, effect))
    )
  }

  it.live("a planted change of an event's schema is seen", () =>
    Effect.gen(function* () {
      const Changed = Behavior.make("Ledger", {
        commands: [Rpc.make("Get")],
        events: Schema.TaggedStruct("Booked", { euros: Schema.BigInt }),
        initial: State.make({ cents: 0n, last: undefined, notes: [], closed: false }),
        decide: { Get: () => Decision.none },
        evolve: { Booked: (state) => state }
      })
      const error = yield* Effect.flip(Actor.spawn(Changed, "golden"))
      assert.deepInclude(error, { _tag: "HistoryRefused", seq: 1, type: "Booked", version: 1 })
    }).pipe(Effect.scoped, (effect) => onCopy("ledger-1", effect))
  )
})

/**
 * The behavior whose journals are kept here. Its events use what JSON does not know by itself, so
 * that a change of the encoding is seen. `node test/journal/golden/ledger.ts NAME` writes a new
 * journal of today's version; those that exist are never written again.
 */
import { existsSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"

const Book = Rpc.make("Book", {
  payload: { cents: Schema.BigInt, on: Schema.Date, note: Schema.optionalKey(Schema.String) }
})
const Close = Rpc.make("Close")

const Booked = Schema.TaggedStruct("Booked", {
  cents: Schema.BigInt,
  on: Schema.Date,
  note: Schema.optionalKey(Schema.String)
})
const Closed = Schema.TaggedStruct("Closed", {})

export const State = Schema.Struct({
  cents: Schema.BigInt,
  last: Schema.UndefinedOr(Schema.Date),
  notes: Schema.Array(Schema.String),
  closed: Schema.Boolean
})
type State = typeof State.Type

export const Ledger = Behavior.make("Ledger", {
  commands: [Book, Close],
  events: Schema.Union([Booked, Closed]),
  initial: { cents: 0n, last: undefined, notes: [], closed: false } as State,
  decide: {
    Book: (_, booking) => Decision.persist(Booked.make(booking)),
    Close: () => Decision.persist(Closed.make({}))
  },
  evolve: {
    Booked: (state, { cents, note, on }) => ({
      ...state,
      cents: state.cents + cents,
      last: on,
      notes: note === undefined ? state.notes : [...state.notes, note]
    }),
    Closed: (state) => ({ ...state, closed: true })
  },
  tags: (event) => (event._tag === "Closed" ? ["closed"] : []),
  snapshot: { state: State, every: 5 }
})

const json = Schema.toCodecJson(State)

/** The state as text, for the file beside a journal. */
export const written = (state: State): string => JSON.stringify(Schema.encodeSync(json)(state))

const write = Effect.gen(function* () {
  const ledger = yield* Actor.spawn(Ledger, "golden")
  for (let day = 1; day <= 12; day++) {
    const on = new Date(Date.UTC(2026, 10, day))
    const cents = BigInt(day) * 10n ** 15n - 7n
    const note = `day ${day}: "ä\u0000\n😀"`
    yield* ledger.ask.Book(day % 3 === 0 ? { cents, on, note } : { cents, on })
  }
  yield* ledger.ask.Close()
  return yield* ledger.state
})

if (import.meta.main) {
  const file = fileURLToPath(new URL(`${process.argv[2]}.journal`, import.meta.url))
  if (existsSync(file)) throw new Error(`${file} is there; a golden journal is never changed`)
  const layer = Journal.layerSqlite({ file })
  const state = await Effect.runPromise(write.pipe(Effect.scoped, Effect.provide(layer)))
  writeFileSync(file.replace(/journal$/, "json"), written(state) + "\n")
}

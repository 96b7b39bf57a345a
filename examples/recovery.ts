/** A history in a file, read by a newer version of the program that wrote it. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../src/actors/kernel/Actor.ts"
import * as Behavior from "../src/actors/kernel/Behavior.ts"
import * as Decision from "../src/actors/kernel/Decision.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"

const Sell = Rpc.make("Sell", { payload: { euros: Schema.Int } })

const Old = Behavior.make("Shop", {
  commands: [Sell],
  events: Schema.TaggedStruct("Sold", { euros: Schema.Int }),
  initial: { euros: 0 },
  decide: { Sell: (_, { euros }) => Decision.persist({ _tag: "Sold" as const, euros }) },
  evolve: { Sold: (shop, { euros }) => ({ euros: shop.euros + euros }) }
})

const New = Behavior.make("Shop", {
  commands: [Sell],
  events: Schema.TaggedStruct("Sold", { cents: Schema.Int }),
  initial: { cents: 0 },
  decide: {
    Sell: (_, { euros }) => Decision.persist({ _tag: "Sold" as const, cents: euros * 100 })
  },
  evolve: { Sold: (shop, { cents }) => ({ cents: shop.cents + cents }) },
  // From version 1 to version 2.
  upcasts: [({ _tag, euros }) => ({ _tag, cents: Number(euros) * 100 })],
  snapshot: { state: Schema.Struct({ cents: Schema.Int }), every: 100 },
  start: (_, __, { replayed, upcasted }) =>
    Console.log(`${replayed} events read, ${upcasted} of an older version`)
})

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
const journal = Journal.layerSqlite({ file: join(directory, "shop.journal") })

const yesterday = Effect.gen(function* () {
  const shop = yield* Actor.spawn(Old, "corner")
  yield* shop.ask.Sell({ euros: 3 })
  yield* shop.ask.Sell({ euros: 4 })
})

const today = Effect.gen(function* () {
  const shop = yield* Actor.spawn(New, "corner") // prints: 2 events read, 2 of an older version
  yield* Console.log(yield* shop.state) // { cents: 700 }
})

for (const day of [yesterday, today]) {
  await Effect.runPromise(day.pipe(Effect.scoped, Effect.provide(journal)))
}
rmSync(directory, { recursive: true })

/** A view over many actors: events carry tags, and a projection remembers how far it has read. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Actor from "../src/actors/kernel/Actor.ts"
import * as Behavior from "../src/actors/kernel/Behavior.ts"
import * as Decision from "../src/actors/kernel/Decision.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"

const Deposit = Rpc.make("Deposit", { payload: { cents: Schema.Int } })
const Deposited = Schema.TaggedStruct("Deposited", { cents: Schema.Int })

const Account = Behavior.make("Account", {
  commands: [Deposit],
  events: Deposited,
  initial: { cents: 0 },
  decide: { Deposit: (_, { cents }) => Decision.persist(Deposited.make({ cents })) },
  evolve: { Deposited: (account, { cents }) => ({ cents: account.cents + cents }) },
  tags: ({ cents }) => (cents >= 10_000 ? ["large"] : [])
})

/** Reads what is new since an offset, and answers with the offset to go on from. */
const largeDepositsSince = Effect.fnUntraced(function* (offset: number) {
  const journal = yield* Journal
  const found = yield* Stream.runCollect(journal.tagged("large", offset))
  yield* Console.log(found.map(({ actor, body }) => `${actor} ${JSON.parse(body).cents}`).join())
  return found.at(-1)?.offset ?? offset
})

const program = Effect.gen(function* () {
  const ann = yield* Actor.spawn(Account, "ann")
  const ben = yield* Actor.spawn(Account, "ben")
  yield* ann.ask.Deposit({ cents: 12_000 })
  yield* ben.ask.Deposit({ cents: 50 })
  const offset = yield* largeDepositsSince(0) // prints: Account/ann 12000
  yield* ben.ask.Deposit({ cents: 30_000 })
  yield* largeDepositsSince(offset) // prints: Account/ben 30000
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Journal.layerMemory)))

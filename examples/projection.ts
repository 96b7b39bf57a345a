/**
 * A view over many actors: events carry tags, and a projection reads them. It is registered, so the
 * journal stores how far it has come, and keeps the events that it has not seen.
 */
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
  tags: ({ cents }) => (cents >= 10_000 ? ["large"] : []),
  snapshot: { state: Schema.Struct({ cents: Schema.Int }), every: 1, keep: 1, deleteEvents: true }
})

const largeDeposits = { name: "report of large deposits", tag: "large" }

/** Reads what is new, and acknowledges it once it is dealt with: it may be deleted from then on. */
const report = Effect.gen(function* () {
  const journal = yield* Journal
  const position = yield* journal.register(largeDeposits)
  const found = yield* Stream.runCollect(journal.tagged(largeDeposits.tag, position))
  yield* Console.log(found.map(({ actor, body }) => `${actor} ${JSON.parse(body).cents}`).join())
  yield* journal.acknowledge(largeDeposits, found.at(-1)?.offset ?? position)
})

const program = Effect.gen(function* () {
  const journal = yield* Journal
  yield* journal.register(largeDeposits) // before the first event that must not be missed
  const ann = yield* Actor.spawn(Account, "ann")
  const ben = yield* Actor.spawn(Account, "ben")
  yield* ann.ask.Deposit({ cents: 12_000 })
  yield* ben.ask.Deposit({ cents: 50 })
  yield* report // prints: Account/ann 12000
  yield* ben.ask.Deposit({ cents: 30_000 })
  yield* report // prints: Account/ben 30000
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Journal.layerMemory)))

/** An actor of your own: it decides purely, and answers only after its events are stored. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../src/actors/kernel/Actor.ts"
import * as Behavior from "../src/actors/kernel/Behavior.ts"
import * as Decision from "../src/actors/kernel/Decision.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"

class AlreadyOpen extends Schema.TaggedError<AlreadyOpen>()("AlreadyOpen", { by: Schema.String }) {}
class Opened extends Schema.TaggedClass<Opened>()("Opened", { by: Schema.String }) {}

const Open = Rpc.make("Open", { payload: { by: Schema.String }, error: AlreadyOpen })

const Door = Behavior.make("Door", {
  commands: [Open],
  events: Opened,
  initial: { by: "" },
  decide: {
    Open: (door, { by }) =>
      door.by === ""
        ? Decision.persist(new Opened({ by }))
        : Decision.fail(new AlreadyOpen({ by: door.by }))
  },
  evolve: { Opened: (_, { by }) => ({ by }) }
})

const program = Effect.gen(function* () {
  const door = yield* Actor.spawn(Door, "front")
  yield* door.ask.Open({ by: "ann" })
  const refused = yield* Effect.flip(door.ask.Open({ by: "bob" }))
  yield* Console.log(refused._tag) // AlreadyOpen
  yield* Console.log((yield* door.state).by) // ann
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Journal.layerMemory)))

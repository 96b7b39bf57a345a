/** The same commands, asked from elsewhere: an actor behind Effect's RPC. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcTest from "effect/rpc/RpcTest"
import * as Schema from "effect/Schema"
import * as Actor from "../src/actors/kernel/Actor.ts"
import * as ActorRpc from "../src/actors/kernel/ActorRpc.ts"
import * as Behavior from "../src/actors/kernel/Behavior.ts"
import * as Decision from "../src/actors/kernel/Decision.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"

const Add = Rpc.make("Add", { payload: { n: Schema.Int }, success: Schema.Int })
const Added = Schema.TaggedStruct("Added", { n: Schema.Int })

const Counter = Behavior.make("Counter", {
  commands: [Add],
  events: Added,
  initial: { sum: 0 },
  decide: {
    Add: (_, { n }) =>
      Decision.persist(Added.make({ n })).pipe(Decision.thenReply((state) => state.sum))
  },
  evolve: { Added: ({ sum }, { n }) => ({ sum: sum + n }) }
})

const Counters = ActorRpc.group(Counter)

const program = Effect.gen(function* () {
  const counter = yield* Actor.spawn(Counter, "c")
  // In memory here; RpcServer and RpcClient take the same group over sockets and workers.
  const client = yield* RpcTest.makeClient(Counters).pipe(
    Effect.provide(ActorRpc.layer(Counters, counter))
  )
  yield* Console.log(yield* client.Add({ n: 40 })) // 40
  yield* Console.log(yield* counter.ask.Add({ n: 2 })) // 42
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Journal.layerMemory)))

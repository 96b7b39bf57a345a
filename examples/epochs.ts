/** A connection that is opened again: the answer of the older attempt changes nothing. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../src/actors/kernel/Actor.ts"
import * as Behavior from "../src/actors/kernel/Behavior.ts"
import * as Decision from "../src/actors/kernel/Decision.ts"
import { Epoch } from "../src/schema/Epoch.ts"

const Connect = Rpc.make("Connect", { payload: { millis: Schema.Int } })
const Connecting = Schema.TaggedStruct("Connecting", { epoch: Epoch, millis: Schema.Int })
const Connected = Schema.TaggedStruct("Connected", { after: Schema.Int })

interface Answered {
  readonly _tag: "Answered"
  readonly after: number
}

interface State {
  readonly epoch: Epoch | undefined
  readonly answers: ReadonlyArray<number>
}

const Connection = Behavior.make("Connection", {
  commands: [Connect],
  signals: Behavior.signals<Answered>(),
  events: Schema.Union([Connecting, Connected]),
  initial: { epoch: undefined, answers: [] } as State,
  history: "none",
  epoch: (state) => state.epoch,
  decide: {
    Connect: (_, { millis }, { fresh }) =>
      Decision.persist(Connecting.make({ epoch: fresh(), millis })),
    Answered: (_, { after }) => Decision.persist(Connected.make({ after }))
  },
  evolve: {
    Connecting: (state, { epoch }) => ({ ...state, epoch }),
    Connected: (state, { after }) => ({ ...state, answers: [...state.answers, after] })
  },
  react: {
    // Detached, as an answer from a native callback would be: its epoch alone stops it.
    Connecting: ({ millis }, self) =>
      Effect.forkDetach(Effect.delay(self.signal.Answered({ after: millis }), millis))
  }
})

const program = Effect.gen(function* () {
  const connection = yield* Actor.spawn(Connection, "c")
  yield* connection.ask.Connect({ millis: 30 })
  yield* connection.ask.Connect({ millis: 10 })
  yield* Effect.sleep(60)
  yield* Console.log((yield* connection.state).answers) // [ 10 ]
})

await Effect.runPromise(program.pipe(Effect.scoped))

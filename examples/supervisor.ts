/** A child crashes and is started again; its resources are released before they are acquired. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Behavior from "../src/actors/kernel/Behavior.ts"
import * as Decision from "../src/actors/kernel/Decision.ts"
import * as Supervisor from "../src/actors/kernel/Supervisor.ts"

const Work = Rpc.make("Work", { success: Schema.String })
const Crash = Rpc.make("Crash")
const Worked = Schema.TaggedStruct("Worked", {})

const Worker = Behavior.make("Worker", {
  commands: [Work, Crash],
  events: Worked,
  initial: {},
  history: "none",
  onDefect: "crash",
  decide: {
    Work: () => Decision.reply("done"),
    Crash: (): Decision.Decision<never> => {
      throw new Error("told to crash")
    }
  },
  evolve: { Worked: (state) => state },
  start: (_, __, { generation }) =>
    Effect.acquireRelease(Console.log(`acquire ${generation}`), () =>
      Console.log(`release ${generation}`)
    )
})

const program = Effect.gen(function* () {
  const supervisor = yield* Supervisor.make({
    strategy: "one-for-one",
    restarts: { max: 5, within: "10 seconds" },
    backoff: Schedule.spaced("10 millis")
  })
  const worker = yield* supervisor.spawn(Worker, "w") // prints: acquire 1
  yield* Effect.exit(worker.ask.Crash()) // prints: release 1
  const answer = yield* worker.ask.Work() // prints: acquire 2
  yield* Console.log(answer) // done
}) // prints: release 2

const quiet = Effect.provideService(References.MinimumLogLevel, "None")
await Effect.runPromise(program.pipe(Effect.scoped, quiet))

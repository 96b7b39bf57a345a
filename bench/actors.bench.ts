/** Actors asked and told: ours, Effect's own means, two actor libraries and a plain class. */
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../src/actors/kernel/Actor.ts"
import * as Behavior from "../src/actors/kernel/Behavior.ts"
import * as Decision from "../src/actors/kernel/Decision.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"
import * as Supervisor from "../src/actors/kernel/Supervisor.ts"
import * as rivals from "./actors/rivals.ts"
import { type Bench, type Contestant, type Outcome, rate } from "./harness.ts"

const Add = Rpc.make("Add", { payload: { n: Schema.Int }, success: Schema.Int })
const Count = Rpc.make("Count", { payload: { n: Schema.Int } })
const Added = Schema.TaggedStruct("Added", { n: Schema.Int })
interface State {
  readonly sum: number
}

const counter = (history: "journal" | "none") =>
  Behavior.make("Counter", {
    commands: [Add, Count],
    events: Added,
    initial: { sum: 0 } as State,
    history,
    decide: {
      Add: (_, { n }) =>
        Decision.persist({ _tag: "Added" as const, n }).pipe(
          Decision.thenReply((state: State) => state.sum)
        ),
      Count: (_, { n }) => Decision.persist({ _tag: "Added" as const, n })
    },
    evolve: { Added: ({ sum }, { n }) => ({ sum: sum + n }) }
  })

const ASKS = 500_000
const TELLS = 1_000_000
const IDLE = 100_000

/** Asks one actor in turn, checks the last answer, and then the same from a hundred callers. */
const asks = async (history: "journal" | "none"): Promise<Record<string, Outcome>> => {
  const program = (count: number, callers: number) =>
    Effect.gen(function* () {
      const actor = yield* Actor.spawn(counter(history), "a")
      let last = 0
      const caller = Effect.gen(function* () {
        const { ask } = actor
        for (let i = 0; i < count / callers; i++) last = yield* ask.Add({ n: 1 })
      })
      yield* Effect.all(
        Array.from({ length: callers }, () => caller),
        {
          concurrency: "unbounded"
        }
      )
      return last
    }).pipe(Effect.scoped, Effect.provide(Journal.layerMemory))
  const unit = "ask/s"
  const run = (callers: number) => (count: number) => Effect.runPromise(program(count, callers))
  return {
    ask: await rate({ unit, count: ASKS, run: run(1) }),
    "ask-100": await rate({ unit, count: ASKS, run: run(100) })
  }
}

/** Tells as a callback does, without an Effect per message, and waits until all are worked on. */
const tells = async (): Promise<Outcome> => {
  const behavior = counter("none")
  const program = (count: number) =>
    Effect.gen(function* () {
      const actor = yield* Actor.spawn(behavior, "a")
      const { tellUnsafe } = actor
      for (let sent = 0; sent < count; sent++) {
        if (tellUnsafe.Count({ n: 1 }) === "full") {
          sent--
          yield* Effect.yieldNow
        }
      }
      return yield* actor.ask.Add({ n: 0 })
    }).pipe(Effect.scoped, Effect.provide(Journal.layerMemory))
  return rate({ unit: "tell/s", count: TELLS, run: (count) => Effect.runPromise(program(count)) })
}

/** Heap bytes of an actor that has recovered and waits. */
const idle = async (supervised: boolean, history: "journal" | "none"): Promise<Outcome> => {
  const behavior = counter(history)
  const program = Effect.gen(function* () {
    const supervisor = yield* Supervisor.make()
    const spawn = (id: string) =>
      supervised ? supervisor.spawn(behavior, id) : Actor.spawn(behavior, id)
    const actors: Array<Actor.Of<typeof behavior>> = []
    const before = rivals.heap()
    for (let i = 0; i < IDLE; i++) actors.push(yield* spawn(`${i}`))
    const bytes = (rivals.heap() - before) / IDLE
    const last = yield* actors[IDLE - 1]?.ask.Add({ n: 1 }) ?? Effect.succeed(0)
    return { value: bytes, unit: "B", completed: actors.length + last - 1, expected: IDLE }
  })
  return Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Journal.layerMemory)))
}

const ask =
  (run: (count: number) => Promise<number>, count: number): Contestant =>
  async () => ({ ask: await rate({ unit: "ask/s", count, run }) })

export default {
  title:
    "Actors: ask, tell and idle memory, against Effect's means, nact, xstate and a plain class",
  notes:
    "Every contestant adds 1 to a counter and the last answer is checked. `handfast` keeps no " +
    "history, as the others; `handfast-journal` stores each addition in the journal in memory, " +
    "with Schema and JSON. `plain` is a class with an array and a microtask, asked from Effect " +
    "through a callback. `tell` is without an Effect per message for all. `xstate` is a machine " +
    "with one transition, asked by `waitFor`; `xstate-reducer` is its `fromTransition`, which " +
    "calls the reducer within the sender's call and has no machine.",
  contestants: {
    handfast: async () => ({ ...(await asks("none")), tell: await tells() }),
    "handfast-journal": () => asks("journal"),
    queue: ask(rivals.queueActor, ASKS),
    plain: ask(rivals.plainActor, ASKS),
    entity: ask(rivals.entity, 5000),
    nact: async () => ({
      ask: await rate({ unit: "ask/s", count: 50_000, run: rivals.nactAsk }),
      tell: await rate({ unit: "tell/s", count: 50_000, run: rivals.nactTell })
    }),
    xstate: async () => ({
      ask: await rate({ unit: "ask/s", count: 50_000, run: rivals.xstateAsk }),
      tell: await rate({ unit: "tell/s", count: TELLS, run: rivals.xstateTell })
    }),
    "xstate-reducer": async () => ({
      tell: await rate({ unit: "tell/s", count: TELLS, run: rivals.xstateReducerTell })
    }),
    idle: async () => ({ memory: await idle(false, "none") }),
    "idle-journal": async () => ({ memory: await idle(false, "journal") }),
    "idle-supervised": async () => ({ memory: await idle(true, "none") })
  },
  claims: [
    { pair: ["ask/handfast", "ask/queue"], bar: ">= 1.5" },
    { pair: ["ask/handfast", "ask/plain"], bar: ">= 0.7" },
    { pair: ["ask/handfast-journal", "ask/handfast"], bar: ">= 0.25" },
    { pair: ["ask/handfast", "ask/nact"], bar: ">= 1" },
    { pair: ["ask/handfast", "ask/xstate"], bar: ">= 1" },
    { pair: ["tell/handfast", "tell/nact"], bar: ">= 1" },
    { pair: ["tell/handfast", "tell/xstate"], bar: ">= 1" },
    { pair: ["ask/handfast", "ask/entity"], bar: ">= 30" },
    { pair: ["ask/handfast-journal", "ask/entity"], bar: ">= 1" },
    { figure: "memory/idle", bar: "<= 1024" },
    { figure: "memory/idle-journal", bar: "<= 1024" }
  ]
} satisfies Bench

/** Children that write what happens to them into one log, under a supervisor on the test clock. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"

const Work = Rpc.make("Work", { success: Schema.Int })
const Crash = Rpc.make("Crash")
const Worked = Schema.TaggedStruct("Worked", {})

/** Lets other fibers run. */
export const turns = (count: number) => Effect.repeat(Effect.yieldNow, { times: count })
const slowly = turns(4)

/** Lets virtual time pass, and everything that it sets off come to rest. */
export const pass = (time: Duration.Input) =>
  Effect.andThen(turns(100), Effect.andThen(TestClock.adjust(time), turns(100)))

/** A child that logs the life of its generations; releasing takes it several turns. */
export const worker = (log: Array<string>) =>
  Behavior.make("Worker", {
    commands: [Work, Crash],
    events: Worked,
    initial: { done: 0 },
    onDefect: "crash",
    decide: {
      Work: () =>
        Decision.persist(Worked.make({})).pipe(
          Decision.thenReply((state: { done: number }) => state.done)
        ),
      Crash: (): Decision.Decision<never> => {
        throw new Error("told to crash")
      }
    },
    evolve: { Worked: ({ done }) => ({ done: done + 1 }) },
    start: (_, self, { generation }) =>
      Effect.acquireRelease(
        Effect.sync(() => log.push(`acquire ${self.id}${generation}`)),
        () =>
          Effect.andThen(
            slowly,
            Effect.sync(() => log.push(`release ${self.id}${generation}`))
          )
      )
  })

export const immediately = Schedule.spaced(0)

export const family = Effect.fnUntraced(function* (options: Supervisor.Options) {
  const log: Array<string> = []
  const supervisor = yield* Supervisor.make({ backoff: immediately, ...options })
  const Worker = worker(log)
  const a = yield* supervisor.spawn(Worker, "a")
  const b = yield* supervisor.spawn(Worker, "b")
  const c = yield* supervisor.spawn(Worker, "c")
  log.length = 0
  return { a, b, c, log, supervisor, Worker }
})

export const crash = (child: Actor.Of<ReturnType<typeof worker>>) =>
  Effect.andThen(Effect.exit(child.ask.Crash()), pass("5 seconds"))

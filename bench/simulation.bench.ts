/** How fast the seeded simulation runs, and how much virtual time passes for nothing. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Chaos from "../src/actors/kernel/Chaos.ts"
import * as EndpointSimulation from "../src/testing/EndpointSimulation.ts"
import { Sim } from "../src/testing/index.ts"
import { type Bench, type Outcome, rate } from "./harness.ts"

/** Two fibers that hand over messages through a small queue, as actors do. */
const handover = (messages: number) =>
  Effect.gen(function* () {
    const queue = yield* Queue.bounded<number>(4)
    const send = Effect.gen(function* () {
      for (let i = 0; i < messages; i++) yield* Queue.offer(queue, i)
    })
    const receive = Effect.gen(function* () {
      let received = 0
      while (received < messages) {
        yield* Queue.take(queue)
        received++
      }
      return received
    })
    const [, received] = yield* Effect.all([send, receive], { concurrency: "unbounded" })
    return received
  })

/** Three fibers, one counter: the small program that a search runs under thousands of seeds. */
const small = Effect.gen(function* () {
  const ref = yield* Ref.make(0)
  const add = Ref.update(ref, (n) => n + 1)
  yield* Effect.all([add, add, add], { concurrency: "unbounded" })
  return yield* Ref.get(ref)
})

const steps = async (): Promise<Outcome> => {
  const fibers = Array.from({ length: 8 }, () =>
    Effect.gen(function* () {
      for (let i = 0; i < 100_000; i++) yield* Effect.yieldNow
    })
  )
  const program = Effect.all(fibers, { concurrency: "unbounded" })
  const once = (seed: number) => Effect.runPromise(Sim.run(program, { seed, maxSteps: 1e8 }))
  await once(1)
  const start = performance.now()
  const run = await once(2)
  const seconds = (performance.now() - start) / 1000
  const completed = run.exit._tag === "Success" ? 1 : 0
  return { value: run.steps / seconds, unit: "steps/s", completed, expected: 1 }
}

const runs = () =>
  rate({
    unit: "runs/s",
    count: 20_000,
    warmup: 20_000,
    run: (count) =>
      Effect.runPromise(
        Effect.map(
          Sim.explore(small, { seeds: count, checkShare: 0 }),
          (report) => report.runs - report.failures
        )
      )
  })

/**
 * Whole runs of the endpoint scenario, by the processor's time: what else the machine does then
 * counts little. As a test runs them, with the share that is run twice to compare.
 */
const scenario = async (): Promise<Outcome> => {
  const program = EndpointSimulation.program()
  const explore = (seeds: number) => Effect.runPromise(Sim.explore(program, { seeds }))
  const count = 60
  await explore(count / 4)
  const before = process.cpuUsage()
  const report = await explore(count)
  const { system, user } = process.cpuUsage(before)
  const completed = report.runs - report.failures
  const value = completed / ((system + user) / 1e6)
  return { value, unit: "seeds/CPU-s", completed, expected: count }
}

/** A process that does nothing but wait, for a thousand days. */
const idle = async (): Promise<{ readonly virtual: Outcome; readonly real: Outcome }> => {
  const days = 1000
  const program = Effect.gen(function* () {
    for (let hour = 0; hour < 24 * days; hour++) yield* Effect.sleep("1 hour")
  })
  const once = (seed: number) =>
    Effect.runPromise(Sim.run(program, { seed, maxTime: `${days + 1} days` }))
  await once(1)
  const start = performance.now()
  const run = await once(2)
  const real = (performance.now() - start) / 1000
  const done = { completed: run.exit._tag === "Success" ? 1 : 0, expected: 1, unit: "s" }
  return { virtual: { ...done, value: run.millis / 1000 }, real: { ...done, value: real } }
}

const site = Chaos.site("bench")

/** A million passes through an effect, outside of a simulation. */
const passes = (effect: Effect.Effect<void>) =>
  rate({
    unit: "passes/s",
    count: 1_000_000,
    run: async (count) => {
      await Effect.runPromise(
        Effect.gen(function* () {
          for (let i = 0; i < count; i++) yield* effect
        })
      )
      return count
    }
  })

const messages = (seed: number | undefined) =>
  rate({
    unit: "msg/s",
    count: 100_000,
    run: async (count) => {
      if (seed === undefined) return Effect.runPromise(handover(count))
      const run = await Effect.runPromise(Sim.run(handover(count), { seed, maxSteps: 1e8 }))
      return run.exit._tag === "Success" ? run.exit.value : 0
    }
  })

export default {
  title: "Seeded simulation: steps, whole runs, idle time, and what a chaos site costs outside",
  notes:
    "steps: eight fibers that yield in a loop. runs: a program of three fibers, world included. " +
    "endpoint: the scenario of `handfast simulate endpoint`, three hosts under faults. " +
    "idle: a thousand virtual days of hourly sleeps against the real time they take. " +
    "messages: two fibers and a bounded queue, simulated and on Effect's own scheduler. " +
    "passes: a chaos site outside of a simulation against Effect's smallest operation.",
  contestants: {
    world: async () => ({ steps: await steps(), runs: await runs() }),
    endpoint: async () => ({ seeds: await scenario() }),
    idle,
    simulated: async () => ({ messages: await messages(1) }),
    live: async () => ({ messages: await messages(undefined) }),
    site: async () => ({ passes: await passes(site) }),
    operation: async () => ({ passes: await passes(Effect.sync(() => {})) })
  },
  claims: [
    { figure: "seeds/endpoint", bar: ">= 15" },
    { pair: ["virtual/idle", "real/idle"], bar: ">= 1000000" },
    { pair: ["passes/site", "passes/operation"], bar: ">= 0.5" }
  ]
} satisfies Bench

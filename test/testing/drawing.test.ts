/**
 * Goal: faults are drawn as the options say, wherever and however often they are drawn.
 * Method: plans and outcomes of many seeds; plans that mean nothing are refused.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import type { FaultPlan } from "../../src/testing/index.ts"
import { Faults, FaultyJournal, Sim } from "../../src/testing/index.ts"
import { check } from "../../src/testing/vitest.ts"

const plansOf = Effect.fnUntraced(function* <A>(program: Effect.Effect<A>, seeds: number) {
  const values: Array<A> = []
  for (let seed = 1; seed <= seeds; seed++) {
    const { exit } = yield* Sim.run(program, { seed })
    if (exit._tag === "Failure") return assert.fail(Cause.pretty(exit.cause))
    values.push(exit.value)
  }
  return values
})

const withServer = <A, E>(program: Effect.Effect<A, E>) =>
  Effect.scoped(Effect.andThen(Sim.process("server", Effect.never), program))

describe("faults that are drawn", () => {
  it.live("A1: of journals strike a program without snapshots too", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const { read } = yield* Journal
        yield* Faults.random({ journal: true })
        for (let i = 0; i < 8; i++) yield* Effect.ignore(Stream.runDrain(read("a", 1)))
      }).pipe(Effect.provide(FaultyJournal.layer(Journal.layerMemory)))
      const settings = { seeds: 200, checkShare: 0 }
      const report = yield* check({ name: "x", file: "x" }, settings, program, {})
      assert.isAbove(report.faults["journal"]!.struck, 0)
    })
  )

  it.live("B10: strike between steps late in a long run", () =>
    Effect.gen(function* () {
      const moments = yield* plansOf(withServer(Faults.random({ crash: "server" })), 400)
      const steps = moments
        .flat()
        .flatMap((fault) => ("at" in fault && "step" in fault.at ? [fault.at.step] : []))
      assert.isAbove(steps.filter((step) => step > 1_023).length, 5)
      assert.isAbove(steps.filter((step) => step < 1_023).length, steps.length / 2)
    })
  )

  it.live("B15: twice are drawn independently, and `most` may be 0", () =>
    Effect.gen(function* () {
      const draw = Faults.random({ crash: "server" })
      const both = yield* plansOf(withServer(Effect.all([draw, draw])), 100)
      const kinds = new Set(both.map(([a, b]) => `${a.length > 0} ${b.length > 0}`))
      assert.strictEqual(kinds.size, 4)
      const none = yield* plansOf(withServer(Faults.random({ crash: "server", most: 0 })), 20)
      assert.isEmpty(none.flat())
    })
  )

  it.live("strike within the given time from when they are drawn", () =>
    Effect.gen(function* () {
      const draw = Faults.random({ pause: "server", within: "1 second", most: 10 })
      const plans = yield* plansOf(withServer(Effect.delay(draw, "1 hour")), 50)
      const times = plans
        .flat()
        .flatMap((fault) => ("at" in fault && "millis" in fault.at ? [fault.at.millis] : []))
      assert.isAbove(times.length, 50)
      assert.isAtLeast(Math.min(...times), 3_600_000)
      // The sleep before may have been late.
      assert.isBelow(Math.max(...times), 3_601_000 + 10)
    })
  )
})

const failureOf = Effect.fnUntraced(function* (program: Effect.Effect<unknown>) {
  const { exit } = yield* Sim.run(program, { seed: 1 })
  return exit._tag === "Failure" ? String(Cause.squash(exit.cause)) : "none"
})

describe("faults that are installed", () => {
  it.live("B16: are refused after heal", () =>
    Effect.gen(function* () {
      const crash: FaultPlan.Fault = { _tag: "Crash", process: "server", at: { millis: 1 } }
      const late = [Faults.install([crash]), Faults.random({ crash: "server" })]
      for (const add of late) {
        const program = withServer(Effect.andThen(Faults.heal, add))
        assert.match(yield* failureOf(program), /Faults\.heal/)
      }
      assert.strictEqual(yield* failureOf(withServer(late[0]!)), "none")
    })
  )

  it.live("B17: are refused if they do not exist", () =>
    Effect.gen(function* () {
      const strange: ReadonlyArray<object> = [
        { _tag: "Crush", process: "server", at: { millis: 1 } },
        { _tag: "Journal", operation: "apend", nth: 1, kind: "slow", millis: 1 },
        { _tag: "Skew", process: "server", at: { millis: 1 }, jumpMillis: 0, rate: 0 },
        { _tag: "Fabric", at: { millis: 1 }, fault: { _tag: "Fire", node: "a" } }
      ]
      for (const fault of strange) {
        const plan = [fault] as unknown as FaultPlan.FaultPlan
        assert.notStrictEqual(yield* failureOf(withServer(Faults.install(plan))), "none")
      }
    })
  )

  it.live("B18: that damage a read without a record have not struck", () =>
    Effect.gen(function* () {
      const corrupt: FaultPlan.Fault = {
        _tag: "Journal",
        operation: "read",
        nth: 1,
        kind: "corrupt",
        millis: 1
      }
      const program = Effect.gen(function* () {
        const { loadSnapshot, read } = yield* Journal
        yield* Faults.install([corrupt, { ...corrupt, nth: 2 }])
        yield* loadSnapshot("a")
        yield* Stream.runDrain(read("a", 1))
      }).pipe(Effect.provide(FaultyJournal.layer(Journal.layerMemory)))
      const report = yield* Sim.explore(program, { seeds: 1 })
      assert.isUndefined(report.failure?.message)
      assert.deepStrictEqual(report.faults["journal"], { planned: 2, struck: 0 })
    })
  )

  it.live("B19: leave the monotonic clock forward at heal, and set the wall clock right", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const times: Array<bigint> = []
        const wall: Array<number> = []
        yield* Sim.process(
          "server",
          Effect.forever(
            Effect.gen(function* () {
              yield* Effect.sleep(10)
              times.push(yield* Clock.monotonicTimeNanos)
              wall.push(yield* Clock.currentTimeMillis)
            })
          )
        )
        const skew = { _tag: "Skew", process: "server", jumpMillis: 500, rate: 2 } as const
        yield* Faults.install([{ ...skew, at: { millis: 1 } }])
        yield* Effect.sleep(1_000)
        yield* Faults.heal
        yield* Effect.sleep(995)
        for (const [nth, time] of times.entries()) {
          assert.isTrue(nth === 0 || time > times[nth - 1]!, `${times[nth - 1]} -> ${time}`)
        }
        assert.approximately(wall.at(-1)!, 1_990, 10)
      })
      const { exit } = yield* Sim.run(Effect.scoped(program), { seed: 1, timerSlack: 0 })
      assert.strictEqual(exit._tag, "Success", String(exit))
    })
  )
})

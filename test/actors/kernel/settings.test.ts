/**
 * Goal: a behavior or a supervisor whose settings cannot work is refused by name when it is made,
 * and the names of events may be any. Method: wrong values of each bound, the values next to them,
 * events named like parts of objects.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { MaxRecoveries } from "../../../src/actors/kernel/Limits.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { SettingsRefused } from "../../../src/native/io/PoolError.ts"
import { Counter, decide, evolve, spec, State } from "./counter.ts"

const base = { ...spec, decide, evolve }

const nonsense = [-1, 1.5, Number.NaN]

const refused = (make: () => unknown): SettingsRefused => {
  try {
    make()
  } catch (error) {
    assert.instanceOf(error, SettingsRefused)
    return error
  }
  return assert.fail("it was made")
}

describe("a bound of an actor", () => {
  for (const key of ["mailbox", "stash", "waiting", "batch", "unwritten", "watch"] as const) {
    it(`C: refuses a ${key} limit of nothing, of a part and of no number`, () => {
      for (const value of [0, ...nonsense]) {
        const make = () => Behavior.make("Counter", { ...base, limits: { [key]: value } })
        const rule = "a whole number from 1, or Infinity"
        const error = refused(make)
        assert.deepInclude({ ...error }, { setting: `Counter: limits.${key}`, value, rule })
      }
      Behavior.make("Counter", { ...base, limits: { [key]: Infinity } })
    })
  }

  for (const key of ["keep", "every", "version"] as const) {
    it(`B13: refuses to ${key} no snapshot, a part of one and no number of them`, () => {
      for (const value of [0, ...nonsense]) {
        const snapshot = { state: State, [key]: value }
        const error = refused(() => Behavior.make("Counter", { ...base, snapshot }))
        assert.deepInclude({ ...error }, { setting: `Counter: snapshot.${key}`, value })
      }
    })
  }

  it("refuses a time of passivation that is none, or before now", () => {
    for (const [passivateAfter, value] of [
      [Number.NaN, Number.NaN],
      ["a while" as "1 second", Number.NaN],
      ["-1 second", -1000]
    ] as const) {
      const error = refused(() => Behavior.make("Counter", { ...base, passivateAfter }))
      assert.deepInclude({ ...error }, { setting: "Counter: passivateAfter", value })
    }
  })

  it.effect("C: refuses to recover no actor at a time", () =>
    Effect.gen(function* () {
      for (const most of [0, ...nonsense]) {
        const spawn = Effect.scoped(Effect.sandbox(Actor.spawn(Counter, "a")))
        const cause = yield* Effect.flip(Effect.provideService(spawn, MaxRecoveries, most))
        const error = Cause.squash(cause)
        assert.instanceOf(error, SettingsRefused)
        assert.deepInclude({ ...error }, { setting: "MaxRecoveries", value: most })
      }
    }).pipe(Effect.provide(Journal.layerMemory))
  )
})

describe("a bound of a supervisor", () => {
  const cases: ReadonlyArray<readonly [Supervisor.Options, setting: string, value: number]> = [
    [{ restarts: { max: Number.NaN, within: "1 second" } }, "restarts.max", Number.NaN],
    [{ restarts: { max: -1, within: "1 second" } }, "restarts.max", -1],
    [{ restarts: { max: 1.5, within: "1 second" } }, "restarts.max", 1.5],
    [{ restarts: { max: 1, within: 0 } }, "restarts.within", 0],
    [{ restarts: { max: 1, within: Number.NaN } }, "restarts.within", Number.NaN],
    [{ restarts: { max: 1, within: "-1 second" } }, "restarts.within", -1000],
    [{ journalOutage: Number.NaN }, "journalOutage", Number.NaN],
    [{ journalOutage: -1 }, "journalOutage", -1]
  ]

  it.effect("is refused by its name and its value, before anything is started", () =>
    Effect.gen(function* () {
      for (const [options, setting, value] of cases) {
        const cause = yield* Effect.flip(Effect.sandbox(Supervisor.make(options)))
        const error = Cause.squash(cause)
        assert.instanceOf(error, SettingsRefused)
        assert.deepInclude({ ...error }, { setting, value })
      }
    })
  )

  it.effect("may be no restart, and no end of them", () =>
    Effect.gen(function* () {
      yield* Supervisor.make({ restarts: { max: 0, within: 1 }, journalOutage: 0 })
      yield* Supervisor.make({
        restarts: { max: Infinity, within: "Infinity" },
        journalOutage: "Infinity"
      })
    })
  )
})

it.effect("C: an event may be named like a method of every object", () =>
  Effect.gen(function* () {
    const Named = Behavior.make("Named", {
      commands: [Rpc.make("Do")],
      events: Schema.Union([
        Schema.TaggedStruct("constructor", {}),
        Schema.TaggedStruct("toString", {})
      ]),
      initial: { done: 0 },
      decide: {
        Do: () => Decision.persist({ _tag: "constructor" } as const, { _tag: "toString" } as const)
      },
      evolve: {
        constructor: ({ done }) => ({ done: done + 1 }),
        toString: ({ done }) => ({ done: done + 1 })
      },
      react: {}
    })
    const actor = yield* Actor.spawn(Named, "a")
    yield* actor.ask.Do()
    yield* actor.ask.Do()
    assert.strictEqual((yield* actor.state).done, 4)
  }).pipe(Effect.provide(Journal.layerMemory))
)

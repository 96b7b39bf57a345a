/**
 * Goal: a behavior whose settings cannot work is refused by name when it is made, and the names of
 * its events may be any. Method: wrong values of each bound, events named like parts of objects.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { MaxRecoveries } from "../../../src/actors/kernel/Limits.ts"
import { Counter, decide, evolve, spec, State } from "./counter.ts"

const base = { ...spec, decide, evolve }

describe("a bound of an actor", () => {
  for (const key of ["mailbox", "stash", "waiting", "batch", "unwritten", "watch"] as const) {
    it(`C: refuses a ${key} limit of nothing, of a part and of no number`, () => {
      for (const value of [0, -1, 1.5, Number.NaN]) {
        const text = `Counter: limits.${key} must be a whole number of at least 1, not ${value}`
        const make = () => Behavior.make("Counter", { ...base, limits: { [key]: value } })
        assert.throws(make, RangeError, text)
      }
      Behavior.make("Counter", { ...base, limits: { [key]: Infinity } })
    })
  }

  for (const key of ["keep", "every"] as const) {
    it(`B13: refuses to ${key} no snapshot, a part of one and no number of them`, () => {
      for (const value of [0, -1, 1.5, Number.NaN]) {
        const text = `Counter: snapshot.${key} must be a whole number of at least 1, not ${value}`
        const snapshot = { state: State, [key]: value }
        assert.throws(() => Behavior.make("Counter", { ...base, snapshot }), RangeError, text)
      }
    })
  }

  it.effect("C: refuses to recover no actor at a time", () =>
    Effect.gen(function* () {
      const spawn = Effect.sandbox(Actor.spawn(Counter, "a"))
      const cause = yield* Effect.flip(Effect.provideService(spawn, MaxRecoveries, 0))
      assert.include(String(cause), "MaxRecoveries must be at least 1, not 0")
    }).pipe(Effect.provide(Journal.layerMemory))
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

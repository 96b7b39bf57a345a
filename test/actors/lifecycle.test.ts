/**
 * Goal: each step in the life of an actor is completed, whatever callers, finalizers, loggers and
 * Scopes do in the middle of it. Method: each of them does the worst at that moment.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../src/actors/kernel/Supervisor.ts"
import { decide, evolve, react, spec } from "./counter.ts"
import { fork } from "./journals.ts"

const tables = { ...spec, decide, evolve, react }

describe("a finalizer that fails while the logger throws", () => {
  const Dying = Behavior.make("Counter", {
    ...tables,
    start: () => Effect.addFinalizer(() => Effect.die("a finalizer"))
  })
  const throwing = Logger.layer([
    Logger.make(({ message }) => {
      if (String(message).includes("a finalizer failed")) throw new Error("the logger")
    })
  ])

  it.effect("A3: does not keep its actor from ending", () =>
    Effect.gen(function* () {
      const counter = yield* Actor.spawn(Dying, "a")
      const ended = yield* fork(counter.stop)
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* Fiber.join(ended), { reason: "stopped" })
    }).pipe(Effect.provide([throwing, Journal.layerMemory]))
  )

  it.effect("A3: does not keep its actor from being restarted", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ backoff: Schedule.spaced("1 second") })
      const counter = yield* supervisor.spawn(Dying, "a")
      yield* Effect.flip(counter.ask.Break({ how: "decide" }))
      const asking = yield* fork(counter.ask.Add({ n: 1 }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(asking), 1)
    }).pipe(Effect.provide([throwing, Journal.layerMemory]))
  )
})

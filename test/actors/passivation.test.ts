/**
 * Goal: whatever comes while an actor becomes passive, or after, is done once and loses nothing:
 * a message, a stop, a halt. Method: an actor whose resources take a second to be released.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { type Actor, makeCell, reference } from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import { halt } from "../../src/actors/kernel/internal/halting.ts"
import { lifeWith } from "../../src/actors/kernel/internal/life.ts"
import { recover } from "../../src/actors/kernel/internal/recovering.ts"
import { decide, evolve, spec, type State } from "./counter.ts"
import { fork, journals, settle } from "./journals.ts"

const sleepy = (log: Array<string>) =>
  Behavior.make("Counter", {
    ...spec,
    decide,
    evolve,
    passivateAfter: "1 minute",
    start: (_, __, { generation }) =>
      Effect.acquireRelease(
        Effect.sync(() => log.push(`begin ${generation}`)),
        () =>
          Effect.andThen(
            Effect.sleep("1 second"),
            Effect.sync(() => log.push(`end ${generation}`))
          )
      )
  })

const second = Effect.andThen(TestClock.adjust("1 second"), settle)

/** An actor that begins to become passive, and is at it for a second more. */
const fallingAsleep = Effect.gen(function* () {
  const log: Array<string> = []
  const scope = yield* Scope.make()
  const life = lifeWith(() => assert.fail("no crash"))
  const cell = yield* Scope.provide(makeCell(sleepy(log), "a", life), scope)
  yield* recover(cell)
  const counter: Actor<State, (typeof spec.commands)[number], unknown> = reference(cell)
  yield* counter.ask.Add({ n: 1 })
  yield* settle
  yield* TestClock.adjust("1 minute")
  assert.strictEqual(cell.phase, "releasing")
  const close = Effect.andThen(fork(Scope.close(scope, Exit.void)), second)
  return { cell, close, counter, log }
})

describe.each(journals)("an actor that becomes passive on %s", (_, journal) => {
  it.effect("begins anew for a message that comes meanwhile", () =>
    Effect.gen(function* () {
      const { close, counter, log } = yield* fallingAsleep
      const add = yield* fork(counter.ask.Add({ n: 1 }))
      yield* settle
      assert.isUndefined(add.pollUnsafe())
      yield* second
      assert.strictEqual(yield* Fiber.join(add), 2)
      assert.deepStrictEqual(log, ["begin 1", "end 1", "begin 2"])
      yield* close
    }).pipe(Effect.provide(journal))
  )

  it.effect("ends for a stop that comes meanwhile, and releases once", () =>
    Effect.gen(function* () {
      const { counter, log } = yield* fallingAsleep
      const stop = yield* fork(counter.stop)
      yield* second
      assert.deepInclude(yield* Fiber.join(stop), { reason: "stopped" })
      assert.deepStrictEqual(log, ["begin 1", "end 1"])
    }).pipe(Effect.provide(journal))
  )

  for (const when of ["meanwhile", "afterwards"] as const) {
    it.effect(`is woken by no message once it was halted ${when}`, () =>
      Effect.gen(function* () {
        const { cell, close, counter } = yield* fallingAsleep
        if (when === "afterwards") yield* second
        const halting = yield* fork(halt(cell))
        yield* second
        yield* Fiber.join(halting)
        const add = yield* fork(counter.ask.Add({ n: 1 }))
        yield* second
        assert.isUndefined(add.pollUnsafe())
        assert.deepInclude(cell, { phase: "halted", generation: 1 })
        yield* recover(cell)
        assert.strictEqual(yield* Fiber.join(add), 2)
        yield* close
      }).pipe(Effect.provide(journal))
    )
  }
})

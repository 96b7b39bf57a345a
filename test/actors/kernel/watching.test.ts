/**
 * Goal: watchers of an actor hear what the journal has, in order, and of each state that a recovery
 * brings back. Method: a counter that crashes, whose appends fail although they are stored, or
 * whose effects begin to watch it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { Counter, decide, evolve, spec, Volatile } from "./counter.ts"
import { failure, fork, settle } from "./journals.ts"

const sums = (states: Stream.Stream<{ readonly sum: number }>, into: Array<number>) =>
  fork(Stream.runForEach(states, ({ sum }) => Effect.sync(() => into.push(sum))))

describe("what a watcher hears", () => {
  it.effect("B16: never goes back within a batch for one that subscribes in an effect of it", () =>
    Effect.gen(function* () {
      const shown: Array<number> = []
      const heard: Array<unknown> = []
      let actor: Pick<Actor.Of<typeof Counter>, "states" | "events"> | undefined
      const push = <A>(into: Array<A>, item: A) => Effect.sync(() => into.push(item))
      const Watching = Behavior.make("Counter", {
        ...spec,
        decide: {
          ...decide,
          Hold: () => Decision.persist(...[1, 2, 3].map((n) => ({ _tag: "Added" as const, n })))
        },
        evolve,
        react: {
          Added: ({ n }): Effect.Effect<unknown> =>
            n === 1
              ? Effect.sync(() => {
                  const { events = Stream.empty, states = Stream.empty } = actor ?? {}
                  Effect.runFork(Stream.runForEach(states, ({ sum }) => push(shown, sum)))
                  Effect.runFork(Stream.runForEach(events, (event) => push(heard, event)))
                })
              : Effect.void
        }
      })
      const counter = yield* Actor.spawn(Watching, "a")
      actor = counter
      yield* counter.ask.Hold()
      yield* settle
      yield* counter.ask.Add({ n: 4 })
      yield* settle
      assert.deepStrictEqual(shown, [6, 10])
      assert.deepStrictEqual(heard, [{ _tag: "Added", n: 4 }])
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("B2: is the recovered state after a failed append that is stored all the same", () =>
    Effect.gen(function* () {
      const store = makeMemory()
      let fails = false
      const journal: typeof store = {
        ...store,
        append: (request) =>
          Effect.andThen(store.append(request), fails ? Effect.fail(failure) : Effect.void)
      }
      const supervisor = yield* Supervisor.make()
      const spawn = supervisor.spawn(Counter, "a")
      const counter = yield* Effect.provideService(spawn, Journal, journal)
      const shown: Array<number> = []
      yield* sums(counter.states, shown)
      const heard: Array<unknown> = []
      yield* fork(
        Stream.runForEach(counter.events, (event) => Effect.sync(() => heard.push(event)))
      )
      yield* settle
      yield* counter.ask.Add({ n: 1 })
      fails = true
      yield* Effect.flip(counter.ask.Add({ n: 10 }))
      fails = false
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.deepStrictEqual(shown, [0, 1, 11])
      yield* counter.ask.Add({ n: 100 })
      yield* settle
      assert.deepStrictEqual(shown, [0, 1, 11, 111])
      assert.deepStrictEqual(heard, [
        { _tag: "Added", n: 1 },
        { _tag: "Added", n: 100 }
      ])
    })
  )

  it.effect("B3: is the initial state after a crash without a history", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make()
      const counter = yield* supervisor.spawn(Volatile, "a")
      const shown: Array<number> = []
      yield* sums(counter.states, shown)
      yield* settle
      yield* counter.ask.Add({ n: 5 })
      yield* Effect.flip(counter.ask.Break({ how: "decide" }))
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.strictEqual((yield* counter.state).sum, 0)
      assert.deepStrictEqual(shown, [0, 5, 0])
    })
  )
})

/**
 * Goal: a generation ends when what was decided is written, once, whoever asks for it and however
 * often; what comes back from an older one changes nothing. Method: cells that the test itself
 * halts and recovers, on a journal that it holds up.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type * as Actor from "../../../src/actors/kernel/Actor.ts"
import { makeCell, reference } from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { transition } from "../../../src/actors/kernel/internal/cell.ts"
import { halt } from "../../../src/actors/kernel/internal/halting.ts"
import { lifeWith } from "../../../src/actors/kernel/internal/recovering.ts"
import { recover } from "../../../src/actors/kernel/internal/recovering.ts"
import { endWith } from "../../../src/actors/kernel/internal/releasing.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import { Counter, decide, evolve, react, spec } from "./counter.ts"
import { failure, fork, makeHeld, settle } from "./journals.ts"

/** A cell whose crashes are listed and otherwise left alone. */
const makeListed = Effect.fnUntraced(function* <B extends typeof Counter>(behavior: B) {
  const crashes: Array<{ generation: number; cause: Cause.Cause<unknown> }> = []
  const life = lifeWith((_, generation, cause) => crashes.push({ generation, cause }))
  const cell = yield* makeCell(behavior, "a", life)
  yield* recover(cell)
  const counter: Actor.Of<B> = reference(cell) as Actor.Of<B>
  return { cell, counter, crashes }
})

describe("halt", () => {
  it.effect("waits for the append under way, whose callers hear that it is stored", () =>
    Effect.gen(function* () {
      const { appends, journal, latch } = makeHeld()
      const { cell, counter } = yield* Effect.provideService(makeListed(Counter), Journal, journal)
      latch.closeUnsafe()
      const storing = yield* fork(counter.ask.Add({ n: 1 }))
      const waiting = yield* fork(counter.ask.Add({ n: 10 }))
      const halts = yield* Effect.forEach([1, 2, 3], () => fork(halt(cell)))
      yield* settle
      for (const fiber of halts) assert.isUndefined(fiber.pollUnsafe())
      latch.openUnsafe()
      yield* Fiber.joinAll(halts)
      assert.strictEqual(yield* Fiber.join(storing), 1)
      assert.strictEqual(cell.phase, "halted")
      assert.strictEqual(appends.length, 1, "nothing is decided any more")
      assert.isUndefined(waiting.pollUnsafe())
      yield* halt(cell)
      yield* recover(cell)
      assert.strictEqual(yield* Fiber.join(waiting), 11)
    })
  )

  it.effect("waits for events that are written behind", () =>
    Effect.gen(function* () {
      const { appends, journal, latch } = makeHeld()
      const { cell, counter } = yield* Effect.provideService(makeListed(Counter), Journal, journal)
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "one" })
      yield* counter.ask.Note({ text: "two" })
      const halting = yield* fork(halt(cell))
      yield* settle
      assert.isUndefined(halting.pollUnsafe())
      latch.openUnsafe()
      yield* Fiber.join(halting)
      assert.strictEqual(appends.length, 2)
      yield* recover(cell)
      assert.strictEqual((yield* counter.state).notes, 2)
    })
  )

  it.effect("leaves nothing behind when it is interrupted before the release has begun", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const { cell, counter } = yield* Effect.provideService(makeListed(Counter), Journal, journal)
      latch.closeUnsafe()
      const storing = yield* fork(counter.ask.Add({ n: 1 }))
      const halts = yield* Effect.forEach([1, 2, 3], () => fork(halt(cell)))
      const behind = yield* fork(counter.ask.Add({ n: 10 }))
      yield* Fiber.interruptAll(halts)
      latch.openUnsafe()
      assert.deepStrictEqual([yield* Fiber.join(storing), yield* Fiber.join(behind)], [1, 11])
      assert.strictEqual(cell.generation, 1)
      assert.strictEqual(cell.halts?.size, 0)
    })
  )

  it.effect("lets the messages be worked on that came before it was interrupted", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const { cell, counter } = yield* Effect.provideService(makeListed(Counter), Journal, journal)
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "written behind" })
      const halting = yield* fork(halt(cell))
      const read = yield* fork(counter.ask.Get())
      yield* settle
      assert.isUndefined(read.pollUnsafe())
      yield* Fiber.interrupt(halting)
      assert.strictEqual(yield* Fiber.join(read), 0)
    })
  )

  it.effect("goes on with a release that has begun when it is interrupted", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const Slow = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        react,
        start: (_, __, { generation }) =>
          Effect.acquireRelease(
            Effect.sync(() => log.push(`begin ${generation}`)),
            () =>
              Effect.andThen(
                Effect.sleep("1 second"),
                Effect.sync(() => log.push(`end ${generation}`))
              )
          )
      }) as unknown as typeof Counter
      const { cell, counter } = yield* makeListed(Slow)
      const halting = yield* fork(halt(cell))
      yield* Fiber.interrupt(halting)
      const again = yield* fork(Effect.andThen(halt(cell), recover(cell)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(again)
      assert.deepStrictEqual(log, ["begin 1", "end 1", "begin 2"])
      // An end that comes meanwhile waits for it too.
      const halted = yield* fork(halt(cell))
      const ended = yield* fork(Effect.map(counter.ended, () => log.at(-1)))
      yield* fork(endWith(cell, { reason: "released", detail: "" }))
      yield* settle
      assert.isUndefined(ended.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(ended), "end 2")
      yield* Fiber.join(halted)
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  it.effect("keeps a recovery that is under way from beginning a generation", () =>
    Effect.gen(function* () {
      const { store } = makeHeld()
      const slow = { ...store, claim: (actor: string) => Effect.delay(store.claim(actor), 1000) }
      const started: Array<number> = []
      const Starting = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        start: (_, __, { generation }) => Effect.sync(() => started.push(generation))
      })
      const life = lifeWith(() => assert.fail("no crash"))
      const making = makeCell(Starting, "a", life)
      const cell = yield* Effect.provideService(making, Journal, slow)
      const recovering = yield* fork(recover(cell))
      const halting = yield* fork(halt(cell))
      yield* settle
      assert.isUndefined(halting.pollUnsafe(), "its claim would fence the next generation")
      yield* TestClock.adjust(1000)
      yield* Fiber.join(halting)
      yield* Fiber.join(recovering)
      assert.deepInclude(cell, { phase: "halted", generation: 1 })
      const again = yield* fork(recover(cell))
      yield* TestClock.adjust(1000)
      yield* Fiber.join(again)
      assert.deepStrictEqual(started, [2])
    })
  )
})

describe("a crash", () => {
  it.effect("is reported once for each generation, and starts no more effects", () =>
    Effect.gen(function* () {
      let effects = 0
      const fails = Effect.suspend(() => {
        effects++
        return Effect.die("boom")
      })
      const Failing = Behavior.make("Counter", {
        ...spec,
        decide,
        evolve,
        react: { Broken: () => fails }
      }) as unknown as typeof Counter
      const { cell, counter, crashes } = yield* makeListed(Failing)
      for (const generation of [1, 2]) {
        yield* counter.tell.Break({ how: "react" })
        yield* counter.tell.Break({ how: "react" })
        yield* settle
        assert.deepStrictEqual(
          crashes.map((crash) => crash.generation),
          [1, 2].slice(0, generation)
        )
        assert.strictEqual(effects, generation)
        yield* Effect.andThen(halt(cell), recover(cell))
      }
    }).pipe(Effect.provide(Journal.layerMemory))
  )

  /** A note's effect fails after a second. */
  const failing = (effects: Array<string>) =>
    Behavior.make("Counter", {
      ...spec,
      decide,
      evolve,
      writtenBehind: ["Noted"],
      react: {
        Noted: () => Effect.andThen(Effect.sleep("1 second"), Effect.die("boom")),
        Added: () => Effect.sync(() => effects.push("added"))
      }
    }) as unknown as typeof Counter

  it.effect("lets what was decided be written first, and its callers hear of it", () =>
    Effect.gen(function* () {
      const { appends, journal, latch } = makeHeld()
      const effects: Array<string> = []
      const making = Effect.provideService(makeListed(failing(effects)), Journal, journal)
      const { cell, counter, crashes } = yield* making
      yield* counter.ask.Note({ text: "stored, and its effect fails" })
      latch.closeUnsafe()
      yield* counter.ask.Note({ text: "written behind" })
      const storing = yield* fork(counter.ask.Add({ n: 1 }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(crashes.length, 1)
      const halting = yield* fork(halt(cell))
      yield* settle
      assert.isUndefined(halting.pollUnsafe())
      latch.openUnsafe()
      yield* Fiber.join(halting)
      assert.strictEqual(yield* Fiber.join(storing), 1)
      assert.deepStrictEqual([appends.length, crashes.length], [3, 1])
      assert.deepStrictEqual(effects, [], "they would have no Scope")
      yield* recover(cell)
      assert.deepInclude(yield* counter.state, { sum: 1, notes: 2 })
    })
  )

  it.effect("lets an end that was decided before it take place", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const making = Effect.provideService(makeListed(failing([])), Journal, journal)
      const { cell, counter, crashes } = yield* making
      yield* counter.ask.Note({ text: "stored, and its effect fails" })
      latch.closeUnsafe()
      yield* counter.tell.Add({ n: 1 })
      const ending = yield* fork(counter.ask.End())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([crashes.length, cell.phase], [1, "crashed"])
      latch.openUnsafe()
      yield* settle
      assert.strictEqual(cell.phase, "ended", "no supervisor starts it again")
      yield* Fiber.join(ending)
      assert.strictEqual((yield* counter.ended).reason, "stopped")
    })
  )
})

describe("what comes back late", () => {
  it.effect("from an append of an actor that has ended changes nothing", () =>
    Effect.gen(function* () {
      for (const faulty of [false, true]) {
        const { faults, journal, latch } = makeHeld()
        const scope = yield* Scope.make()
        const { cell, counter, crashes } = yield* makeListed(Counter).pipe(
          Effect.provideService(Journal, journal),
          Scope.provide(scope)
        )
        latch.closeUnsafe()
        if (faulty) faults.push(failure)
        yield* counter.ask.Note({ text: "is being written" })
        const storing = yield* fork(Effect.flip(counter.ask.Add({ n: 1 })))
        yield* Scope.close(scope, Exit.void)
        latch.openUnsafe()
        yield* settle
        assert.deepInclude(yield* Fiber.join(storing), { reason: "released", outcome: "unknown" })
        assert.deepStrictEqual([cell.phase, crashes.length], ["ended", 0])
      }
    })
  )

  for (const named of [false, true]) {
    const what = named ? "a named epoch that lasts" : "no named epoch"
    it.effect(`as a signal of an older generation is dropped, with ${what}`, () =>
      Effect.gen(function* () {
        const { cell, heard } = yield* makeRinging(named)
        yield* Effect.andThen(halt(cell), recover(cell))
        yield* settle
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.deepStrictEqual(heard, [2])
      }).pipe(Effect.provide(Journal.layerMemory))
    )
  }
})

interface Rung {
  readonly _tag: "Rung"
  readonly by: number
}

/** Each generation sets a timer that its Scope cannot stop, as one of a native callback. */
const makeRinging = Effect.fnUntraced(function* (named: boolean) {
  const heard: Array<number> = []
  const Ringing = Behavior.make("Ringing", {
    commands: [],
    signals: Behavior.signals<Rung>(),
    events: Schema.TaggedStruct("None", {}),
    initial: {},
    ...(named ? { epoch: () => "00000001.1" as Epoch } : {}),
    decide: {
      Rung: (_, { by }) => {
        heard.push(by)
        return Decision.none
      }
    },
    evolve: { None: (state) => state },
    start: (_, self, { generation }) =>
      Effect.forkDetach(Effect.delay(self.signal.Rung({ by: generation }), "1 second"))
  })
  const cell = yield* makeCell(
    Ringing,
    "a",
    lifeWith(() => assert.fail("no crash"))
  )
  yield* recover(cell)
  return { cell, heard }
})

it.effect("a step that the table of phases does not have throws", () =>
  Effect.gen(function* () {
    const { cell } = yield* makeListed(Counter)
    assert.throws(() => transition(cell, "halted"), /Counter\/a cannot go from ready to halted/)
    assert.strictEqual(cell.phase, "ready")
  }).pipe(Effect.provide(Journal.layerMemory))
)

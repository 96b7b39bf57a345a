/**
 * Goal: what belongs to an older epoch changes nothing, and its resources are released before
 * those of the next one are acquired. Method: a connection whose timers outlive its epochs.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { fence } from "../../../src/actors/kernel/Epochs.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { staleResults } from "../../../src/actors/kernel/Metrics.ts"
import { Epoch, EpochSource } from "../../../src/schema/Epoch.ts"
import { makeHeld, settle } from "./journals.ts"

const Connect = Rpc.make("Connect", { success: Schema.UndefinedOr(Epoch) })
const Disconnect = Rpc.make("Disconnect")
const Connecting = Schema.TaggedStruct("Connecting", { epoch: Epoch })
const Disconnected = Schema.TaggedStruct("Disconnected", {})
const Connected = Schema.TaggedStruct("Connected", { by: Epoch })

interface Answered {
  readonly _tag: "Answered"
  readonly by: Epoch
}

interface State {
  readonly epoch: Epoch | undefined
  readonly answers: ReadonlyArray<Epoch>
}

/** Each Connect opens a new epoch, whose answer comes after `late`. */
const connection = (log: Array<string>, late: Duration.Input, guarded: boolean) => {
  const names = new Map<Epoch, number>()
  const name = (epoch: Epoch) => {
    if (!names.has(epoch)) names.set(epoch, names.size + 1)
    return names.get(epoch)
  }
  return Behavior.make("Connection", {
    commands: [Connect, Disconnect],
    signals: Behavior.signals<Answered>(),
    events: Schema.Union([Connecting, Connected, Disconnected]),
    initial: { epoch: undefined, answers: [] } as State,
    history: "none",
    epoch: (state) => state.epoch,
    decide: {
      Connect: (_, __, { fresh }) =>
        Decision.persist(Connecting.make({ epoch: fresh() })).pipe(
          Decision.thenReply((state: State) => state.epoch)
        ),
      Disconnect: () => Decision.persist(Disconnected.make({})),
      Answered: (_, { by }) => Decision.persist(Connected.make({ by }))
    },
    evolve: {
      Connecting: (state, { epoch }) => ({ ...state, epoch }),
      Disconnected: (state) => ({ ...state, epoch: undefined }),
      Connected: (state, { by }) => ({ ...state, answers: [...state.answers, by] })
    },
    react: {
      Connecting: ({ epoch }, self) => {
        const answer = Effect.delay(self.signal.Answered({ by: epoch }), late)
        return Effect.acquireRelease(
          Effect.sync(() => log.push(`acquire ${name(epoch)}`)),
          () =>
            Effect.andThen(
              Effect.yieldNow,
              Effect.sync(() => log.push(`release ${name(epoch)}`))
            )
        ).pipe(
          // An answer that the Scope of its epoch cannot stop, as one from a native callback.
          Effect.andThen(guarded ? answer : Effect.forkDetach(answer)),
          Effect.andThen(Effect.never)
        )
      }
    }
  })
}

const Next = Rpc.make("Next", { success: Schema.Int })
const Moved = Schema.TaggedStruct("Moved", { epoch: Epoch })

/** Each Next opens a new epoch. */
const moving = {
  commands: [Next],
  events: Moved,
  initial: { count: 0, epoch: undefined as Epoch | undefined },
  history: "none" as const,
  epoch: (state: { readonly epoch: Epoch | undefined }) => state.epoch,
  decide: {
    Next: (_: unknown, __: unknown, { fresh }: { readonly fresh: () => Epoch }) =>
      Decision.persist(Moved.make({ epoch: fresh() })).pipe(
        Decision.thenReply((state: { readonly count: number }) => state.count)
      )
  },
  evolve: {
    Moved: ({ count }: { readonly count: number }, { epoch }: typeof Moved.Type) => ({
      count: count + 1,
      epoch
    })
  }
}

/** The effect of an epoch fails while it is interrupted. */
const failing = (before: Effect.Effect<void>) =>
  Behavior.make("Failing", {
    ...moving,
    react: {
      Moved: () =>
        Effect.onInterrupt(Effect.never, () =>
          Effect.andThen(before, Effect.die(new Error("failed on the way out")))
        )
    }
  })

describe("an epoch", () => {
  it("is drawn once, carries its instance, and is valid on the wire", () => {
    const source = new EpochSource(0xbeef)
    const drawn = [source.next(), source.next()]
    assert.deepStrictEqual(drawn, ["0000beef.1", "0000beef.2"])
    for (const epoch of drawn) assert.strictEqual(Schema.decodeSync(Epoch)(epoch), epoch)
    assert.throws(() => Schema.decodeSync(Epoch)("beef.1"))
  })

  it.effect("releases what it acquired before the next one acquires", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const actor = yield* Actor.spawn(connection(log, "1 minute", true), "a")
      yield* actor.ask.Connect()
      yield* actor.ask.Connect()
      yield* actor.ask.Connect()
      assert.deepStrictEqual(log, ["acquire 1"], "the actor itself has not waited")
      yield* Effect.repeat(Effect.yieldNow, { times: 100 })
      assert.deepStrictEqual(log, ["acquire 1", "release 1", "acquire 2"])
    })
  )

  it.effect("drops, counts and outlives a late answer of an older one", () =>
    Effect.gen(function* () {
      const actor = yield* Actor.spawn(connection([], "5 seconds", false), "a")
      const first = yield* actor.ask.Connect()
      yield* TestClock.adjust("2 seconds")
      const second = yield* actor.ask.Connect()
      yield* TestClock.adjust("20 seconds")
      const { answers } = yield* actor.state
      assert.deepStrictEqual<ReadonlyArray<unknown>>(answers, [second])
      assert.notStrictEqual(first, second)
      const counted = Metric.withAttributes(staleResults, {
        owner: "Connection/a",
        what: "Answered"
      })
      assert.strictEqual((yield* Metric.value(counted)).count, 1)
    })
  )

  it.effect("ends when the state belongs to no epoch any more", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const actor = yield* Actor.spawn(connection(log, "5 seconds", false), "a")
      yield* actor.ask.Connect()
      yield* actor.ask.Disconnect()
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(log, ["acquire 1", "release 1"])
      assert.deepStrictEqual((yield* actor.state).answers, [])
    })
  )

  for (const [when, before] of [
    ["at once", Effect.void],
    ["some turns later", Effect.repeat(Effect.yieldNow, { times: 5 })]
  ] as const) {
    it.effect(`outlives an effect of an older one that fails ${when} when interrupted`, () =>
      Effect.gen(function* () {
        const actor = yield* Actor.spawn(failing(before), "a")
        const counts: Array<number> = []
        for (let n = 0; n < 4; n++) {
          counts.push(yield* actor.ask.Next())
          yield* Effect.repeat(Effect.yieldNow, { times: 100 })
        }
        assert.deepStrictEqual(counts, [1, 2, 3, 4])
      })
    )
  }

  it.effect("starts nothing if the release of the one before it has ended the actor", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const log: Array<string> = []
      const ending = Effect.sync(() => {
        log.push("release")
        Effect.runFork(Scope.close(scope, Exit.void))
      })
      const Ending = Behavior.make("Ending", {
        ...moving,
        react: {
          Moved: () =>
            Effect.andThen(
              Effect.sync(() => log.push("acquire")),
              Effect.addFinalizer(() => ending)
            )
        }
      })
      const actor = yield* Scope.provide(Actor.spawn(Ending, "a"), scope)
      yield* actor.ask.Next()
      yield* Effect.exit(actor.ask.Next())
      yield* settle
      assert.deepStrictEqual(log, ["acquire", "release"])
      assert.strictEqual((yield* actor.ended).reason, "released")
    })
  )

  it.effect("fence lets through what is current and drops the rest", () =>
    Effect.gen(function* () {
      const source = new EpochSource(1)
      const [old, current] = [source.next(), source.next()]
      const applied: Array<Epoch> = []
      for (const epoch of [old, current]) {
        const apply = Effect.sync(() => applied.push(epoch))
        yield* fence({ owner: "test", what: "result", epoch })(current, apply)
      }
      assert.deepStrictEqual(applied, [current])
    })
  )
})

/** Its signal comes when the test lets it, whatever has become of the epoch that it is from. */
const lingering = (
  send: Array<Effect.Effect<void, unknown>>,
  history: { readonly history: "none" } | { readonly writtenBehind: ReadonlyArray<"Moved"> }
) =>
  Behavior.make("Lingering", {
    ...history,
    commands: [Rpc.make("Move", { payload: { to: Schema.Array(Schema.UndefinedOr(Epoch)) } })],
    signals: Behavior.signals<{ readonly _tag: "Late" }>(),
    events: Schema.Union([
      Schema.TaggedStruct("Moved", { to: Schema.UndefinedOr(Epoch) }),
      Schema.TaggedStruct("Came", {})
    ]),
    initial: { epoch: undefined as Epoch | undefined, came: 0 },
    epoch: (state) => state.epoch,
    decide: {
      Move: (_, { to }) =>
        Decision.persist(...to.map((epoch) => ({ _tag: "Moved" as const, to: epoch }))),
      Late: () => Decision.persist({ _tag: "Came" as const })
    },
    evolve: {
      Moved: (state, { to }) => ({ ...state, epoch: to }),
      Came: (state) => ({ ...state, came: state.came + 1 })
    },
    react: {
      Moved: (_, self) => Effect.sync(() => send.push(self.signal.Late()))
    }
  })

describe("a signal from an epoch of the actor itself", () => {
  const first = Epoch.make("00000001.1")

  it.effect("B5: counts while that epoch lasts", () =>
    Effect.gen(function* () {
      const send: Array<Effect.Effect<void, unknown>> = []
      const actor = yield* Actor.spawn(lingering(send, { history: "none" }), "a")
      yield* actor.ask.Move({ to: [undefined] })
      yield* actor.ask.Move({ to: [undefined] })
      yield* Effect.orDie(send[0]!)
      yield* actor.ask.Move({ to: [] })
      assert.strictEqual((yield* actor.state).came, 1)
    })
  )

  for (const [when, moves, how] of [
    ["and was shown", [[first], [undefined]], "ask"],
    ["before it in its batch", [[first], [undefined]], "tell"],
    ["in one decision of its batch", [[first, undefined]], "tell"]
  ] as const) {
    it.effect(`B5: is dropped when another epoch came ${when}, and its like follows`, () =>
      Effect.gen(function* () {
        const send: Array<Effect.Effect<void, unknown>> = []
        const actor = yield* Actor.spawn(lingering(send, { history: "none" }), "a")
        yield* actor.ask.Move({ to: [undefined] })
        for (const to of moves) yield* actor[how].Move({ to })
        yield* Effect.orDie(send[0]!)
        yield* actor.ask.Move({ to: [] })
        assert.strictEqual((yield* actor.state).came, 0)
        yield* Effect.orDie(send.at(-1)!)
        yield* actor.ask.Move({ to: [] })
        assert.strictEqual((yield* actor.state).came, 1)
      })
    )
  }

  it.effect("B5: is dropped when another epoch came in events that are not stored yet", () =>
    Effect.gen(function* () {
      const { journal, latch } = makeHeld()
      const send: Array<Effect.Effect<void, unknown>> = []
      const spawn = Actor.spawn(lingering(send, { writtenBehind: ["Moved"] }), "a")
      const actor = yield* Effect.provideService(spawn, Journal, journal)
      yield* actor.ask.Move({ to: [undefined] })
      latch.closeUnsafe()
      for (const to of [[first], [undefined]]) yield* actor.ask.Move({ to })
      yield* Effect.orDie(send[0]!)
      yield* settle
      latch.openUnsafe()
      yield* settle
      assert.strictEqual((yield* actor.state).came, 0)
      yield* Effect.orDie(send.at(-1)!)
      yield* settle
      assert.strictEqual((yield* actor.state).came, 1)
    })
  )
})

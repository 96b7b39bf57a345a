/**
 * Goal: a caller can be answered by a later decision: once, in order, bounded, and not before the
 * events behind the answer are stored. Method: an oven whose bread is ready when a command says so,
 * on a synchronous and an asynchronous journal.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { MaxOpsBeforeYield } from "effect/Scheduler"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import { MailboxFull, Stopped } from "../../../src/actors/kernel/ActorError.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { fork, journals, makeHeld, settle } from "./journals.ts"

class Burnt extends Schema.TaggedError<Burnt>()("Burnt", { loaf: Schema.String }) {}

const Bake = Rpc.make("Bake", {
  payload: { loaf: Schema.String },
  success: Schema.Int,
  error: Burnt
})
const Finish = Rpc.make("Finish", {
  payload: { loaf: Schema.String, burnt: Schema.Boolean }
})
const Trip = Rpc.make("Trip")

class Begun extends Schema.TaggedClass<Begun>()("Begun", { loaf: Schema.String }) {}
class Finished extends Schema.TaggedClass<Finished>()("Finished", { loaf: Schema.String }) {}

const baked = (loaf: string) => Decision.pending<number, Burnt>(loaf)

const spec = {
  commands: [Bake, Finish, Trip],
  events: Schema.Union([Begun, Finished]),
  initial: { begun: [] as ReadonlyArray<string>, done: 0 },
  // `Trip` is here to crash the actor.
  onDefect: "crash" as const,
  limits: { waiting: 3 }
}
type State = typeof spec.initial
const tables = {
  decide: {
    Bake: (_: State, { loaf }: { loaf: string }) =>
      Decision.persist(new Begun({ loaf })).pipe(Decision.thenWait(baked(loaf))),
    Finish: ({ done }: State, { burnt, loaf }: { loaf: string; burnt: boolean }) =>
      Decision.persist(new Finished({ loaf })).pipe(
        Decision.thenSettle(
          baked(loaf),
          burnt ? Exit.fail(new Burnt({ loaf })) : Exit.succeed(done + 1)
        )
      ),
    Trip: (): Decision.Decision<never> => {
      throw new Error("the oven fell")
    }
  },
  evolve: {
    Begun: ({ begun, done }: State, { loaf }: Begun) => ({ begun: [...begun, loaf], done }),
    Finished: ({ begun, done }: State, { loaf }: Finished) => ({
      begun: begun.filter((one) => one !== loaf),
      done: done + 1
    })
  }
}
const Oven = Behavior.make("Oven", { ...spec, ...tables })
const Camp = Behavior.make("Camp", { ...spec, ...tables, history: "none" })

const finish = (loaf: string, burnt = false) => ({ loaf, burnt })

describe.each(journals)("a caller who waits for a later decision on %s", (_, journal) => {
  it.effect("hears it once, and so does everybody under the same key", () =>
    Effect.gen(function* () {
      const oven = yield* Actor.spawn(Oven, "a")
      const first = yield* fork(oven.ask.Bake({ loaf: "rye" }))
      const second = yield* fork(oven.ask.Bake({ loaf: "rye" }))
      const other = yield* fork(Effect.flip(oven.ask.Bake({ loaf: "oat" })))
      assert.isUndefined(first.pollUnsafe())
      yield* oven.ask.Finish(finish("rye"))
      assert.strictEqual(yield* Fiber.join(first), 1)
      assert.strictEqual(yield* Fiber.join(second), 1)
      assert.isUndefined(other.pollUnsafe())
      yield* oven.ask.Finish(finish("oat", true))
      assert.deepStrictEqual(yield* Fiber.join(other), new Burnt({ loaf: "oat" }))
      // Nobody waits any more, so settling again is harmless.
      yield* oven.ask.Finish(finish("rye"))
    }).pipe(Effect.provide(journal))
  )

  it.effect("is not reached by a settlement before its own command, in one batch", () =>
    Effect.gen(function* () {
      const oven = yield* Actor.spawn(Oven, "a")
      yield* oven.tell.Finish(finish("rye"))
      const late = yield* fork(oven.ask.Bake({ loaf: "rye" }))
      yield* oven.tell.Finish(finish("oat"))
      yield* Effect.yieldNow
      assert.isUndefined(late.pollUnsafe())
      yield* oven.ask.Finish(finish("rye"))
      assert.strictEqual(yield* Fiber.join(late), 3)
    }).pipe(Effect.provide(journal))
  )

  it.effect("is refused beyond the limit, and then nothing is stored", () =>
    Effect.gen(function* () {
      const oven = yield* Actor.spawn(Oven, "a")
      for (const loaf of ["a", "b", "c"]) yield* fork(oven.ask.Bake({ loaf }))
      const refused = yield* Effect.flip(oven.ask.Bake({ loaf: "d" }))
      assert.deepStrictEqual(
        refused,
        new MailboxFull({ actor: "Oven/a", queue: "waiting", limit: 3 })
      )
      assert.deepStrictEqual((yield* oven.state).begun, ["a", "b", "c"])
      yield* oven.ask.Finish(finish("a"))
      const taken = yield* fork(oven.ask.Bake({ loaf: "d" }))
      yield* oven.ask.Finish(finish("d"))
      assert.strictEqual(yield* Fiber.join(taken), 2)
    }).pipe(Effect.provide(journal))
  )

  it.effect("leaves its place when it goes", () =>
    Effect.gen(function* () {
      const oven = yield* Actor.spawn(Oven, "a")
      for (const loaf of ["a", "b", "b"]) {
        const waits = yield* fork(oven.ask.Bake({ loaf }))
        if (loaf === "b") yield* Fiber.interrupt(waits)
      }
      const third = yield* fork(oven.ask.Bake({ loaf: "b" }))
      const fourth = yield* fork(oven.ask.Bake({ loaf: "c" }))
      yield* oven.ask.Finish(finish("b"))
      assert.strictEqual(yield* Fiber.join(third), 1)
      yield* oven.ask.Finish(finish("c"))
      assert.strictEqual(yield* Fiber.join(fourth), 2)
    }).pipe(Effect.provide(journal))
  )

  it.effect("K8: leaves no place behind when it gives up before its command is stored", () =>
    Effect.gen(function* () {
      const { journal: slow, latch } = makeHeld()
      const oven = yield* Effect.provideService(Actor.spawn(Oven, "a"), Journal, slow)
      for (let round = 0; round < 3; round++) {
        latch.closeUnsafe()
        const asks = ["a", "b", "c"].map((loaf) =>
          fork(Effect.exit(oven.askWithin("1 second").Bake({ loaf })))
        )
        const waits = yield* Effect.all(asks)
        yield* TestClock.adjust("1 second")
        for (const fiber of waits) assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
        latch.openUnsafe()
        yield* settle
      }
      const third = yield* fork(oven.ask.Bake({ loaf: "d" }))
      yield* oven.ask.Finish(finish("d"))
      assert.strictEqual(yield* Fiber.join(third), 1)
    })
  )

  it.effect("K8: leaves no place behind wherever it is interrupted", () =>
    Effect.gen(function* () {
      const oven = yield* Actor.spawn(Oven, "a")
      for (let ops = 3; ops <= 12; ops++) {
        for (let turns = 0; turns < 12; turns++) {
          const ask = Effect.exit(oven.ask.Bake({ loaf: "rye" }))
          const caller = yield* Effect.forkChild(Effect.provideService(ask, MaxOpsBeforeYield, ops))
          yield* Effect.repeat(Effect.yieldNow, { times: turns })
          yield* Fiber.interrupt(caller)
        }
      }
      const asks = ["a", "b", "c"].map((loaf) => fork(oven.ask.Bake({ loaf })))
      const others = yield* Effect.all(asks)
      yield* settle
      for (const loaf of ["a", "b", "c"]) yield* oven.ask.Finish(finish(loaf))
      for (const other of others) assert.isNumber(yield* Fiber.join(other))
    }).pipe(Effect.provide(journal))
  )

  it.effect("K8: has a place whatever others ask in the same batch", () =>
    Effect.gen(function* () {
      const { journal: slow, latch } = makeHeld()
      const busy = yield* Effect.provideService(Actor.spawn(Oven, "b"), Journal, slow)
      latch.closeUnsafe()
      yield* fork(busy.ask.Finish(finish("held")))
      for (let reads = 0; reads < 5; reads++) yield* fork(busy.ask.Finish(finish("none")))
      const waits = yield* Effect.forEach(["a", "b", "c"], (loaf) => fork(busy.ask.Bake({ loaf })))
      const refused = yield* fork(Effect.flip(busy.ask.Bake({ loaf: "d" })))
      yield* fork(busy.ask.Finish(finish("a")))
      const inItsPlace = yield* fork(busy.ask.Bake({ loaf: "e" }))
      const alsoRefused = yield* fork(Effect.flip(busy.ask.Bake({ loaf: "f" })))
      latch.openUnsafe()
      assert.strictEqual((yield* Fiber.join(refused))._tag, "MailboxFull")
      assert.strictEqual((yield* Fiber.join(alsoRefused))._tag, "MailboxFull")
      for (const loaf of ["b", "c", "e"]) yield* busy.ask.Finish(finish(loaf))
      for (const fiber of [...waits, inItsPlace]) yield* Fiber.join(fiber)
    })
  )

  it.effect(
    "K8: takes the place of one who is answered before it, or gone, in the same batch",
    () =>
      Effect.gen(function* () {
        const { journal: slow, latch } = makeHeld()
        const oven = yield* Effect.provideService(Actor.spawn(Oven, "a"), Journal, slow)
        for (const loaf of ["a", "b", "c"]) yield* fork(oven.ask.Bake({ loaf }))
        latch.closeUnsafe()
        yield* fork(oven.ask.Finish(finish("none")))
        const gone = yield* fork(oven.ask.Bake({ loaf: "gone" }))
        yield* Fiber.interrupt(gone)
        yield* fork(oven.ask.Finish(finish("a")))
        const taken = yield* fork(oven.ask.Bake({ loaf: "d" }))
        latch.openUnsafe()
        yield* settle
        assert.deepStrictEqual((yield* oven.state).begun, ["b", "c", "gone", "d"])
        yield* oven.ask.Finish(finish("d"))
        assert.strictEqual(yield* Fiber.join(taken), 3)
      })
  )

  it.effect("K8: takes the place of one who is answered, however often the key is settled", () =>
    Effect.gen(function* () {
      const { journal: slow, latch } = makeHeld()
      const oven = yield* Effect.provideService(Actor.spawn(Oven, "a"), Journal, slow)
      for (const loaf of ["a", "b", "c"]) yield* fork(oven.ask.Bake({ loaf }))
      latch.closeUnsafe()
      yield* fork(oven.ask.Finish(finish("none")))
      for (let times = 0; times < 2; times++) yield* fork(oven.ask.Finish(finish("a")))
      yield* fork(oven.ask.Bake({ loaf: "d" }))
      const refused = yield* fork(Effect.flip(oven.ask.Bake({ loaf: "e" })))
      latch.openUnsafe()
      yield* settle
      assert.deepStrictEqual((yield* oven.state).begun, ["b", "c", "d"])
      assert.strictEqual((yield* Fiber.join(refused))._tag, "MailboxFull")
    })
  )

  it.effect("K8: has a place before its events are stored, also if they are written behind", () =>
    Effect.gen(function* () {
      const { journal: slow, latch } = makeHeld()
      const Hasty = Behavior.make("Oven", { ...spec, ...tables, writtenBehind: ["Begun"] })
      const oven = yield* Effect.provideService(Actor.spawn(Hasty, "a"), Journal, slow)
      latch.closeUnsafe()
      const asks = ["a", "b", "c"].map((loaf) => fork(oven.ask.Bake({ loaf })))
      const waits = yield* Effect.all(asks)
      assert.strictEqual((yield* Effect.flip(oven.ask.Bake({ loaf: "d" })))._tag, "MailboxFull")
      latch.openUnsafe()
      yield* settle
      for (const loaf of ["a", "b", "c"]) yield* oven.ask.Finish(finish(loaf))
      for (const fiber of waits) yield* Fiber.join(fiber)
    })
  )

  it.effect("K7: keeps its actor from becoming passive only while it waits", () =>
    Effect.gen(function* () {
      const released: Array<number> = []
      const Sleepy = Behavior.make("Oven", {
        ...spec,
        ...tables,
        passivateAfter: "1 minute",
        start: (_, __, { generation }) =>
          Effect.addFinalizer(() => Effect.sync(() => released.push(generation)))
      })
      const oven = yield* Actor.spawn(Sleepy, "a")
      const waits = yield* fork(oven.ask.Bake({ loaf: "rye" }))
      yield* settle
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(released, [])
      yield* Fiber.interrupt(waits)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(released, [1])
    }).pipe(Effect.provide(journal))
  )

  it.effect("waits on over a restart if there is a history", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make()
      const oven = yield* supervisor.spawn(Oven, "a")
      const waits = yield* fork(oven.ask.Bake({ loaf: "rye" }))
      yield* Effect.flip(oven.ask.Trip())
      yield* TestClock.adjust("1 second")
      assert.isUndefined(waits.pollUnsafe())
      yield* oven.ask.Finish(finish("rye"))
      assert.strictEqual(yield* Fiber.join(waits), 1)
    }).pipe(Effect.provide(journal))
  )

  it.effect("hears of a crash if there is none", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make()
      const camp = yield* supervisor.spawn(Camp, "a")
      const waits = yield* fork(Effect.flip(camp.ask.Bake({ loaf: "rye" })))
      yield* Effect.flip(camp.ask.Trip())
      const stopped = yield* Fiber.join(waits)
      assert.instanceOf(stopped, Stopped)
      assert.strictEqual((stopped as Stopped).outcome, "unknown")
    })
  )

  it.effect("hears of the end of the actor", () =>
    Effect.gen(function* () {
      const oven = yield* Actor.spawn(Oven, "a")
      const waits = yield* fork(Effect.flip(oven.ask.Bake({ loaf: "rye" })))
      yield* oven.stop
      const stopped = yield* Fiber.join(waits)
      assert.instanceOf(stopped, Stopped)
      assert.strictEqual((stopped as Stopped).reason, "stopped")
    }).pipe(Effect.provide(journal))
  )
})

/**
 * Goal: a supervisor does its work whatever the failures of its children print like, whatever the
 * logger does, and however its children end.
 * Method: children that fail with values that throw when they are printed, a logger that throws,
 * finalizers that fail or never end.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { crash, family, immediately, pass, worker } from "./family.ts"

const unprintable: ReadonlyArray<readonly [string, () => unknown]> = [
  [
    "an error whose message throws",
    () =>
      Object.defineProperty(new Error("x"), "message", {
        get: () => {
          throw new Error("no message")
        }
      })
  ],
  [
    "a revoked proxy",
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      return proxy
    }
  ],
  [
    "an object whose toJSON throws",
    () => ({
      toJSON: () => {
        throw new Error("no JSON")
      }
    })
  ]
]

describe("a supervisor", () => {
  for (const [name, failure] of unprintable) {
    it.effect(`restarts what failed with ${name}, and gives up when it has to`, () =>
      Effect.gen(function* () {
        const restarts = { max: 2, within: "1 minute" } as const
        const supervisor = yield* Supervisor.make({ backoff: immediately, restarts })
        const a = yield* supervisor.spawn(worker([]), "a")
        let runs = 0
        yield* supervisor.run(
          "failing",
          Effect.suspend(() => (++runs < 2 ? Effect.die(failure()) : Effect.never))
        )
        yield* pass("1 second")
        assert.strictEqual(runs, 2)
        yield* crash(a)
        assert.strictEqual(yield* a.ask.Work(), 1)
        const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
        yield* supervisor.run("last", Effect.die(failure()))
        yield* pass("1 second")
        assert.deepInclude(yield* Fiber.join(failed), { child: "last", restarts: 2 })
      }).pipe(Effect.provide(Journal.layerMemory))
    )
  }

  it.effect("restarts although the application's logger throws", () => {
    const broken = Logger.make(() => {
      throw new Error("the logger is broken")
    })
    return Effect.gen(function* () {
      const { a, b, supervisor } = yield* family({})
      const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
      yield* crash(b)
      assert.strictEqual(yield* b.ask.Work(), 1)
      assert.strictEqual(yield* a.ask.Work(), 1)
      assert.isUndefined(failed.pollUnsafe())
    }).pipe(Effect.provide(Layer.merge(Journal.layerMemory, Logger.layer([broken]))))
  })

  for (const [name, finalizer] of [
    ["fails", () => Effect.die("broken")],
    ["takes for ever", (gate: Latch.Latch) => gate.await]
  ] as const) {
    it.effect(`ends every child when it gives up, although a finalizer ${name}`, () =>
      Effect.gen(function* () {
        const gate = yield* Latch.make()
        const restarts = { max: 0, within: "1 minute" } as const
        const supervisor = yield* Supervisor.make({ backoff: immediately, restarts })
        const a = yield* supervisor.spawn(worker([]), "a")
        const run = Effect.andThen(
          Effect.addFinalizer(() => finalizer(gate)),
          Effect.never
        )
        yield* supervisor.run("run", run)
        const b = yield* supervisor.spawn(worker([]), "b")
        const failed = yield* Effect.forkChild(Effect.flip(supervisor.failed))
        yield* crash(b)
        assert.strictEqual((yield* Fiber.join(failed)).child, "Worker/b")
        const answer = yield* Effect.forkChild(Effect.exit(a.ask.Crash()))
        yield* pass("1 second")
        assert.isDefined(answer.pollUnsafe(), "the ask of a sibling has ended")
        const late = yield* Effect.forkChild(Effect.flip(a.ask.Work()))
        yield* pass("1 second")
        assert.deepInclude(yield* Fiber.join(late), { _tag: "Stopped", reason: "crashed" })
        yield* gate.open
      }).pipe(Effect.provide(Journal.layerMemory))
    )
  }
})

/**
 * Goal: work that waits for a peer costs nothing.
 * Method: a link whose handshake takes its time, once in a simulation, where each step is counted,
 * and once on this machine, where the CPU is.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Sim } from "../../src/testing/index.ts"
import { it } from "../../src/testing/vitest.ts"
import { pair, shared } from "./lab.ts"

const waits = (gate: number) =>
  Effect.gen(function* () {
    const { a, b } = yield* pair({ wires: { gate } })
    const own = yield* shared(a, "own", 4096, 1)
    yield* shared(b, "kept", 4096)
    yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
  })

describe("a slice that waits for its peer", () => {
  it.effect("R29, H10: takes two steps in five seconds", () =>
    Effect.gen(function* () {
      const stepsOf = Effect.fnUntraced(function* (gate: number) {
        const { exit, steps } = yield* Sim.run(waits(gate), { seed: 1 })
        assert.strictEqual(exit._tag, "Success")
        return steps
      })
      const short = yield* stepsOf(500)
      assert.strictEqual(yield* stepsOf(4_000), short)
      // Each `longestWait` the ways of the peer are looked at, in case all of them are paused.
      assert.strictEqual(yield* stepsOf(14_000), short + 2 * 2)
    })
  )

  it.live(
    "R29: takes less than a hundredth of a processor",
    () =>
      Effect.gen(function* () {
        const { a, b } = yield* pair({ wires: { gate: 5_500 } })
        const own = yield* shared(a, "own", 4096, 1)
        yield* shared(b, "kept", 4096)
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        const fiber = yield* Effect.forkChild(write)
        yield* Effect.sleep("400 millis")
        const before = process.threadCpuUsage()
        yield* Effect.sleep("5 seconds")
        const { system, user } = process.threadCpuUsage(before)
        assert.isBelow((user + system) / 5_000_000, 0.01)
        yield* Fiber.join(fiber)
      }).pipe(Effect.scoped),
    20_000
  )
})

/**
 * Goal: work that waits for a peer costs nothing.
 * Method: a link whose handshake takes its time, once in a simulation, where each step is counted,
 * and once on this machine, where the CPU is.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { pair, shared } from "./harness.ts"

const waits = (gate: number) =>
  Effect.gen(function* () {
    const { a, b } = yield* pair({ wires: { gate } })
    const own = yield* shared(a, "own", 4096, 1)
    yield* shared(b, "kept", 4096)
    yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
  })

describe("a slice that waits for its peer", () => {
  it.effect("R29, H10: takes no more steps for ten seconds than for half of one", () =>
    Effect.gen(function* () {
      const [short, long] = [500, 10_000].map((gate) => Sim.run(waits(gate), { seed: 1 }))
      const { exit, steps } = yield* short!
      assert.strictEqual(exit._tag, "Success")
      assert.strictEqual((yield* long!).steps, steps)
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

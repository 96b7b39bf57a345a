/**
 * Goal: fake timers and mocks of other tests do not switch the traps off.
 * Method: the first run of this process is under fakes, which are then taken off.
 */
import { assert, describe, it, vi } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { Sim, SimError } from "../../src/testing/index.ts"

describe("the traps", () => {
  it.live("B13: are set again after fake timers and mocks", () =>
    Effect.gen(function* () {
      vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout", "performance"] })
      const mock = vi.spyOn(Math, "random")
      yield* Sim.run(Effect.void, { seed: 1 })
      vi.useRealTimers()
      mock.mockRestore()
      const uses = [
        () => void Date.now(),
        () => void new Date(),
        () => void Math.random(),
        () => void performance.now(),
        () => void setTimeout(() => undefined, 1)
      ]
      for (const use of uses) {
        const { exit } = yield* Sim.run(Effect.sync(use), { seed: 1 })
        const error = exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(error, SimError.NotSimulated, String(use))
      }
    })
  )
})

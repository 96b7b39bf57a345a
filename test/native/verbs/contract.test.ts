/**
 * Goal: the simulated fabric keeps the published contract of providers, and the contract notices a
 * provider that does not.
 * Method: each demand runs on a fresh fabric under several seeds; then in copies of the sources
 * with one planted defect each, where at least one demand must fail.
 */
import { assert, describe } from "@effect/vitest"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Sim from "../../../src/testing/Sim.ts"
import { cases } from "../../../src/testing/VerbsContract.ts"
import { it } from "../../../src/testing/vitest.ts"
import { plantedName, withPlanted } from "../../planted.ts"
import { wideOr } from "../../wide.ts"
import { onFabric, programs } from "./demands.ts"

describe("the simulated fabric", () => {
  for (const demand of cases) it.sim(demand.name, { seeds: wideOr(20, 5) }, onFabric(demand))
})

describe("the simulated fabric whose writes end as they leave", () => {
  for (const demand of cases) it.sim(demand.name, { seeds: wideOr(20, 5) }, onFabric(demand, false))
})

describe("the simulated fabric in real time", () => {
  for (const demand of cases) {
    if (/several connections|in both directions|waited for a receive/.test(demand.name)) {
      it.live(demand.name, () => Effect.scoped(onFabric(demand)))
    }
  }
})

/** Random bytes that are none: the first key tells all others. */
const counting = (): Crypto => {
  let count = 0
  return Object.assign(Object.create(crypto) as Crypto, {
    getRandomValues: (array: Uint32Array) => array.fill(count++)
  })
}

describe("the contract of providers", () => {
  it.live("notices keys that can be guessed", () =>
    Effect.gen(function* () {
      const demand = cases.find(({ name }) => name === "keys are not to be guessed")!
      const program = Effect.suspend(() =>
        Effect.provideService(onFabric(demand), WebCrypto.WebCrypto, counting())
      )
      const report = yield* Sim.explore(program, { seeds: 1, checkShare: 0 })
      assert.strictEqual(report.failures, 1)
    })
  )

  // A demand that waits for ever is ended early, and nothing is shrunk.
  const settings = { seeds: 1, checkShare: 0, maxSteps: 20_000, shrinkAttempts: 0 }

  it.live("notices nothing on a fabric without a defect", () =>
    Effect.gen(function* () {
      for (const { name, program } of programs) {
        assert.strictEqual((yield* Sim.explore(program, settings)).failures, 0, name)
      }
    })
  )

  for (let defect = 1; defect <= 15; defect++) {
    const number = `V${defect}`
    it(`notices that ${plantedName(number)}`, { timeout: 60_000 }, () =>
      withPlanted<{ readonly programs: typeof programs }, void>(
        number,
        "test/native/verbs/demands.ts",
        async ({ programs }, simulator) => {
          // The demands behind the first one that fails would only cost time.
          for (const { program } of programs) {
            const report = await Effect.runPromise(simulator.explore(program, settings))
            if (report.failures > 0) return
          }
          assert.fail("no demand fails")
        }
      )
    )
  }
})

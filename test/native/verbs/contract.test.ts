/**
 * Goal: the simulated fabric keeps the published contract of providers, and the contract notices a
 * provider that does not.
 * Method: each demand runs on a fresh fabric under several seeds; then on fabrics with one planted
 * defect each, where at least one demand must fail.
 */
import { assert, describe } from "@effect/vitest"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import { Defects } from "../../../src/native/sim/defects.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import * as Sim from "../../../src/testing/Sim.ts"
import { type Case, cases, layerPair } from "../../../src/testing/VerbsContract.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"

/** A demand on two hosts of a fabric of its own, which must be empty in the end. */
const onFabric = ({ test }: Case, defects: Defects = {}) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const [a, b] = ["a", "b"].map((host) => SimVerbs.layer(fabric, { host }))
    yield* Effect.provide(test, layerPair(a!, b!))
    const left = Object.entries(fabric.resources()).filter(([, count]) => count > 0)
    assert.deepStrictEqual(left, [], "resources that are left")
    assert.strictEqual(fabric.counters.doubleCompletions, 0)
  }).pipe(Effect.provideService(Defects, defects))

describe("the simulated fabric", () => {
  for (const demand of cases) it.sim(demand.name, { seeds: wideOr(20, 5) }, onFabric(demand))
})

describe("the simulated fabric in real time", () => {
  for (const demand of cases) {
    if (/several connections|in both directions|waited for a receive/.test(demand.name)) {
      it.live(demand.name, () => Effect.scoped(onFabric(demand)))
    }
  }
})

/** Random octets that are none: the first key tells all others. */
const counting = (): Crypto => {
  let count = 0
  return Object.assign(Object.create(crypto) as Crypto, {
    getRandomValues: (array: Uint32Array) => array.fill(count++)
  })
}

const defects: Record<string, Defects> = {
  "a queue pair hears before it is ready": { hearEarly: true },
  "a failure flushes nothing": { skipFlush: true },
  "a message waits for a receive for ever": { endlessRnr: true },
  "rights are not looked at": { ignoreRights: true },
  "bounds are not looked at": { ignoreBounds: true },
  "protection domains are not looked at": { ignoreDomain: true },
  "a long message is cut": { cutLong: true },
  "a key stays valid": { skipInvalidate: true },
  "a write ends before it is done": { writeAfterAnswer: true },
  "a reset forgets what was posted": { forgetfulReset: true },
  "who accepts is too early": { acceptEarly: true },
  "private data is lost": { dropPrivateData: true },
  "a peer is not told of the end": { silentDisconnect: true },
  "a connection outlives its queue pair": { keepConnection: true },
  "each device calls memory differently": { addressPerDevice: true }
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

  /** Whether a demand fails. What waits for ever is ended early, and nothing is shrunk. */
  const fails = (demand: Case, defect: Defects) => {
    const settings = { seeds: 1, checkShare: 0, maxSteps: 20_000, shrinkAttempts: 0 }
    return Effect.map(
      Sim.explore(onFabric(demand, defect), settings),
      ({ failures }) => failures > 0
    )
  }

  it.live("notices nothing on a fabric without a defect", () =>
    Effect.gen(function* () {
      const failing = yield* Effect.filter(cases, (demand) => fails(demand, {}))
      assert.deepStrictEqual(failing, [])
    })
  )

  for (const [name, defect] of Object.entries(defects)) {
    it.live(`notices when ${name}`, () =>
      Effect.gen(function* () {
        // The demands behind the first one that fails would only cost time.
        for (const demand of cases) if (yield* fails(demand, defect)) return
        assert.fail("no demand fails")
      })
    )
  }
})

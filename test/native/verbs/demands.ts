/** The demands of the contract of providers, as programs on the simulated fabric. */
import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { type Case, cases, layerPair } from "../../../src/testing/VerbsContract.ts"

/** A demand on two hosts of a fabric of its own, which must be empty in the end. */
export const onFabric = ({ test }: Case, acknowledges = true) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const [a, b] = ["a", "b"].map((host) => SimVerbs.layer(fabric, { host, acknowledges }))
    yield* Effect.provide(test, layerPair(a!, b!))
    const left = Object.entries(fabric.resources()).filter(([, count]) => count > 0)
    assert.deepStrictEqual(left, [], "resources that are left")
    assert.strictEqual(fabric.counters.doubleCompletions, 0)
  })

export const programs = cases.map((demand) => ({ name: demand.name, program: onFabric(demand) }))

/** What tests of the simulated fabric share: two hosts on a fabric of their own, ends and posts. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import type { Pair } from "../../../src/testing/internal/contracts/verbs/pair.ts"
import { layerPair } from "../../../src/testing/VerbsContract.ts"

/** Runs a test on a fabric with the hosts `a` and `b`. */
export const onFabric = <E>(
  test: (fabric: SimFabric) => Effect.Effect<void, E, Pair | Scope.Scope>
): Effect.Effect<void, E, Scope.Scope> =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    const [a, b] = ["a", "b"].map((host) => SimVerbs.layer(fabric, { host }))
    yield* Effect.scoped(Effect.provide(test(fabric), layerPair(a!, b!)))
  })

/**
 * The contract of every provider of `Verbs`, as a list of tests that need no test framework.
 *
 * A provider passes when each test succeeds with two ends that reach each other:
 *
 * ```ts
 * for (const { name, test } of VerbsContract.casesFor(capabilities)) {
 *   it.live(name, () => Effect.provide(test, VerbsContract.layerPair(MyVerbs.layer)))
 * }
 * ```
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Capabilities, Verbs } from "../native/verbs/Verbs.ts"
import { connecting } from "./internal/contracts/verbs/connecting.ts"
import { disconnecting } from "./internal/contracts/verbs/disconnecting.ts"
import { flushing } from "./internal/contracts/verbs/flushing.ts"
import { memory } from "./internal/contracts/verbs/memory.ts"
import { type Case, Pair, Patience } from "./internal/contracts/verbs/pair.ts"
import { messages } from "./internal/contracts/verbs/messages.ts"
import { posting } from "./internal/contracts/verbs/posting.ts"
import { protection } from "./internal/contracts/verbs/protection.ts"
import { resources } from "./internal/contracts/verbs/resources.ts"
import { states } from "./internal/contracts/verbs/states.ts"

export { Pair, Patience }
export type { Case }

/** Two ends from two layers, or from one. */
export const layerPair = <E, R>(
  active: Layer.Layer<Verbs, E, R>,
  passive: Layer.Layer<Verbs, E, R> = active
): Layer.Layer<Pair, E, R> =>
  Layer.effect(
    Pair,
    Effect.all({
      active: Effect.map(Layer.build(active), (context) => Context.get(context, Verbs)),
      passive: Effect.map(Layer.build(passive), (context) => Context.get(context, Verbs))
    })
  )

/** All tests of the contract. */
export const cases: ReadonlyArray<Case> = [
  ...states,
  ...posting,
  ...messages,
  ...memory,
  ...protection,
  ...flushing,
  ...connecting,
  ...disconnecting,
  ...resources
]

/** The tests for a provider of these capabilities. */
export const casesFor = (capabilities: Capabilities): ReadonlyArray<Case> =>
  cases.filter(({ needs }) => needs.every((need) => capabilities[need]))

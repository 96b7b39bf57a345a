/**
 * What every provider of `Verbs` must do, as a list of tests that need no test framework.
 *
 * A provider of your own passes when each test succeeds with two ends that reach each other:
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
import { type Capabilities, Verbs } from "../native/Verbs.ts"
import { connecting } from "./internal/verbs/connecting.ts"
import { disconnecting } from "./internal/verbs/disconnecting.ts"
import { flushing } from "./internal/verbs/flushing.ts"
import { memory } from "./internal/verbs/memory.ts"
import { type Case, Pair } from "./internal/verbs/pair.ts"
import { messages } from "./internal/verbs/messages.ts"
import { posting } from "./internal/verbs/posting.ts"
import { protection } from "./internal/verbs/protection.ts"
import { resources } from "./internal/verbs/resources.ts"
import { states } from "./internal/verbs/states.ts"

export { Pair }
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

/** All demands. */
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

/** The demands on a provider of these capabilities. */
export const casesFor = (capabilities: Capabilities): ReadonlyArray<Case> =>
  cases.filter(({ needs }) => needs.every((need) => capabilities[need]))

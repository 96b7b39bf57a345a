import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Capabilities, Provider } from "../../../../native/verbs/Verbs.ts"

/** The two ends that a test of the verbs contract connects. They may be one provider. */
export class Pair extends Context.Service<
  Pair,
  { readonly active: Provider; readonly passive: Provider }
>()("handfast/testing/VerbsContract/Pair") {}

/**
 * One demand on a provider. The test fails, with a `ContractViolation` or with the provider's own
 * error, when the demand is not met. What is made for it is released before it ends.
 */
export interface Case {
  readonly name: string
  /** What a provider must be capable of for this to be demanded. */
  readonly needs: ReadonlyArray<keyof Capabilities>
  readonly test: Effect.Effect<void, unknown, Pair>
}

import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Capabilities, Provider } from "../../../../native/verbs/Verbs.ts"

/** The two ends that a test of the verbs contract connects. They may be one provider. */
export class Pair extends Context.Service<
  Pair,
  { readonly active: Provider; readonly passive: Provider }
>()("handfast/testing/VerbsContract/Pair") {}

/**
 * The longest duration of a test, in real or virtual time: some wait for exhausted retries. An
 * emulated machine needs more.
 */
export const Patience = Context.Reference<Duration.Input>(
  "handfast/testing/VerbsContract/Patience",
  {
    defaultValue: () => "20 seconds"
  }
)

/**
 * One test of the contract. It fails with a `ContractViolation` or with the provider's error. The
 * resources that it creates are released before it ends.
 */
export interface Case {
  readonly name: string
  /** The capabilities that a provider needs for this test. */
  readonly needs: ReadonlyArray<keyof Capabilities>
  readonly test: Effect.Effect<void, unknown, Pair>
}

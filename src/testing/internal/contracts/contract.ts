/** Helpers for the tests of published contracts. */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"

/** An implementation breaks the contract. */
export class ContractViolation extends Schema.TaggedError<ContractViolation>()(
  "ContractViolation",
  { detail: Schema.String }
) {
  override get message() {
    return this.detail
  }
}

/** Fails unless both are structurally equal. */
export const same = (actual: unknown, expected: unknown, what: string) =>
  Equal.equals(actual, expected)
    ? Effect.void
    : Effect.fail(
        new ContractViolation({
          detail: `${what}: expected ${show(expected)}, found ${show(actual)}`
        })
      )

/** The tag of an operation's error, or "nothing". */
export const failureOf = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E, R>
) => Effect.match(effect, { onFailure: (error): string => error._tag, onSuccess: () => "nothing" })

const show = (value: unknown) => {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 300 ? `${text.slice(0, 300)}...` : text
}

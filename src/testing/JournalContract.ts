/**
 * What every journal must do, as a list of tests that need no test framework.
 *
 * A journal of your own passes when each test succeeds with an empty journal of its own:
 *
 * ```ts
 * for (const { name, test } of JournalContract.cases) {
 *   it.live(name, () => Effect.provide(test, MyJournal.layer))
 * }
 * ```
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Journal } from "../actors/kernel/Journal.ts"
import { appending } from "./internal/journal/appending.ts"
import { fencing } from "./internal/journal/fencing.ts"
import { projections } from "./internal/journal/projections.ts"
import { pruning } from "./internal/journal/pruning.ts"
import { reading } from "./internal/journal/reading.ts"
import { snapshots } from "./internal/journal/snapshots.ts"
import { tags } from "./internal/journal/tags.ts"

/**
 * One demand on a journal. The test fails, with a `ContractViolation` or with the journal's own
 * error, when the demand is not met.
 *
 * @category models
 * @since 0.1.0
 */
export interface Case {
  readonly name: string
  readonly test: Effect.Effect<void, unknown, Journal>
}

/**
 * All demands. Each one wants an empty journal.
 *
 * @category tests
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  ...appending,
  ...fencing,
  ...reading,
  ...snapshots,
  ...pruning,
  ...tags,
  ...projections
]

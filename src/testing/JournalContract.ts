/**
 * The contract of every journal, as a list of tests that need no test framework.
 *
 * A journal passes when each test succeeds with a new, empty one:
 *
 * ```ts
 * for (const { name, test } of JournalContract.cases) {
 *   it.live(name, () => Effect.provide(test, MyJournal.layer))
 * }
 * ```
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Journal } from "../actors/kernel/Journal.ts"
import * as Agreement from "./internal/contracts/journal/agreement.ts"
import { appending } from "./internal/contracts/journal/appending.ts"
import type { Case } from "./internal/contracts/journal/cases.ts"
import { fencing } from "./internal/contracts/journal/fencing.ts"
import { projections } from "./internal/contracts/journal/projections.ts"
import { pruning } from "./internal/contracts/journal/pruning.ts"
import { reading } from "./internal/contracts/journal/reading.ts"
import { snapshots } from "./internal/contracts/journal/snapshots.ts"
import { tags } from "./internal/contracts/journal/tags.ts"

export type { Case }

/** Settings of the comparison of a journal with one in memory. */
export interface AgreementOptions<E, R> extends Agreement.AgreementOptions<E, R> {}

/**
 * Runs random operations on an empty journal and on one in memory, and fails with a
 * `ContractViolation`, which names the seed, at the first answer that differs. If the journal
 * outlives its layer, the layer is closed and built again now and then.
 *
 * `cases` does this under a few seeds and without closing the layer.
 */
export const agreement: <E, R>(options: AgreementOptions<E, R>) => Effect.Effect<void, unknown, R> =
  Agreement.agreement

const seeds = [1, 2, 3, 4, 5]

const agreeing = seeds.map((seed): Case => ({
  name: `random operations have the answers of a journal in memory, seed ${seed}`,
  test: Effect.flatMap(Journal, (journal) =>
    agreement({ seed, journal: Layer.succeed(Journal, journal) })
  )
}))

/** All tests of the contract. Each one needs an empty journal. */
export const cases: ReadonlyArray<Case> = [
  ...appending,
  ...fencing,
  ...reading,
  ...snapshots,
  ...pruning,
  ...tags,
  ...projections,
  ...agreeing
]

/** The inputs that a run draws with `Sim.draw`, by their order; each may be given instead. */
import type * as Schema from "effect/Schema"

/** Values that replace drawn ones. */
export type GivenInputs = ReadonlyMap<number, unknown>

/** An input that was drawn. */
export interface DrawnInput {
  readonly schema: Schema.Constraint
  readonly seed: number
  readonly size: number | undefined
  value: unknown
}

/** The inputs of one run. */
export class Inputs {
  readonly drawn: Array<DrawnInput> = []
  given: GivenInputs | undefined = undefined
}

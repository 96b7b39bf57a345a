/** The inputs that a run draws with `Sim.draw`, by their order; each may be given instead. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** Values that replace drawn ones, as JSON. */
export type GivenInputs = ReadonlyMap<number, Schema.Json>

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

/** Schemas of drawn values need no services: they are decoded without any. */
const codecOf = (schema: Schema.Constraint): Schema.Codec<unknown, Schema.Json> =>
  Schema.toCodecJson(schema) as never

/** Encodes a drawn value as JSON; fails for a schema without such a form. */
export const encodeInput = (schema: Schema.Constraint, value: unknown) =>
  Effect.suspend(() => Schema.encodeUnknownEffect(codecOf(schema))(value))

/** Decodes a given value. */
export const decodeInput = (schema: Schema.Constraint, json: Schema.Json) =>
  Effect.suspend(() => Schema.decodeUnknownEffect(codecOf(schema))(json))

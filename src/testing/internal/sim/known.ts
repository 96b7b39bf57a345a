/** Refuses names that mean nothing: a misspelt one would make a test of nothing. */
import { UnknownName } from "../../SimError.ts"

/** Throws for a name that is not known. */
export const refuseUnknown = (
  what: string,
  names: ReadonlyArray<string>,
  known: Iterable<string>
): void => {
  const all = [...known]
  const name = names.find((name) => !all.includes(name))
  if (name !== undefined) throw new UnknownName({ what, name, known: all })
}

/** The names of all options of a type, held against the type by the compiler. */
export type Known<Options> = Readonly<Record<keyof Options, true>>

/** Throws for an option that is not known: the compiler does not see those of a variable. */
export const refuseUnknownOptions = <Options extends object>(
  what: string,
  options: Options,
  known: Known<Options>
): void => refuseUnknown(what, Object.keys(options), Object.keys(known))

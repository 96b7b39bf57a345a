/** Refuses unknown names: with a misspelt one, a test would test nothing. */
import { UnknownName } from "../../SimError.ts"

/** Throws for an unknown name. */
export const refuseUnknown = (
  what: string,
  names: ReadonlyArray<string>,
  known: Iterable<string>
): void => {
  const all = [...known]
  const name = names.find((name) => !all.includes(name))
  if (name !== undefined) throw new UnknownName({ what, name, known: all })
}

/** The names of all options of a type; the compiler checks that none is missing. */
export type Known<Options> = Readonly<Record<keyof Options, true>>

/** Throws for an unknown option: the compiler does not check those of a variable. */
export const refuseUnknownOptions = <Options extends object>(
  what: string,
  options: Options,
  known: Known<Options>
): void => refuseUnknown(what, Object.keys(options), Object.keys(known))

/** Divides seeds among processes, so that the result does not depend on their number. */

/** Fewer seeds than this are run at once; a process takes a second to begin. */
const seedsWorthAProcess = 100

/** A range of seeds. */
export interface Share {
  readonly from: number
  readonly seeds: number
}

/**
 * About equal shares of the seeds, in order. Each begins a multiple of `align` seeds after the
 * first one, so that seeds that are compared at this interval are the same ones in every division.
 */
export const shares = (all: Share, processes: number, align = 1): ReadonlyArray<Share> => {
  const count = all.seeds < seedsWorthAProcess ? 1 : Math.max(1, Math.floor(processes))
  const begin = (part: number): number =>
    part === count ? all.seeds : Math.floor((all.seeds * part) / count / align) * align
  return Array.from({ length: count }, (_, part) => ({
    from: all.from + begin(part),
    seeds: begin(part + 1) - begin(part)
  })).filter(({ seeds }) => seeds > 0)
}

/** The descriptor by which a process returns the result of its share. */
export const resultPipe = 3

const foundKey = "handfast/share"

/** Notes the result of a share in its test, of which the process's reporter is told. */
export const noteFound = (meta: object, found: object): void => {
  Object.assign(meta, { [foundKey]: found })
}

/** The result that a test has noted, if it has. */
export const foundIn = (meta: object): unknown => Reflect.get(meta, foundKey)

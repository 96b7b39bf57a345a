/**
 * What is held, and in which order it goes: a resource that ends takes what was made on it along
 * first, whatever order the Scopes close in.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Sorts of resources, in the order in which they go. */
const order = [
  "listener",
  "connection",
  "queue pair",
  "region",
  "completion queue",
  "protection domain",
  "device"
] as const

/** A sort of resource. */
export type Sort = (typeof order)[number]

/** Something that is released once, together with all that was made on it. */
export class Holding {
  readonly sort: Sort
  readonly #owners: ReadonlyArray<Holding>
  readonly #held = new Set<Holding>()
  readonly #end: () => void
  #isReleased = false

  constructor(sort: Sort, owners: ReadonlyArray<Holding>, end: () => void) {
    this.sort = sort
    this.#owners = owners
    this.#end = end
    for (const owner of owners) owner.#held.add(this)
  }

  get isReleased(): boolean {
    return this.#isReleased
  }

  /** How many of a sort are held, however deep. */
  count(sort: Sort): number {
    let count = 0
    for (const holding of this.#all()) if (holding.sort === sort) count += 1
    return count
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    const rank = ({ sort }: Holding) => order.indexOf(sort)
    for (const holding of [...this.#all()].toSorted((a, b) => rank(a) - rank(b))) holding.release()
    this.#end()
    for (const owner of this.#owners) owner.#held.delete(this)
  }

  #all(into: Set<Holding> = new Set()): ReadonlySet<Holding> {
    for (const holding of this.#held) {
      into.add(holding)
      holding.#all(into)
    }
    return into
  }
}

/** Makes something that is released with the Scope, or with what it was made on before that. */
export const hold = <A extends { readonly holding: Holding }, E>(
  make: Effect.Effect<A, E>
): Effect.Effect<A, E, Scope.Scope> =>
  Effect.acquireRelease(make, ({ holding }) => Effect.sync(() => holding.release()))

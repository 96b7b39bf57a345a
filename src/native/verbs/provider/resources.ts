/**
 * What is held, and in which order it goes: a resource that ends takes what was made on it along
 * first, whatever order the Scopes close in.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Released } from "../VerbsError.ts"

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
  /** What all of it was made on in the end: the device. */
  readonly #root: Holding
  readonly #owners: ReadonlyArray<Holding>
  readonly #held = new Set<Holding>()
  readonly #end: () => void
  /** Of a root: how many of each sort there are on it. */
  readonly #counts = new Map<Sort, number>()
  #isReleased = false
  #isRemoved = false

  constructor(sort: Sort, owners: ReadonlyArray<Holding>, end: () => void) {
    this.sort = sort
    this.#owners = owners
    this.#end = end
    const [first] = owners
    this.#root = first === undefined ? this : first.#root
    this.#count(1)
    for (const owner of owners) owner.#held.add(this)
  }

  get isReleased(): boolean {
    return this.#isReleased
  }

  /** Why nothing can be done with it any more, if that is so; `resource` is its name. */
  gone(resource: string = this.sort): Released | undefined {
    if (this.#root.#isRemoved) return new Released({ resource, reason: "device-removed" })
    return this.#isReleased ? new Released({ resource, reason: "released" }) : undefined
  }

  /** How many of a sort are on its device. */
  count(sort: Sort): number {
    return this.#root.#counts.get(sort) ?? 0
  }

  /** The device was pulled out: nobody listens any more, and the rest waits to be released. */
  remove(): void {
    this.#isRemoved = true
    for (const holding of this.#held) if (holding.sort === "listener") holding.release()
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#count(-1)
    const rank = ({ sort }: Holding) => order.indexOf(sort)
    for (const holding of [...this.#all()].toSorted((a, b) => rank(a) - rank(b))) holding.release()
    this.#end()
    for (const owner of this.#owners) owner.#held.delete(this)
  }

  #count(by: number): void {
    this.#root.#counts.set(this.sort, this.count(this.sort) + by)
  }

  #all(into: Set<Holding> = new Set()): ReadonlySet<Holding> {
    for (const holding of this.#held) {
      into.add(holding)
      holding.#all(into)
    }
    return into
  }
}

/** What is held. */
export interface Held {
  readonly holding: Holding
}

/** Makes something that is released with the Scope, or with what it was made on before that. */
export const hold = <A extends Held, E, R>(
  make: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Scope.Scope> =>
  Effect.acquireRelease(make, ({ holding }) => Effect.sync(() => holding.release()))

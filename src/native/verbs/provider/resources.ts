/**
 * Tree of verbs resources. Releasing a resource first releases everything created on it, in a
 * fixed order, regardless of the order in which Scopes close.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Released } from "../VerbsError.ts"

/** Kinds of resources, in the order in which they are released. */
const releaseOrder = [
  "listener",
  "connection",
  "queue pair",
  "region",
  "completion queue",
  "protection domain",
  "device"
] as const

export type ResourceKind = (typeof releaseOrder)[number]

/** A resource that is released once, after all that was created on it. */
export class Resource {
  readonly kind: ResourceKind
  /** The device, at the root of the tree. */
  readonly #root: Resource
  readonly #owners: ReadonlyArray<Resource>
  readonly #children = new Set<Resource>()
  readonly #onRelease: () => void
  /** At a root: the number of resources of each kind in the tree. */
  readonly #counts = new Map<ResourceKind, number>()
  #isReleased = false
  #isRemoved = false

  constructor(kind: ResourceKind, owners: ReadonlyArray<Resource>, onRelease: () => void) {
    this.kind = kind
    this.#owners = owners
    this.#onRelease = onRelease
    const [first] = owners
    this.#root = first === undefined ? this : first.#root
    this.#addCount(1)
    for (const owner of owners) owner.#children.add(this)
  }

  get isReleased(): boolean {
    return this.#isReleased
  }

  /** The error of operations on the resource once it, or its device, is gone. */
  releasedError(resource: string = this.kind): Released | undefined {
    if (this.#root.#isRemoved) return new Released({ resource, reason: "device-removed" })
    return this.#isReleased ? new Released({ resource, reason: "released" }) : undefined
  }

  /** Counts the resources of a kind on the same device. */
  count(kind: ResourceKind): number {
    return this.#root.#counts.get(kind) ?? 0
  }

  /** Marks the device as removed: releases its listeners; the rest waits to be released. */
  markRemoved(): void {
    this.#isRemoved = true
    for (const child of this.#children) if (child.kind === "listener") child.release()
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#addCount(-1)
    const rank = ({ kind }: Resource) => releaseOrder.indexOf(kind)
    for (const child of [...this.#descendants()].toSorted((a, b) => rank(a) - rank(b))) {
      child.release()
    }
    this.#onRelease()
    for (const owner of this.#owners) owner.#children.delete(this)
  }

  #addCount(by: number): void {
    this.#root.#counts.set(this.kind, this.count(this.kind) + by)
  }

  #descendants(into: Set<Resource> = new Set()): ReadonlySet<Resource> {
    for (const child of this.#children) {
      into.add(child)
      child.#descendants(into)
    }
    return into
  }
}

export interface HasResource {
  readonly resource: Resource
  /** Waits for what a release leaves to other threads. Default: nothing. */
  readonly settled?: Effect.Effect<void>
}

/** Creates an object whose resource is released with the Scope, or with its owner before that. */
export const acquireResource = <A extends HasResource, E, R>(
  make: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Scope.Scope> =>
  Effect.acquireRelease(make, ({ resource, settled = Effect.void }) =>
    Effect.andThen(
      Effect.sync(() => resource.release()),
      settled
    )
  )

/** Whether a device has created an object that a program passes in. */
export const isMadeBy = <A extends object>(made: WeakSet<A>, object: object): object is A =>
  (made as WeakSet<object>).has(object)

/**
 * The repairs of a supervisor that are under way: fibers that halt and start some of its children.
 *
 * Each child is in at most one, and leaves it when it has begun. A repair that needs a child of an
 * earlier one replaces that one and takes over the children that have not begun yet.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Child } from "./child.ts"

export interface Repair {
  readonly members: ReadonlyArray<Child>
  /** Set before anything but the repair itself runs. */
  fiber: Fiber.Fiber<void> | undefined
}

/** Interrupts repairs and waits for their uninterruptible steps. */
export const interruptRepairs = (repairs: Iterable<Repair>): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.suspend(() => Fiber.interruptAll([...repairs].flatMap(({ fiber }) => fiber ?? [])))
  )

export class Repairs {
  readonly #context: Context.Context<never>
  readonly #byChild = new Map<Child, Repair>()

  constructor(context: Context.Context<never>) {
    this.#context = context
  }

  run(members: ReadonlyArray<Child>, effect: Effect.Effect<void>): Fiber.Fiber<void> {
    const repair: Repair = { members, fiber: undefined }
    for (const child of members) this.#byChild.set(child, repair)
    const fiber = Effect.runForkWith(this.#context)(effect)
    repair.fiber = fiber
    fiber.addObserver(() => {
      for (const child of members) {
        if (this.#byChild.get(child) === repair) this.#byChild.delete(child)
      }
    })
    return fiber
  }

  /** Removes a child that has begun from its repair. */
  leave(child: Child): void {
    this.#byChild.delete(child)
  }

  /** The repairs that some of the children are still in. */
  of(children: ReadonlyArray<Child>): ReadonlyArray<Repair> {
    return [...new Set(children.flatMap((child) => this.#byChild.get(child) ?? []))]
  }

  /** The children that have not begun yet, or whose beginning may still fail. */
  rest(repair: Repair): ReadonlyArray<Child> {
    return repair.members.filter(
      (child) =>
        this.#byChild.get(child) === repair && (child.record.restarting || child.isBeginning)
    )
  }

  get all(): ReadonlySet<Repair> {
    return new Set(this.#byChild.values())
  }
}

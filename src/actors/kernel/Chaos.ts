/**
 * Named places where a simulation may disturb production code.
 *
 * Rare interleavings sit between two lines of real code: after an event is stored and before the
 * reply leaves, between a state change and its announcement. A chaos site names such a place.
 * Outside a simulation it costs one lookup and allocates nothing; inside, each run first draws
 * whether the site is active at all and then, at each pass, whether it fires. Make a site once,
 * beside the code it belongs to:
 *
 * ```ts
 * const beforeReply = Chaos.site("after-persist-before-reply")
 * ```
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * Decides at chaos sites. Its methods are synchronous, so that code outside of a fiber can keep the
 * service and call it directly.
 */
export interface Chaos {
  /** Effect of a fiber at the site: nothing, a yield or a short sleep. */
  readonly pass: (site: string) => Effect.Effect<void>
  /** Whether the site fails at this pass. */
  readonly fires: (site: string) => boolean
  /** Records that the site was reached, and whether its condition was true. */
  readonly mark: (name: string, hit: boolean) => void
}

const quiet: Chaos = {
  pass: () => Effect.void,
  fires: () => false,
  mark: () => undefined
}

/** The service that decides at the sites; a simulation provides another one. */
export const Chaos: Context.Reference<Chaos> = Context.Reference<Chaos>("handfast/actors/Chaos", {
  defaultValue: () => quiet
})

/** A place where a simulation may let other fibers run first, or let time pass. */
export const site = (name: string): Effect.Effect<void> =>
  Effect.withFiber((fiber) => fiber.getRef(Chaos).pass(name))

/** A place where a simulation may fail with an error that the real code could meet too. */
export const failure = <E>(name: string, error: () => E): Effect.Effect<void, E> =>
  Effect.withFiber((fiber) =>
    fiber.getRef(Chaos).fires(name) ? Effect.fail(error()) : Effect.void
  )

/**
 * Requires that `condition` is true here at least once over a set of runs. A test that never
 * reaches the rare case it was written for passes for the wrong reason; this makes it fail.
 */
export const sometimes = (name: string, condition = true): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    fiber.getRef(Chaos).mark(name, condition)
    return Effect.void
  })

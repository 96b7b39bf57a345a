/**
 * The bounded places of a store: which peer has one, gets one, and gives way. At a limit, an
 * endpoint that is neither connecting nor in use is evicted, or there is no place.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type AskedBy, BoundedStore } from "../../link/BoundedStore.ts"
import type { Leaving } from "./disconnectNotices.ts"
import type { Meter } from "./meter.ts"
import { hasEnded, type Place, spawnedAt, type Spawning } from "./places.ts"

export interface Bounds {
  readonly capacity: number
  /** Endpoints that only offers of peers have asked for. */
  readonly answered: number
  /** Evicted endpoints that may still be draining. */
  readonly retiring: number
}

/** Spawns the endpoint towards a peer, once something has ended. */
export type Spawn = (peer: string, after: Effect.Effect<void>) => Spawning

export class Places {
  readonly #bounds: Bounds
  readonly #leaving: Leaving
  readonly #meter: Meter
  readonly #spawn: Spawn
  readonly #places: BoundedStore<string, Place>
  /** By peer, waits for the end of an evicted endpoint that is still being drained. */
  readonly #evicted = new Map<string, Effect.Effect<void>>()

  constructor(
    bounds: Bounds,
    eviction: "sieve" | "fifo" | undefined,
    leaving: Leaving,
    meter: Meter,
    spawn: Spawn
  ) {
    this.#bounds = bounds
    const { answered, capacity } = bounds
    this.#places = new BoundedStore({ capacity, guests: answered }, eviction)
    this.#leaving = leaving
    this.#meter = meter
    this.#spawn = spawn
  }

  get size(): number {
    return this.#places.size
  }

  get(peer: string): Place | undefined {
    return this.#places.get(peer)
  }

  get all(): ReadonlyArray<Place> {
    return this.#places.values
  }

  /** The place of a peer's endpoint, made if need be; fails with the limit that is reached. */
  find(peer: string, by: AskedBy): Effect.Effect<Place, number> {
    return Effect.suspend(() => {
      const found = this.#places.use(peer, by)
      if (found !== undefined && !hasEnded(found)) return Effect.succeed(found)
      this.#places.delete(peer)
      const limit = this.#places.limitReached(by)
      if (limit === undefined) return Effect.succeed(this.#add(peer, by))
      if (this.#evicted.size >= this.#bounds.retiring) return Effect.fail(limit)
      const victim = this.#places.evict(by, isIdle)
      if (victim === undefined) return Effect.fail(limit)
      return Effect.as(Effect.forkDetach(this.#release(...victim)), this.#add(peer, by))
    })
  }

  #add(peer: string, by: AskedBy): Place {
    const spawning = this.#spawn(peer, this.#evicted.get(peer) ?? Effect.void)
    const place: Place = { spawning, link: undefined }
    this.#places.add(peer, place, by)
    place.spawning.addObserver((exit) => {
      if (Exit.isFailure(exit) && this.#places.get(peer) === place) this.#places.delete(peer)
    })
    return place
  }

  /** Its queue pairs are drained and destroyed beside the life of its successor. */
  #release(peer: string, { link, spawning }: Place): Effect.Effect<void> {
    const endpoint = Fiber.join(spawning)
    this.#meter.retiring(1)
    this.#evicted.set(peer, Effect.ignore(Effect.flatMap(endpoint, ({ ended }) => ended)))
    const retired =
      link?.isOpen === true
        ? this.#leaving.retire(spawning, {
            epoch: link.epoch,
            reason: "retired",
            detail: "evicted"
          })
        : Effect.void
    return retired.pipe(
      Effect.andThen(endpoint),
      Effect.flatMap(({ stop }) => stop),
      Effect.ignore,
      Effect.ensuring(
        Effect.sync(() => {
          this.#evicted.delete(peer)
          this.#meter.retiring(-1)
        })
      )
    )
  }
}

/** Only an endpoint that is neither connecting nor in use may go. */
const isIdle = (place: Place): boolean => {
  const endpoint = spawnedAt(place)
  if (endpoint === undefined) return false
  const { _tag } = Effect.runSync(endpoint.state)
  return _tag === "Idle" || (_tag === "Ready" && place.link?.isQuiet === true)
}

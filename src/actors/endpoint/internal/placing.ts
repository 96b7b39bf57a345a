/**
 * The bounded places of a store: who has one, who gets one, and who gives way. At a limit, an
 * endpoint that is neither connecting nor in use is evicted, or nobody gets a place.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Eviction } from "../../link/Eviction.ts"
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

/** Who wants the place: this side, or the offer of a peer. */
export type By = "own" | "offer"

/** Spawns the endpoint towards a peer, once something has ended. */
export type Spawn = (peer: string, after: Effect.Effect<void>) => Spawning

export class Places {
  readonly #bounds: Bounds
  readonly #leaving: Leaving
  readonly #meter: Meter
  readonly #order: Eviction<string>
  readonly #spawn: Spawn
  readonly #places = new Map<string, Place>()
  /** Peers whose endpoints nobody but their offers has asked for. */
  readonly #answered = new Set<string>()
  /** By peer, waits for the end of an evicted endpoint that is still being drained. */
  readonly #evicted = new Map<string, Effect.Effect<void>>()

  constructor(
    bounds: Bounds,
    order: Eviction<string>,
    leaving: Leaving,
    meter: Meter,
    spawn: Spawn
  ) {
    this.#bounds = bounds
    this.#order = order
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
    return [...this.#places.values()]
  }

  /** The place of a peer's endpoint, made if need be; fails with the limit that is reached. */
  find(peer: string, by: By): Effect.Effect<Place, number> {
    return Effect.suspend(() => {
      if (by === "own") this.#answered.delete(peer)
      const found = this.#places.get(peer)
      if (found !== undefined && !hasEnded(found)) {
        this.#order.touch(peer)
        return Effect.succeed(found)
      }
      if (found !== undefined) this.#drop(peer)
      const { answered, capacity, retiring } = this.#bounds
      const isCrowded = by === "offer" && this.#answered.size >= answered
      if (this.#places.size < capacity && !isCrowded) return Effect.succeed(this.#add(peer, by))
      const limit = isCrowded ? answered : capacity
      if (this.#evicted.size >= retiring) return Effect.fail(limit)
      const mayGo = (other: string) =>
        (!isCrowded || this.#answered.has(other)) && this.#isIdle(other)
      const victim = this.#order.evict(mayGo)
      if (victim === undefined) return Effect.fail(limit)
      return Effect.as(Effect.forkDetach(this.#evict(victim)), this.#add(peer, by))
    })
  }

  #add(peer: string, by: By): Place {
    const spawning = this.#spawn(peer, this.#evicted.get(peer) ?? Effect.void)
    const place: Place = { spawning, link: undefined }
    this.#places.set(peer, place)
    this.#order.add(peer)
    if (by === "offer") this.#answered.add(peer)
    place.spawning.addObserver((exit) => {
      if (Exit.isFailure(exit) && this.#places.get(peer) === place) this.#drop(peer)
    })
    return place
  }

  #drop(peer: string): void {
    this.#places.delete(peer)
    this.#answered.delete(peer)
    this.#order.remove(peer)
  }

  /** Only an endpoint that is neither connecting nor in use may go. */
  #isIdle(peer: string): boolean {
    const place = this.#places.get(peer)
    const endpoint = place && spawnedAt(place)
    if (endpoint === undefined) return false
    const { _tag } = Effect.runSync(endpoint.state)
    return _tag === "Idle" || (_tag === "Ready" && place?.link?.isQuiet === true)
  }

  /** Its queue pairs are drained and destroyed beside the life of its successor. */
  #evict(peer: string): Effect.Effect<void> {
    const place = this.#places.get(peer)!
    this.#places.delete(peer)
    this.#answered.delete(peer)
    const { link, spawning } = place
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

/**
 * Entries of a store: one for each peer, with the actor of its endpoint. At a limit an endpoint
 * that is neither connecting nor in use is evicted, or the new one gets no entry.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { SpawnError } from "../../kernel/Supervisor.ts"
import { type AskedBy, BoundedStore } from "../../link/BoundedStore.ts"
import type { Endpoint } from "../Endpoint.ts"
import type { Leaving } from "./disconnectNotices.ts"
import type { Meter } from "./meter.ts"
import type { Link } from "./link.ts"

/** Entry of a peer, with the actor of its endpoint. */
export interface StoreEntry {
  /** Spawns the actor; all that want the endpoint wait for the same spawning. */
  readonly spawning: Spawning
  link: Link | undefined
  /** Callers that have found it and are not done with it: it may be idle before they ask it. */
  users: number
}

export type Spawning = Fiber.Fiber<Endpoint, SpawnError>

export interface Bounds {
  readonly capacity: number
  /** Endpoints that only offers of peers have created. */
  readonly answered: number
  /** Evicted endpoints that may still be draining. */
  readonly retiring: number
}

/** Spawns the endpoint towards a peer, after another effect has ended. */
export type Spawn = (peer: string, after: Effect.Effect<void>) => Spawning

export class StoreEntries {
  readonly #bounds: Bounds
  readonly #leaving: Leaving
  readonly #meter: Meter
  readonly #spawn: Spawn
  readonly #entries: BoundedStore<string, StoreEntry>
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
    this.#entries = new BoundedStore({ capacity, guests: answered }, eviction)
    this.#leaving = leaving
    this.#meter = meter
    this.#spawn = spawn
  }

  get size(): number {
    return this.#entries.size
  }

  get(peer: string): StoreEntry | undefined {
    return this.#entries.get(peer)
  }

  get all(): ReadonlyArray<StoreEntry> {
    return this.#entries.values
  }

  /**
   * Uses the entry of a peer's endpoint, made if need be; it is not evicted meanwhile. Fails if a
   * limit is reached.
   */
  use<A, E, L>(
    peer: string,
    by: AskedBy,
    orFull: (limit: number) => L,
    use: (entry: StoreEntry) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | L> {
    return Effect.acquireUseRelease(
      Effect.mapError(this.#acquire(peer, by), orFull),
      use,
      (entry) => Effect.sync(() => void entry.users--)
    )
  }

  /** Finds and counts in one step: between two steps another caller may need the place. */
  #acquire(peer: string, by: AskedBy): Effect.Effect<StoreEntry, number> {
    return Effect.suspend(() => {
      const found = this.#entries.use(peer, by)
      if (found !== undefined && !hasEnded(found)) {
        found.users++
        return Effect.succeed(found)
      }
      this.#entries.delete(peer)
      const limit = this.#entries.limitReached(by)
      if (limit === undefined) return Effect.succeed(this.#add(peer, by))
      if (this.#evicted.size >= this.#bounds.retiring) return Effect.fail(limit)
      const victim = this.#entries.evict(by, isIdle)
      if (victim === undefined) return Effect.fail(limit)
      return Effect.as(Effect.forkDetach(this.#release(...victim)), this.#add(peer, by))
    })
  }

  /** Adds an entry, which its caller uses. */
  #add(peer: string, by: AskedBy): StoreEntry {
    const spawning = this.#spawn(peer, this.#evicted.get(peer) ?? Effect.void)
    const entry: StoreEntry = { spawning, link: undefined, users: 1 }
    this.#entries.add(peer, entry, by)
    entry.spawning.addObserver((exit) => {
      if (Exit.isFailure(exit) && this.#entries.get(peer) === entry) this.#entries.delete(peer)
    })
    return entry
  }

  /** Drains and destroys the queue pairs in the background, while a successor may begin. */
  #release(peer: string, { link, spawning }: StoreEntry): Effect.Effect<void> {
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

/** Whether an endpoint may be evicted: it is neither connecting nor in use. */
const isIdle = (entry: StoreEntry): boolean => {
  const endpoint = spawnedAt(entry)
  if (endpoint === undefined || entry.users > 0) return false
  const { _tag } = Effect.runSync(endpoint.state)
  return _tag === "Idle" || (_tag === "Ready" && entry.link?.isQuiet === true)
}

/** The endpoint, if it has been spawned. */
export const spawnedAt = ({ spawning }: StoreEntry): Endpoint | undefined => {
  const exit = spawning.pollUnsafe()
  return exit !== undefined && Exit.isSuccess(exit) ? exit.value : undefined
}

/** Whether the endpoint has ended: it has spent its restarts, or was fenced. */
export const hasEnded = (entry: StoreEntry): boolean => {
  const endpoint = spawnedAt(entry)
  if (endpoint === undefined) return false
  const ending = Effect.runFork(endpoint.ended)
  const hasEnded = ending.pollUnsafe() !== undefined
  if (!hasEnded) ending.interruptUnsafe()
  return hasEnded
}

/** The places of a store: one for each peer, with the actor of its endpoint. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { SpawnError } from "../../kernel/Supervisor.ts"
import type { Endpoint } from "../Endpoint.ts"
import type { Link } from "./link.ts"

export interface Place {
  /** Spawns the actor; all that want the endpoint wait for the same spawning. */
  readonly spawning: Spawning
  link: Link | undefined
}

export type Spawning = Fiber.Fiber<Endpoint, SpawnError>

/** The endpoint, if it has been spawned. */
export const spawnedAt = ({ spawning }: Place): Endpoint | undefined => {
  const exit = spawning.pollUnsafe()
  return exit !== undefined && Exit.isSuccess(exit) ? exit.value : undefined
}

/** Whether its endpoint is there no more: it has spent its restarts, or was fenced. */
export const hasEnded = (place: Place): boolean => {
  const endpoint = spawnedAt(place)
  if (endpoint === undefined) return false
  const ending = Effect.runFork(endpoint.ended)
  const hasEnded = ending.pollUnsafe() !== undefined
  if (!hasEnded) ending.interruptUnsafe()
  return hasEnded
}

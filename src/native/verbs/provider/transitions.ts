/** Validates transitions of queue pairs. */
import type { Disconnect } from "../Connection.ts"
import type { GidEntry } from "../Device.ts"
import {
  defaults,
  canTransition,
  type InvalidValue,
  validateRanges,
  type State,
  type Transition
} from "../QueuePairState.ts"
import type { QueuePair } from "../QueuePair.ts"
import { IllegalTransition, InvalidAttribute, type ModifyError } from "../VerbsError.ts"
import type { HasResource } from "./resources.ts"

/** A connection of a queue pair. */
export interface AttachedConnection {
  /** Called once when the queue pair has left it. */
  readonly onLeft: (why: Disconnect) => void
}

/** A queue pair that connection management can take to its states. */
export interface ConnectableQueuePair extends QueuePair, HasResource {
  /** The present connection, or the one that is being made. */
  connection: AttachedConnection | undefined
  /** To `err`: flushes all posted work, and leaves the connection. */
  fail(why: Disconnect): void
}

/** Checks a transition. While a queue pair has a connection, only that may move it forward. */
export const validateTransition = (
  { connection, resource, number: queuePair, state: from }: ConnectableQueuePair,
  to: State,
  mover?: AttachedConnection
): ModifyError | undefined => {
  const gone = resource.releasedError(`queue pair ${queuePair}`)
  if (gone !== undefined) return gone
  const isFree = connection === mover || to === "err" || to === "reset"
  return isFree && canTransition(from, to)
    ? undefined
    : new IllegalTransition({ queuePair, from, to })
}

/** Limits of a queue pair's device. */
export interface TransitionLimits {
  /** Numbers of its ports. Default: it has one. */
  readonly ports?: ReadonlyArray<number>
  /** The GIDs of the queue pair's port. */
  readonly gids: ReadonlyArray<GidEntry>
  readonly reads: number
}

/** Checks the attributes of a transition against their ranges and the limits of the device. */
export const validateAttributes = (
  step: Transition,
  room: TransitionLimits
): InvalidAttribute | undefined => {
  const { attribute, detail } = validateRanges(step) ?? validateLimits(step, room) ?? {}
  return attribute === undefined
    ? undefined
    : new InvalidAttribute({ operation: `to ${step.to}`, attribute, detail: detail! })
}

/** Checks the attributes against the limits of the device. */
const validateLimits = (
  step: Transition,
  { gids, ports = [1], reads }: TransitionLimits
): InvalidValue | undefined => {
  const few = (attribute: string, wanted = 0) =>
    wanted > reads ? { attribute, detail: `${wanted} wanted, ${reads} possible` } : undefined
  if (step.to === "rts") return few("outboundReads", step.outboundReads)
  if (step.to === "init") {
    const { port = defaults.port } = step
    return ports.includes(port)
      ? undefined
      : { attribute: "port", detail: `there is no port ${port}` }
  }
  if (step.to !== "rtr") return undefined
  const { gidIndex = defaults.gidIndex } = step.path
  return gids.some(({ index }) => index === gidIndex)
    ? few("inboundReads", step.inboundReads)
    : { attribute: "gidIndex", detail: `there is no GID ${gidIndex}` }
}

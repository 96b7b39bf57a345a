/** What stands against a step of a queue pair. */
import type { Disconnect } from "../Connection.ts"
import type { GidEntry } from "../Device.ts"
import { defaults, mayGo, type Offence, offence, type State, type Step } from "../QueuePairState.ts"
import type { QueuePair } from "../QueuePair.ts"
import { IllegalTransition, InvalidAttribute, type ModifyError } from "../VerbsError.ts"
import type { Held } from "./resources.ts"

/** A connection, as its queue pair sees it. */
export interface Joined {
  /** The queue pair has left it; called once. */
  readonly left: (why: Disconnect) => void
}

/** A queue pair that connection management can take to its states. */
export interface Connectable extends QueuePair, Held {
  /** The connection that it is in, or that is being made for it. */
  connection: Joined | undefined
  /** To `err`: everything that is posted is flushed, and the connection is left. */
  fail(why: Disconnect): void
}

/** Why it cannot go to a state. While it has a connection, only that may take it further. */
export const obstacle = (
  { connection, holding, number: queuePair, state: from }: Connectable,
  to: State,
  mover?: Joined
): ModifyError | undefined => {
  const gone = holding.gone(`queue pair ${queuePair}`)
  if (gone !== undefined) return gone
  const isFree = connection === mover || to === "err" || to === "reset"
  return isFree && mayGo(from, to) ? undefined : new IllegalTransition({ queuePair, from, to })
}

/** What a queue pair's device has: one port with these GIDs, and room for so many reads. */
export interface Room {
  readonly gids: ReadonlyArray<GidEntry>
  readonly reads: number
}

/** What is wrong with a step's attributes. */
export const misfit = (step: Step, room: Room): InvalidAttribute | undefined => {
  const { attribute, detail } = offence(step) ?? beyond(step, room) ?? {}
  return attribute === undefined
    ? undefined
    : new InvalidAttribute({ operation: `to ${step.to}`, attribute, detail: detail! })
}

/** What the device does not have. */
const beyond = (step: Step, { gids, reads }: Room): Offence | undefined => {
  const few = (attribute: string, wanted = 0) =>
    wanted > reads ? { attribute, detail: `${wanted} wanted, ${reads} possible` } : undefined
  if (step.to === "rts") return few("outboundReads", step.outboundReads)
  if (step.to === "init") {
    const { port = defaults.port } = step
    return port === 1 ? undefined : { attribute: "port", detail: `there is no port ${port}` }
  }
  if (step.to !== "rtr") return undefined
  const { gidIndex = defaults.gidIndex } = step.path
  return gids.some(({ index }) => index === gidIndex)
    ? few("inboundReads", step.inboundReads)
    : { attribute: "gidIndex", detail: `there is no GID ${gidIndex}` }
}

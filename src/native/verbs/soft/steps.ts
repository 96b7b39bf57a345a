/** What stands against a step of a queue pair. */
import type { Disconnect } from "../Connection.ts"
import type { GidEntry } from "../Device.ts"
import { defaults, mayGo, offence, type State, type Step } from "../QueuePairState.ts"
import type { QueuePair } from "../QueuePair.ts"
import { IllegalTransition, InvalidAttribute, type ModifyError } from "../VerbsError.ts"
import type { Held } from "./holdings.ts"

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

/** What is wrong with a step's attributes on a device with one port, which has these GIDs. */
export const misfit = (step: Step, gids: ReadonlyArray<GidEntry>): InvalidAttribute | undefined => {
  const { attribute, detail } = offence(step) ?? misplaced(step, gids) ?? {}
  return attribute === undefined
    ? undefined
    : new InvalidAttribute({ operation: `to ${step.to}`, attribute, detail: detail! })
}

const misplaced = (step: Step, gids: ReadonlyArray<GidEntry>) => {
  const port = step.to === "init" ? (step.port ?? defaults.port) : 1
  if (port !== 1) return { attribute: "port", detail: `there is no port ${port}` }
  if (step.to !== "rtr") return undefined
  const { gidIndex = defaults.gidIndex } = step.path
  return gids.some(({ index }) => index === gidIndex)
    ? undefined
    : { attribute: "gidIndex", detail: `there is no GID ${gidIndex}` }
}

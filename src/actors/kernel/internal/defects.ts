/**
 * The known ways to get an actor wrong, each behind a switch that only tests turn: a simulation
 * that does not find them proves nothing when it is green.
 */
import * as Context from "effect/Context"

export interface Defects {
  /** A reply leaves before its events are in the journal. */
  readonly replyEarly?: boolean
  /** A failed append is taken as a success. */
  readonly resumeAfterFailedAppend?: boolean
  /** A new generation begins before the Scope of the old one is closed. */
  readonly overlapGenerations?: boolean
  /** A signal of an older epoch is applied. */
  readonly skipFence?: boolean
}

const none: Defects = {}

export const Defects = Context.Reference<Defects>("handfast/actors/internal/Defects", {
  defaultValue: () => none
})

/**
 * Known ways to get an endpoint wrong, each behind a switch that only tests turn: a simulation that
 * does not find them proves nothing when it is green.
 */
import * as Context from "effect/Context"

export interface Defects {
  /**
   * The answer to an acknowledgement opens the gate of whatever connection there is by then. This
   * was the race in the first repair of the original disease.
   */
  readonly readyWithoutLooking?: boolean
  /** An acknowledgement counts for any queue pairs. */
  readonly unboundAcknowledgement?: boolean
}

const none: Defects = {}

export const Defects = Context.Reference<Defects>("handfast/actors/endpoint/internal/Defects", {
  defaultValue: () => none
})

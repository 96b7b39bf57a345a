/**
 * Known ways to get credits and the reply cache wrong, each behind a switch that only simulations
 * turn: one that does not find them proves nothing when it is green.
 */
import * as Context from "effect/Context"

export interface Defects {
  /** A new connection begins with the window of the last one, without a NULL call. */
  readonly keepsWindow?: boolean
  /** The first Receives are posted after the connection is there. */
  readonly postsLate?: boolean
  /** Calls of a lost connection are sent again without a look at the window. */
  readonly resendsPastWindow?: boolean
  /** The window does not look at the Receives. */
  readonly ignoresReceives?: boolean
  /** The window opens before the Receives for it are posted. */
  readonly refillsLate?: boolean
  /** A refill posts for a quarter of the window. */
  readonly refillsShort?: boolean
  /** A refill that fails is forgotten. */
  readonly losesRefills?: boolean
  /** An interrupted call gives its credit back at once. */
  readonly freesInterrupted?: boolean
  /** Calls go again to a responder that was replaced. */
  readonly resendsAlways?: boolean
  /** The responder remembers no reply. */
  readonly forgetsReplies?: boolean
  /** The responder posts one Receive fewer than its replies promise. */
  readonly postsFewer?: boolean
}

const none: Defects = {}

export const Defects = Context.Reference<Defects>("handfast/actors/rpc/Defects", {
  defaultValue: () => none
})

/**
 * Known ways to get a provider wrong, each behind a switch that only tests turn: a contract or a
 * simulation that does not notice them proves nothing when it is green.
 */
import * as Context from "effect/Context"

export interface Defects {
  /** A queue pair that cannot receive yet does so all the same. */
  readonly hearEarly?: boolean
  /** A queue pair that fails forgets what was posted. */
  readonly skipFlush?: boolean
  /** A message that is sent again takes effect again. */
  readonly repeatEffects?: boolean
  /** The oldest work ends when any answer comes, also one to older work. */
  readonly endOnAnyAnswer?: boolean
  /** A good end is told twice. */
  readonly endTwice?: boolean
  /** A message is sent again for ever when there is no receive. */
  readonly endlessRnr?: boolean
  /** Rights are not looked at. */
  readonly ignoreRights?: boolean
  /** A key reaches past the end of its region. */
  readonly ignoreBounds?: boolean
  /** Keys of another protection domain are good. */
  readonly ignoreDomain?: boolean
  /** A message is cut to the receive that it meets. */
  readonly cutLong?: boolean
  /** A `send-invalidate` leaves the key valid. */
  readonly skipInvalidate?: boolean
  /** A write moves its octets when it is answered. */
  readonly writeAfterAnswer?: boolean
  /** A reset forgets what was posted. */
  readonly forgetfulReset?: boolean
  /** Who accepts does not wait for the other side. */
  readonly acceptEarly?: boolean
  /** What a side says never reaches the other. */
  readonly dropPrivateData?: boolean
  /** Who disconnects does not tell the peer. */
  readonly silentDisconnect?: boolean
  /** A queue pair that fails does not end its connection. */
  readonly keepConnection?: boolean
  /** Each device calls memory differently. */
  readonly addressPerDevice?: boolean
}

const none: Defects = {}

export const Defects = Context.Reference<Defects>("handfast/native/sim/Defects", {
  defaultValue: () => none
})

/**
 * Decides which epoch of the peer an offer belongs to: the one that is known, a newer one, or one
 * that is over.
 *
 * Handfast's peers name their epochs, so a restart shows also when the queue pairs have the same
 * numbers again, and late messages are recognised. Others are known by their queue pairs alone.
 */
import { compareEpoch } from "../../link/EpochOrder.ts"
import type { State } from "../EndpointState.ts"
import type { Half, Offer } from "../Handshake.ts"

export type Age = "same" | "newer" | "stale"

/**
 * Time after the connection in which an offer of the same queue pairs counts as a duplicate, if the
 * peer names no epochs. Default 60 s, the longest that such a peer waits for an answer: after that,
 * it can only have restarted and got the same numbers.
 */
const DUPLICATE_MILLIS = 60_000

const sameNumbers = (a: Half, b: Half): boolean =>
  a.queuePairs.length === b.queuePairs.length &&
  a.queuePairs.every((number, index) => number === b.queuePairs[index])

/** Whether two halves are the same. */
export const isSame = (a: Half, b: Half): boolean => a.epoch === b.epoch && sameNumbers(a, b)

/** The peer's offer, in the states that know it. */
export const peerOf = (state: State): Offer | undefined => {
  switch (state._tag) {
    case "CreatingQueuePairs":
      return state.offer
    case "Connecting":
    case "AwaitingReadyAck":
    case "Ready":
      return state.peer
    default:
      return undefined
  }
}

/**
 * Whether a peer without epochs that offers the same queue pairs must have restarted: they have
 * been connected for long, or it has acknowledged the answer to its offer, and an offer is not
 * repeated after that.
 */
const hasRestarted = (state: State, { epoch }: Half, now: number): boolean => {
  if (epoch !== undefined || (state._tag !== "AwaitingReadyAck" && state._tag !== "Ready"))
    return false
  const isOver = state._tag === "Ready" && state.key === "acknowledged"
  return isOver || now - state.connectedAt > DUPLICATE_MILLIS
}

/** Age of an offer. A confirmed one is the peer's present instance, even if it was thought over. */
export const ageOf = (state: State, { half }: Offer, now: number, isConfirmed = false): Age => {
  const peer = peerOf(state)
  if (peer !== undefined && isSame(peer.half, half)) {
    return hasRestarted(state, half, now) ? "newer" : "same"
  }
  if (half.epoch === undefined) return "newer"
  // An epoch has one half: another half with the known epoch is forged.
  return compareEpoch(state, half.epoch, isConfirmed) === "newer" ? "newer" : "stale"
}

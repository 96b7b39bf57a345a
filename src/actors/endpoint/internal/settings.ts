/** The settings of endpoints, and their ranges. */
import { millis, type Range, whole } from "../../../native/io/settingRanges.ts"

/** Settings of the endpoints of one NIC. */
export interface EndpointSettings {
  /** The local path, `server@nic`. */
  readonly path: string
  /** Queue pairs of one endpoint. Both sides need the same number. Default 2. */
  readonly queuePairs: number
  /** Work that may be posted to one queue pair. Default 256. */
  readonly depth: number
  /**
   * Milliseconds for a peer to get ready after the local half is up. Default 10 s: the peer has
   * answered already, and connecting its half takes milliseconds. It does not run while a call to
   * the peer is under way: a busy peer serves one call after the other.
   */
  readonly readyWithinMs: number
  /**
   * Milliseconds for an epoch to get ready. Default 3 min, three deadlines of a handshake call, so
   * that it only ends epochs that hang elsewhere.
   */
  readonly openWithinMs: number
  /**
   * Milliseconds after which an unanswered message is sent again, on a new connection: an
   * acknowledgement that may be lost, and an offer to a peer that has sent one and is silent since.
   * Default 1 s: many times the duration of a call, and less than people wait.
   */
  readonly repeatAfterMs: number
  /**
   * GIDs of the port that one opening tries when the device refuses them. Default 3, as Mooncake
   * does: each costs a handshake, and three refusals mean that the cause is at the peer.
   */
  readonly gidTries: number
  /** `"off"` sends as soon as the local half is up: to show the purpose of the gate. */
  readonly gate: "on" | "off"
}

/** Ranges of the settings. */
export const ranges: { readonly [K in Exclude<keyof EndpointSettings, "path" | "gate">]: Range } = {
  queuePairs: whole(1),
  depth: whole(1),
  readyWithinMs: millis(1),
  openWithinMs: millis(1),
  repeatAfterMs: millis(1),
  gidTries: whole(1)
}

export const defaults: Omit<EndpointSettings, "path"> = {
  queuePairs: 2,
  depth: 256,
  readyWithinMs: 10_000,
  openWithinMs: 180_000,
  repeatAfterMs: 1_000,
  gidTries: 3,
  gate: "on"
}

/** The id of an endpoint's actor. It names both paths, since all NICs share one journal. */
export const idOf = (local: string, peer: string): string => `${local} ${peer}`

/** The path of the peer in an id, by the local path. */
export const peerIn = (local: string, id: string): string => id.slice(local.length + 1)

/**
 * The link of a ready endpoint: the only way to send.
 *
 * A link belongs to one epoch of its endpoint. It appears when both sides are known to be up, and
 * is closed for good when that epoch ends; the next epoch has another link. So nothing can be
 * posted before the peer is ready, and no flag outlives its connection.
 */
import type { Posted, SendRequest } from "../../native/verbs/WorkRequest.ts"
import type { Epoch } from "../../schema/Epoch.ts"

export interface ReadyLink {
  readonly epoch: Epoch
  /** The local path, `server@nic`. */
  readonly local: string
  /** The peer's path. */
  readonly peer: string
  /** The peer's epoch, which names its process instance; undefined if the peer names none. */
  readonly peerEpoch: Epoch | undefined
  /** False once the epoch has ended: then every post is refused. */
  readonly isOpen: boolean
  /** Numbers of the peer's queue pairs, for error messages. */
  readonly peerQueuePairs: ReadonlyArray<number>
  /** The number of the queue pair with the most room, and the work that it takes now. */
  readonly roomiest: number
  readonly room: number
  /**
   * Posts to the queue pair of that number; by default to the one with the most room. Accepted work
   * completes once, in the completion queue of the link's NIC, also when the link closes.
   */
  readonly post: (request: SendRequest, queuePair?: number) => Posted | "not-ready"
}

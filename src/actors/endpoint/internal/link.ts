/** The link of one epoch of an endpoint. It is open while the endpoint is ready. */
import type { QueuePair } from "../../../native/verbs/QueuePair.ts"
import type { Posted, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import * as Gate from "../../link/Gate.ts"
import { gateOf, type State } from "../EndpointState.ts"
import type { ReadyLink } from "../ReadyLink.ts"
import { peerOf } from "./offerAge.ts"

export class Link implements ReadyLink {
  readonly epoch: Epoch
  readonly local: string
  readonly peer: string
  readonly #queuePairs: ReadonlyArray<QueuePair>
  readonly #state: () => State
  #isReleased = false

  constructor(
    epoch: Epoch,
    paths: { readonly local: string; readonly peer: string },
    queuePairs: ReadonlyArray<QueuePair>,
    state: () => State
  ) {
    this.epoch = epoch
    this.local = paths.local
    this.peer = paths.peer
    this.#queuePairs = queuePairs
    this.#state = state
  }

  /** Reads the endpoint's state, so that it is closed in the step in which the epoch ends. */
  get isOpen(): boolean {
    return Gate.isOpen(gateOf(this.#state()), this.epoch) && !this.#isReleased
  }

  get peerQueuePairs(): ReadonlyArray<number> {
    return peerOf(this.#state())?.half.queuePairs ?? []
  }

  get peerEpoch(): Epoch | undefined {
    return peerOf(this.#state())?.half.epoch
  }

  get room(): number {
    return this.#roomiest.freeSendSlots
  }

  get roomiest(): number {
    return this.#roomiest.number
  }

  /** Whether nothing is posted. */
  get isQuiet(): boolean {
    return this.#queuePairs.every(({ outstandingSends }) => outstandingSends === 0)
  }

  post(request: SendRequest, number = this.roomiest): Posted | "not-ready" {
    if (!this.isOpen) return "not-ready"
    for (const queuePair of this.#queuePairs) {
      if (queuePair.number === number) return queuePair.post(request)
    }
    return "not-ready"
  }

  get #roomiest(): QueuePair {
    return this.#queuePairs.reduce((best, next) =>
      next.freeSendSlots > best.freeSendSlots ? next : best
    )
  }

  /** Called before its queue pairs are destroyed. */
  release(): void {
    this.#isReleased = true
  }
}

/** The way to send, while one epoch of an endpoint is ready. */
import type { QueuePair } from "../../../native/verbs/QueuePair.ts"
import type { Posted, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { ReadyLink } from "../ReadyLink.ts"

export class Link implements ReadyLink {
  readonly epoch: Epoch
  readonly local: string
  readonly peer: string
  readonly #queuePairs: ReadonlyArray<QueuePair>
  readonly #depth: number
  #isOpen = true

  constructor(
    epoch: Epoch,
    paths: { readonly local: string; readonly peer: string },
    queuePairs: ReadonlyArray<QueuePair>,
    depth: number
  ) {
    this.epoch = epoch
    this.local = paths.local
    this.peer = paths.peer
    this.#queuePairs = queuePairs
    this.#depth = depth
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  get room(): number {
    let room = 0
    for (const { outstandingSends } of this.#queuePairs) room += this.#depth - outstandingSends
    return room
  }

  post(request: SendRequest): Posted | "not-ready" {
    if (!this.#isOpen) return "not-ready"
    let [best] = this.#queuePairs
    for (const queuePair of this.#queuePairs) {
      if (queuePair.outstandingSends < best!.outstandingSends) best = queuePair
    }
    return best!.post(request)
  }

  close(): void {
    this.#isOpen = false
  }
}

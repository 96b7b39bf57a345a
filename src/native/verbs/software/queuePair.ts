/**
 * A queue pair in software: a number, a state, and two work queues, which are flushed when it ends.
 * The provider carries its work to the peer.
 */
import type * as Effect from "effect/Effect"
import type { Status } from "../Completion.ts"
import type { Disconnect } from "../Connection.ts"
import type { State, Transition } from "../QueuePairState.ts"
import type { ModifyError } from "../VerbsError.ts"
import type { Posted, ReceiveRequest, SendRequest } from "../WorkRequest.ts"
import type { SoftwareCompletionQueue } from "./completions.ts"
import type { ResolvedQueuePairOptions } from "../provider/domain.ts"
import { Resource } from "../provider/resources.ts"
import type { ConnectableQueuePair, AttachedConnection } from "../provider/transitions.ts"
import {
  type Places,
  type ReceivePlace,
  ReceiveQueue,
  type ReceiveSlot,
  type SendPlace,
  SendQueue,
  type SendSlot
} from "./workQueues.ts"

export abstract class SoftwareQueuePair<
  Send extends SendPlace = SendSlot,
  Receive extends ReceivePlace = ReceiveSlot
> implements ConnectableQueuePair {
  readonly number: number
  readonly domain: number
  readonly resource: Resource
  readonly sends: SendQueue<Send>
  readonly receives: ReceiveQueue<Receive>
  /** Reads that may be under way in one direction. */
  readonly reads: number
  state: State = "reset"
  connection: AttachedConnection | undefined = undefined

  constructor(
    number: number,
    wanted: ResolvedQueuePairOptions<SoftwareCompletionQueue>,
    places: Places<Send, Receive>
  ) {
    const { limits, owners, receiveDepth, receives, sendDepth, sends } = wanted
    this.number = number
    this.domain = wanted.domain
    this.reads = wanted.reads
    const told = { queuePair: number, completions: sends }
    this.sends = new SendQueue(sendDepth, limits, told, places.send)
    const toldOfReceives = { queuePair: number, completions: receives }
    this.receives = new ReceiveQueue(receiveDepth, limits, toldOfReceives, places.receive)
    this.resource = new Resource("queue pair", owners, () => this.released())
  }

  abstract modify(step: Transition): Effect.Effect<void, ModifyError>

  /** Called when work was posted as number `index`, and a peer may be connected. */
  protected abstract sendPosted(index: number, request: SendRequest): void

  protected abstract receivePosted(index: number, request: ReceiveRequest): void

  get outstandingSends(): number {
    return this.sends.counters.outstanding
  }

  get freeSendSlots(): number {
    return this.sends.counters.free
  }

  get outstandingReceives(): number {
    return this.receives.counters.outstanding
  }

  post(request: SendRequest): Posted {
    if (this.resource.isReleased) return "wrong-state"
    const index = this.sends.counters.posted
    const posted = this.sends.post(request, this.state)
    if (posted !== "accepted") return posted
    if (this.state === "err") this.flush()
    else this.sendPosted(index, request)
    return posted
  }

  postReceive(request: ReceiveRequest): Posted {
    if (this.resource.isReleased) return "wrong-state"
    const index = this.receives.counters.posted
    const posted = this.receives.post(request, this.state)
    if (posted !== "accepted") return posted
    if (this.state === "err") this.flush()
    else this.receivePosted(index, request)
    return posted
  }

  /** To `err`; the oldest send ends with the status, if there is one. */
  fail(why: Disconnect, status?: Status): void {
    if (this.state !== "err") this.halt("err", why, status)
  }

  /** Once this returns, all posted work has ended, and the connection is left. */
  protected halt(state: "err" | "reset", why: Disconnect, status?: Status): void {
    this.state = state
    if (status !== undefined && this.outstandingSends > 0) this.sends.end(status, 0)
    this.flush()
    const { connection } = this
    this.connection = undefined
    connection?.onLeft(why)
  }

  protected flush(): void {
    this.sends.flush()
    this.receives.flush()
  }

  protected released(): void {
    this.fail("disconnected")
    this.sends.retire()
    this.receives.retire()
  }
}

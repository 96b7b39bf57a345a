/**
 * The queue pair of one connection instance as both ends use it: whole messages in and out, reads
 * and writes of the peer's memory, and the end, after which nothing is posted any more.
 *
 * Work that finds no place in a queue waits here in order, so a reply follows the writes that
 * belong to it. A message that has arrived is copied at once: its Receive is posted again without
 * waiting for the program that it is for.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Completion, Status } from "../../../native/verbs/Completion.ts"
import type { QueuePair } from "../../../native/verbs/QueuePair.ts"
import type { Region } from "../../../native/verbs/Region.ts"
import { ReceiveRequest, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { ChunkSegment } from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { CompletionRouter, Work } from "../../rdma/CompletionRouter.ts"

/** The user of a port. */
export interface PortUser {
  /** A message arrived; `invalidated` is the key that the peer voided with it, or 0. */
  received(message: Uint8Array, invalidated: number): void
  /** Called after each batch of completions. */
  turn(): void
  /** The queue pair has failed, or a call of `received` or `turn` has thrown. Called once. */
  failed(detail: string): void
}

/** Buffers of equal size, one behind the other in a region. */
export interface Buffers {
  readonly region: Region
  readonly bytes: number
  readonly count: number
}

export interface PortOptions {
  readonly router: CompletionRouter
  readonly queuePair: QueuePair
  readonly receives: Buffers
  readonly sends: Buffers
  readonly user: PortUser
}

/** Work for the send queue that waits for a place, or is posted. */
class Outgoing implements Work {
  readonly #port: MessagePort
  readonly #fill: (request: SendRequest, slot: number) => void
  readonly #done: ((status: Status) => void) | undefined
  readonly needsSlot: boolean
  slot = -1

  constructor(
    port: MessagePort,
    needsSlot: boolean,
    fill: (request: SendRequest, slot: number) => void,
    done: ((status: Status) => void) | undefined
  ) {
    this.#port = port
    this.needsSlot = needsSlot
    this.#fill = fill
    this.#done = done
  }

  fill(request: SendRequest): void {
    this.#fill(request, this.slot)
  }

  completed({ status }: Completion): void {
    this.#port.sent(this, status)
  }

  end(status: Status): void {
    this.#done?.(status)
  }
}

class ReceiveSlot implements Work {
  readonly #port: MessagePort
  readonly offset: number

  constructor(port: MessagePort, offset: number) {
    this.#port = port
    this.offset = offset
  }

  completed(completion: Completion): void {
    this.#port.arrived(this, completion)
  }
}

export class MessagePort {
  readonly #options: PortOptions
  readonly #request = new SendRequest()
  readonly #receive = new ReceiveRequest()
  readonly #freeReceives: Array<ReceiveSlot> = []
  readonly #freeSends: Array<number> = []
  readonly #waiting: Array<Outgoing> = []
  readonly #isDrained = Deferred.makeUnsafe<void>()
  readonly #turn = () => this.#guard(() => this.#takeTurn())
  /** Posted work that has not completed. */
  #posted = 0
  #isClosed = false
  #hasFailed = false

  constructor(options: PortOptions) {
    this.#options = options
    const { receives, sends } = options
    for (let index = receives.count - 1; index >= 0; index--) {
      this.#freeReceives.push(new ReceiveSlot(this, index * receives.bytes))
    }
    for (let index = sends.count - 1; index >= 0; index--) this.#freeSends.push(index)
  }

  /** Posts Receives and returns how many were accepted. */
  postReceives(count: number): number {
    const { queuePair, receives, router } = this.#options
    for (let posted = 0; posted < count; posted++) {
      const slot = this.#isClosed ? undefined : this.#freeReceives.pop()
      if (slot === undefined) return posted
      this.#receive.id = router.add(slot)
      this.#receive.scatterList.clear().add(receives.region, slot.offset, receives.bytes)
      if (queuePair.postReceive(this.#receive) !== "accepted") {
        router.remove(this.#receive.id)
        this.#freeReceives.push(slot)
        return posted
      }
      this.#posted++
    }
    return Math.max(0, count)
  }

  /** Whether a message is posted at once. They must not pile up for a peer that takes none. */
  get hasRoom(): boolean {
    return this.#waiting.length === 0 && this.#freeSends.length > 0
  }

  /** Sends a message. It is copied when it is posted, so it must not change before. */
  send(message: Uint8Array, invalidate = 0, done?: (status: Status) => void): void {
    const { bytes, region } = this.#options.sends
    const fill = (request: SendRequest, slot: number): void => {
      region.bytes.set(message, slot * bytes)
      request.opcode = invalidate === 0 ? "send" : "send-invalidate"
      request.invalidate = invalidate
      request.scatterList.clear().add(region, slot * bytes, message.length)
    }
    this.#submit(new Outgoing(this, true, fill, done))
  }

  /** Reads from, or writes to, memory of the peer. */
  transfer(
    opcode: "read" | "write",
    local: { readonly region: Region; readonly offset: number },
    remote: ChunkSegment,
    done: (status: Status) => void
  ): void {
    const fill = (request: SendRequest): void => {
      request.opcode = opcode
      request.scatterList.clear().add(local.region, local.offset, remote.length)
      request.remote(remote.handle, Number(remote.offset))
    }
    this.#submit(new Outgoing(this, false, fill, done))
  }

  /** Posts nothing any more. What has not been posted ends as flushed. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const work of this.#waiting.splice(0)) work.end("flushed")
    this.#noteDrained()
  }

  /** Closes, then waits until all posted work has completed, flushed by the queue pair's end. */
  get drained(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.close()
      this.#options.router.drain()
      return Deferred.await(this.#isDrained)
    })
  }

  /** A Receive has completed. */
  arrived(slot: ReceiveSlot, { invalidated, length, status }: Completion): void {
    const { receives, router, user } = this.#options
    this.#ended()
    this.#freeReceives.push(slot)
    if (status !== "success") return this.fail(`a Receive ended with ${status}`)
    const { offset } = slot
    // Not a view: `slice` on shared memory would stay shared.
    const message = Uint8Array.from(receives.region.bytes.subarray(offset, offset + length))
    this.#guard(() => user.received(message, invalidated))
    router.afterBatch(this.#turn)
  }

  /** Work of the send queue has completed. */
  sent(work: Outgoing, status: Status): void {
    this.#ended()
    if (work.slot >= 0) this.#freeSends.push(work.slot)
    this.#guard(() => work.end(status))
    if (status !== "success") this.fail(`a request ended with ${status}`)
    this.#options.router.afterBatch(this.#turn)
  }

  /** Ends the connection instance. The user hears of it once all that has arrived was handled. */
  fail(detail: string): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#options.router.afterBatch(() => this.#options.user.failed(detail))
  }

  #submit(work: Outgoing): void {
    if (this.#isClosed) return work.end("flushed")
    this.#waiting.push(work)
    this.#flush()
  }

  /** Posts what waits, in order, while there is room. */
  #flush(): void {
    const { queuePair, router } = this.#options
    while (this.#waiting.length > 0) {
      const work = this.#waiting[0]!
      if (work.needsSlot && this.#freeSends.length === 0) return
      if (work.needsSlot) work.slot = this.#freeSends.pop()!
      work.fill(this.#request)
      this.#request.id = router.add(work)
      const posted = queuePair.post(this.#request)
      if (posted === "accepted") {
        this.#waiting.shift()
        this.#posted++
        continue
      }
      router.remove(this.#request.id)
      if (work.slot >= 0) this.#freeSends.push(work.slot)
      work.slot = -1
      // Both kinds of room come with later completions, which end in a turn.
      if (posted !== "queue-full" && posted !== "completions-full") this.fail(`no post: ${posted}`)
      return
    }
  }

  #takeTurn(): void {
    if (this.#isClosed) return
    this.#flush()
    this.#options.user.turn()
  }

  /** A defect of the user ends this connection instance, and no other one. */
  #guard(act: () => void): void {
    try {
      act()
    } catch (error) {
      this.fail(`defect: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  #ended(): void {
    this.#posted--
    this.#noteDrained()
  }

  #noteDrained(): void {
    if (this.#isClosed && this.#posted === 0) Deferred.doneUnsafe(this.#isDrained, Effect.void)
  }
}

/**
 * The queue pair of one connection instance as both ends use it: whole messages in and out, reads
 * and writes of the peer's memory, and the end, after which nothing is posted any more.
 *
 * Work that finds no place in a queue waits here in order, so a reply follows the writes that
 * belong to it. A batch of completions leads to one turn of the user, and all that the turn sends
 * is posted as one chain, whose last request alone makes a completion: requests end in order, so
 * that one ends those before it too.
 */
import { ok as assert } from "node:assert/strict"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Completion, Status } from "../../../native/verbs/Completion.ts"
import type { QueuePair } from "../../../native/verbs/QueuePair.ts"
import { ReceiveRequest, SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { ChunkSegment } from "../../../schema/rpc/RpcRdmaMessage.ts"
import { XdrWriter } from "../../../schema/rpc/Xdr.ts"
import type { CompletionRouter, Work } from "../../rdma/CompletionRouter.ts"
import {
  type Buffers,
  type Done,
  type LocalMemory,
  type Outgoing,
  OutgoingMessage,
  Transfer,
  type Writable
} from "./outgoing.ts"

/** The user of a port. */
export interface PortUser {
  /**
   * A message arrived, and is valid until this returns: its Receive is posted again after that.
   * `invalidated` is the key that the peer voided with it, or 0.
   */
  received(message: Uint8Array, invalidated: number): void
  /** Called after each batch of completions. */
  turn(): void
  /** The queue pair has failed, or a call of `received` or `turn` has thrown. Called once. */
  failed(detail: string): void
}

export interface PortOptions {
  readonly router: CompletionRouter
  readonly queuePair: QueuePair
  readonly receives: Buffers
  readonly sends: Buffers
  readonly user: PortUser
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
  readonly #writer = new XdrWriter()
  readonly #waiting: Array<Outgoing> = []
  /** Posted work of the send queue, the oldest first. */
  readonly #posted: Array<Outgoing> = []
  readonly #isDrained = Deferred.makeUnsafe<void>()
  readonly #turn = () => this.#takeTurn()
  #postedReceives = 0
  #isInTurn = false
  #isWoken = false
  #isPosting = false
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
      this.#postedReceives++
    }
    return Math.max(0, count)
  }

  /** Whether another message has a place. They must not pile up for a peer that takes none. */
  get hasRoom(): boolean {
    return this.#waiting.length < this.#freeSends.length
  }

  /** Sends a message. It is written when it is posted, so it must not change before. */
  send(message: Writable | Uint8Array, invalidate = 0, done?: Done): void {
    this.#submit(new OutgoingMessage(this, message, invalidate, done))
  }

  /** Reads from, or writes to, memory of the peer. */
  transfer(opcode: "read" | "write", local: LocalMemory, remote: ChunkSegment, done: Done): void {
    this.#submit(new Transfer(this, [opcode, local, remote], done))
  }

  /** Gives the user a turn: now, or after the turn or the batch of completions under way. */
  wake(): void {
    this.#isWoken = true
    if (!this.#isInTurn) this.#options.router.afterBatch(this.#turn)
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
    this.#postedReceives--
    if (status === "success") {
      try {
        const message = receives.region.bytes.subarray(slot.offset, slot.offset + length)
        user.received(message, invalidated)
      } catch (error) {
        this.#failBy(error)
      }
      router.afterBatch(this.#turn)
    } else this.fail(`a Receive ended with ${status}`)
    this.#freeReceives.push(slot)
    this.#noteDrained()
  }

  /** Work of the send queue has completed, and with it all that was posted before. */
  sent(work: Outgoing, status: Status): void {
    const { router } = this.#options
    for (;;) {
      const oldest = this.#posted.shift()
      assert(oldest !== undefined, "work that was not posted")
      if (oldest !== work) router.remove(oldest.id)
      if (oldest.slot >= 0) this.#freeSends.push(oldest.slot)
      try {
        oldest.end(oldest === work ? status : "success")
      } catch (error) {
        this.#failBy(error)
      }
      if (oldest === work) break
    }
    if (status !== "success") this.fail(`a request ended with ${status}`)
    router.afterBatch(this.#turn)
    this.#noteDrained()
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
    if (!this.#isInTurn && this.#waiting.length === 1) this.#options.router.afterBatch(this.#chain)
  }

  /** Posts what waits, in order, while there is room. */
  readonly #chain = (): void => {
    // What ends within a post comes back here, and is posted by the call that is under way.
    if (this.#isPosting) return
    this.#isPosting = true
    while (this.#waiting.length > 0 && this.#post(this.#waiting[0]!));
    this.#isPosting = false
  }

  /** Writes a request. False if that has thrown. */
  #fill(work: Outgoing): boolean {
    try {
      work.fill(this.#request, this.#options.sends, this.#writer)
      return true
    } catch (error) {
      this.#failBy(error)
      work.end("flushed")
      return false
    }
  }

  #post(work: Outgoing): boolean {
    const { queuePair, router } = this.#options
    if (work.needsSlot && this.#freeSends.length === 0) return false
    if (work.needsSlot) work.slot = this.#freeSends.pop()!
    this.#waiting.shift()
    const request = this.#request
    if (!this.#fill(work)) return false
    const isLast = this.#isLast
    request.signalled = isLast || !work.needsSlot
    request.more = !isLast
    request.id = work.id = router.add(work)
    this.#posted.push(work)
    const posted = queuePair.post(request)
    if (posted === "accepted") return true
    router.remove(work.id)
    this.#posted.pop()
    if (work.slot >= 0) this.#freeSends.push(work.slot)
    work.slot = -1
    this.#waiting.unshift(work)
    // Both kinds of room come with later completions, which end in a turn.
    if (posted !== "queue-full" && posted !== "completions-full") this.fail(`no post: ${posted}`)
    return false
  }

  /** Whether no other request can follow the one that is about to be posted. */
  get #isLast(): boolean {
    const { queuePair, router } = this.#options
    const { capacity, reserved } = router.completions
    return (
      this.#waiting.length === 0 ||
      this.#freeSends.length === 0 ||
      queuePair.freeSendSlots <= 1 ||
      reserved + 1 >= capacity
    )
  }

  #takeTurn(): void {
    if (this.#isClosed || this.#isInTurn) return
    this.#isInTurn = true
    try {
      do {
        this.#isWoken = false
        this.#options.user.turn()
      } while (this.#isWoken)
    } catch (error) {
      this.#failBy(error)
    }
    this.#isInTurn = false
    this.#chain()
  }

  /** A defect of the user ends this connection instance, and no other one. */
  #failBy(error: unknown): void {
    this.fail(`defect: ${error instanceof Error ? error.message : String(error)}`)
  }

  #noteDrained(): void {
    if (!this.#isClosed || this.#posted.length + this.#postedReceives > 0) return
    Deferred.doneUnsafe(this.#isDrained, Effect.void)
  }
}

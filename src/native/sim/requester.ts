/**
 * The sending half of a simulated queue pair: messages go out in order, several at a time, and
 * complete in order with their answers. After a timeout all messages from the oldest on are sent
 * again.
 */
import type { Gid } from "../../schema/Gid.ts"
import type { Status } from "../verbs/Completion.ts"
import { areUsable, scatter } from "../verbs/software/memory.ts"
import { isFetch, type SendQueue, type SendSlot } from "../verbs/software/workQueues.ts"
import { sequenceDistance, type Answer, type Message, type Peer, sequenceAfter } from "./message.ts"
import { Channel } from "./network.ts"
import type { Nic } from "./nic.ts"

/** Retries of a message that met no receive: this many means for ever. */
const retriesForever = 7
/** Writes that may be under way after they have ended: the capacity of socket buffers. */
const buffered = 4
/** Deadlines are rounded; those within this many milliseconds are due. */
const dueWithinMs = 0.001

const noBytes = new Uint8Array(0)

/** The parameters of a requester, with all defaults filled in. */
export interface RequesterSettings {
  readonly firstSequence: number
  /** `Infinity` for never. */
  readonly timeoutMillis: number
  readonly retries: number
  readonly rnrRetries: number
  readonly outboundReads: number
}

/** The queue pair of a requester. */
export interface RequesterHost {
  readonly nic: Nic
  readonly number: number
  readonly domain: number
  readonly source: Gid
  readonly peer: Peer | undefined
  readonly sends: SendQueue
  fail(why: "failed"): void
  failSend(status: Status): void
}

export class Requester {
  readonly #queuePair: RequesterHost
  readonly #sending: RequesterSettings
  readonly #channel = new Channel()
  /** The number of the work that has `firstSequence`. */
  readonly #base: number
  /** The work to send next. */
  #next: number
  /** The oldest work without an answer. It may have ended, see `#left`. */
  #oldest: number
  /** Writes that ended when they left, and have no answer yet, by their numbers. */
  readonly #left = new Map<number, Message>()
  /** Reads and atomic operations that were sent and have not ended. */
  #reads = 0
  #retries = 0
  #rnrs = 0
  /** The first work that has never been sent. */
  #fresh: number
  #isPumping = false
  /** Waits after a receiver was not ready. Nothing is on its way then: all counts as unsent. */
  #isResting = false
  #isTiming = false
  #deadline = 0
  #isStopped = false

  constructor(queuePair: RequesterHost, sending: RequesterSettings) {
    this.#queuePair = queuePair
    this.#sending = sending
    this.#base = this.#next = this.#fresh = this.#oldest = queuePair.sends.counters.posted
  }

  stop(): void {
    this.#isStopped = true
  }

  /** Called for new work, which leaves in a later task with all work that is posted until then. */
  kick(): void {
    if (this.#isPumping || this.#isStopped) return
    this.#isPumping = true
    this.#queuePair.nic.network.after(0, () => {
      this.#isPumping = false
      this.#pump()
    })
  }

  /** Handles an answer. */
  onAnswer(answer: Answer): void {
    if (this.#isStopped) return
    const index = this.#oldest + sequenceDistance(answer.sequence, this.#sequenceOf(this.#oldest))
    const isStale = index < this.#oldest || index >= this.#next
    if (isStale) return
    if (!this.#endBefore(index)) return this.#again()
    const { outcome } = answer
    if (outcome._tag === "NotReady") return this.#rest(outcome.waitMillis)
    if (outcome._tag === "Refused") return this.#fail(outcome.status)
    if (this.#queuePair.sends.counters.outstanding + this.#left.size > 0)
      this.#succeed(outcome.fetched)
    this.#pump()
  }

  /** Fails the oldest work. If it has ended, only the flush of later work shows that. */
  #fail(status: Status): void {
    if (this.#left.has(this.#oldest)) this.#queuePair.fail("failed")
    else this.#queuePair.failSend(status)
  }

  #sequenceOf(index: number): number {
    return sequenceAfter(this.#sending.firstSequence, index - this.#base)
  }

  /** Ends work before an answered message, except fetches whose bytes are missing. */
  #endBefore(index: number): boolean {
    const { sends } = this.#queuePair
    while (this.#oldest < index) {
      if (!this.#left.has(this.#oldest) && isFetch(sends.at(this.#oldest).opcode)) return false
      this.#succeed(noBytes)
    }
    return true
  }

  #succeed(fetched: Uint8Array): void {
    const { domain, sends } = this.#queuePair
    this.#retries = this.#rnrs = 0
    this.#deadline = this.#queuePair.nic.network.now + this.#sending.timeoutMillis
    const hasEnded = this.#left.delete(this.#oldest)
    this.#oldest += 1
    if (hasEnded) return
    const slot = sends.at(sends.counters.ended)
    if (isFetch(slot.opcode)) {
      this.#reads -= 1
      if (!areUsable(slot.scatterList, domain, true))
        return this.#queuePair.failSend("local-protection")
      scatter(fetched.subarray(0, slot.bytes), slot.scatterList)
    }
    sends.end("success", fetched.length)
    this.#endLeft()
  }

  /** Ends writes that have left, in order. */
  #endLeft(): void {
    const { sends } = this.#queuePair
    while (sends.counters.ended < this.#next && this.#left.has(sends.counters.ended)) {
      sends.end("success", 0)
    }
  }

  #pump(): void {
    if (this.#isStopped || this.#isResting) return
    const { counters } = this.#queuePair.sends
    while (this.#next < counters.posted) {
      const left = this.#left.get(this.#next)
      if (left !== undefined) {
        this.#next += 1
        this.#send({ ...left, again: true }, this.#next - 1)
        continue
      }
      const slot = this.#queuePair.sends.at(this.#next)
      const invalid = this.#validate(slot)
      if (invalid !== undefined) {
        // It fails in its turn: earlier work may still succeed.
        if (this.#next === this.#oldest) this.#queuePair.failSend(invalid)
        return
      }
      if (this.#endsAsItLeaves(slot) && this.#left.size >= buffered) return
      if (isFetch(slot.opcode)) {
        if (this.#reads === this.#sending.outboundReads) return
        this.#reads += 1
      }
      this.#next += 1
      this.#transmit(slot, this.#next - 1)
      if (this.#isStopped) return
    }
  }

  /** Validates work before it is sent. */
  #validate(slot: SendSlot): Status | undefined {
    const fetches = isFetch(slot.opcode)
    if (fetches && this.#sending.outboundReads === 0) return "local-operation"
    const isAtomic = fetches && slot.opcode !== "read"
    if (isAtomic && slot.bytes !== 8) return "local-length"
    return slot.inline || areUsable(slot.scatterList, this.#queuePair.domain, fetches)
      ? undefined
      : "local-protection"
  }

  #transmit(slot: SendSlot, index: number): void {
    const { nic, number, peer, source } = this.#queuePair
    if (nic.isExhausted) {
      nic.isExhausted = false
      return this.#fail("retry-exceeded")
    }
    const message: Message = {
      source,
      sourceQueuePair: number,
      target: peer!.gid,
      targetQueuePair: peer!.queuePair,
      sequence: this.#sequenceOf(index),
      opcode: slot.opcode,
      payload: isFetch(slot.opcode) ? noBytes : slot.payload(),
      bytes: slot.bytes,
      mtu: peer!.mtu,
      reads: this.#reads,
      again: index < this.#fresh,
      addressee: peer!.life,
      remoteKey: slot.remoteKey,
      remoteHigh: slot.remoteHigh,
      remoteLow: slot.remoteLow,
      immediate: slot.immediate,
      invalidate: slot.invalidate,
      value: slot.value,
      compare: slot.compare
    }
    if (this.#endsAsItLeaves(slot)) this.#left.set(index, message)
    this.#send(message, index)
    this.#endLeft()
  }

  #endsAsItLeaves({ opcode }: SendSlot): boolean {
    return !this.#queuePair.nic.acknowledges && opcode === "write"
  }

  #send(message: Message, index: number): void {
    const { nic, source } = this.#queuePair
    if (message.again) nic.network.counters.repeats += 1
    else this.#fresh = index + 1
    const arrive = (target: Nic) => target.receive(message)
    nic.network.carry(nic, source, message.target, this.#channel, arrive)
    this.#time(index)
  }

  /** Waits for the answer to the oldest message; one timer serves them all. */
  #time(index: number): void {
    const { timeoutMillis } = this.#sending
    const { nic } = this.#queuePair
    if (timeoutMillis === Infinity) return
    if (index === this.#oldest) this.#deadline = nic.network.now + timeoutMillis
    this.#wait(timeoutMillis)
  }

  #wait(millis: number): void {
    if (this.#isTiming) return
    this.#isTiming = true
    this.#queuePair.nic.network.after(millis, () => {
      this.#isTiming = false
      if (this.#isStopped || this.#oldest === this.#next) return
      const rest = this.#deadline - this.#queuePair.nic.network.now
      if (rest > dueWithinMs) return this.#wait(rest)
      if (this.#retries === this.#sending.retries) return this.#fail("retry-exceeded")
      this.#retries += 1
      this.#again()
    })
  }

  /** Sends everything from the oldest on again. */
  #again(): void {
    this.#next = this.#oldest
    this.#reads = 0
    this.#pump()
  }

  /** Waits for a peer without a receive, and tries again up to the agreed number of times. */
  #rest(millis: number): void {
    const { network } = this.#queuePair.nic
    const { rnrRetries } = this.#sending
    const isOver = rnrRetries !== retriesForever && this.#rnrs === rnrRetries
    if (isOver) return this.#queuePair.failSend("rnr-retry-exceeded")
    this.#rnrs += 1
    this.#isResting = true
    this.#next = this.#oldest
    this.#reads = 0
    network.after(millis, () => {
      this.#isResting = false
      this.#pump()
    })
  }
}

/**
 * The sending half of a simulated queue pair: messages go out in order, several at a time, and end
 * in order with their answers. Without an answer everything from the oldest on is sent again.
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
/** Deadlines are rounded; what is closer than this many milliseconds is due. */
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
  failSend(status: Status): void
}

/** The sending half. */
export class Requester {
  readonly #queuePair: RequesterHost
  readonly #sending: RequesterSettings
  readonly #channel = new Channel()
  /** The number of the work that has `firstSequence`. */
  readonly #base: number
  /** The work that is sent next. */
  #next: number
  /** Reads and atomic operations among what is sent and has not ended. */
  #reads = 0
  #retries = 0
  #rnrs = 0
  /** The first work that has never been sent. */
  #fresh: number
  #isPumping = false
  #isResting = false
  #isTiming = false
  #deadline = 0
  #isStopped = false

  constructor(queuePair: RequesterHost, sending: RequesterSettings) {
    this.#queuePair = queuePair
    this.#sending = sending
    this.#base = this.#next = this.#fresh = queuePair.sends.counters.posted
  }

  stop(): void {
    this.#isStopped = true
  }

  /** Called for new work, which leaves in a later task with all that is posted until then. */
  kick(): void {
    if (this.#isPumping || this.#isStopped) return
    this.#isPumping = true
    this.#queuePair.nic.network.after(0, () => {
      this.#isPumping = false
      this.#pump()
    })
  }

  /** An answer has come. */
  onAnswer(answer: Answer): void {
    if (this.#isStopped) return
    const { counters } = this.#queuePair.sends
    const index =
      counters.ended + sequenceDistance(answer.sequence, this.#sequenceOf(counters.ended))
    const isStale = index < counters.ended || index >= this.#next
    if (isStale) return
    if (!this.#endBefore(index)) return this.#again()
    const { outcome } = answer
    if (outcome._tag === "NotReady") return this.#rest(outcome.waitMillis)
    if (outcome._tag === "Refused") return this.#queuePair.failSend(outcome.status)
    if (counters.outstanding > 0) this.#succeed(outcome.fetched)
    this.#pump()
  }

  #sequenceOf(index: number): number {
    return sequenceAfter(this.#sending.firstSequence, index - this.#base)
  }

  /** An answer stands for all before it, but not for bytes that they should have fetched. */
  #endBefore(index: number): boolean {
    const { sends } = this.#queuePair
    while (sends.counters.ended < index) {
      if (isFetch(sends.at(sends.counters.ended).opcode)) return false
      this.#succeed(noBytes)
    }
    return true
  }

  #succeed(fetched: Uint8Array): void {
    const { domain, sends } = this.#queuePair
    const slot = sends.at(sends.counters.ended)
    this.#retries = this.#rnrs = 0
    this.#isResting = false
    this.#deadline = this.#queuePair.nic.network.now + this.#sending.timeoutMillis
    if (isFetch(slot.opcode)) {
      this.#reads -= 1
      if (!areUsable(slot.scatterList, domain, true))
        return this.#queuePair.failSend("local-protection")
      scatter(fetched.subarray(0, slot.bytes), slot.scatterList)
    }
    sends.end("success", fetched.length)
  }

  #pump(): void {
    if (this.#isStopped || this.#isResting) return
    const { counters } = this.#queuePair.sends
    while (this.#next < counters.posted) {
      const slot = this.#queuePair.sends.at(this.#next)
      const invalid = this.#validate(slot)
      if (invalid !== undefined) {
        // It fails in its turn: what is before it may still end well.
        if (this.#next === counters.ended) this.#queuePair.failSend(invalid)
        return
      }
      if (isFetch(slot.opcode)) {
        if (this.#reads === this.#sending.outboundReads) return
        this.#reads += 1
      }
      this.#next += 1
      this.#transmit(slot, this.#next - 1)
      if (this.#isStopped) return
    }
  }

  /** Validates work before anything of it is sent. */
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
    const { network } = nic
    if (nic.isExhausted) {
      nic.isExhausted = false
      return this.#queuePair.failSend("retry-exceeded")
    }
    const isAgain = index < this.#fresh
    if (isAgain) network.counters.repeats += 1
    else this.#fresh = index + 1
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
      again: isAgain,
      addressee: peer!.life,
      remoteKey: slot.remoteKey,
      remoteHigh: slot.remoteHigh,
      remoteLow: slot.remoteLow,
      immediate: slot.immediate,
      invalidate: slot.invalidate,
      value: slot.value,
      compare: slot.compare
    }
    network.carry(nic, source, message.target, this.#channel, (target) => target.receive(message))
    this.#time(index)
  }

  /** Waits for the answer to the oldest message; one timer serves them all. */
  #time(index: number): void {
    const { timeoutMillis } = this.#sending
    const { nic, sends } = this.#queuePair
    if (timeoutMillis === Infinity) return
    if (index === sends.counters.ended) this.#deadline = nic.network.now + timeoutMillis
    this.#wait(timeoutMillis)
  }

  #wait(millis: number): void {
    if (this.#isTiming) return
    this.#isTiming = true
    this.#queuePair.nic.network.after(millis, () => {
      this.#isTiming = false
      const { counters } = this.#queuePair.sends
      if (this.#isStopped || counters.ended === this.#next) return
      const rest = this.#deadline - this.#queuePair.nic.network.now
      if (rest > dueWithinMs) return this.#wait(rest)
      if (this.#isResting) return
      if (this.#retries === this.#sending.retries) return this.#queuePair.failSend("retry-exceeded")
      this.#retries += 1
      this.#again()
    })
  }

  /** Everything from the oldest on is sent again. */
  #again(): void {
    this.#next = this.#queuePair.sends.counters.ended
    this.#reads = 0
    this.#pump()
  }

  /** The peer has no receive: wait, and try again as often as agreed. */
  #rest(millis: number): void {
    const { network } = this.#queuePair.nic
    if (this.#isResting) return
    const { rnrRetries } = this.#sending
    const isOver = rnrRetries !== retriesForever && this.#rnrs === rnrRetries
    if (isOver) return this.#queuePair.failSend("rnr-retry-exceeded")
    this.#rnrs += 1
    this.#isResting = true
    this.#next = this.#queuePair.sends.counters.ended
    this.#reads = 0
    network.after(millis, () => {
      this.#isResting = false
      this.#pump()
    })
  }
}

/**
 * The two work queues of a queue pair in software: posted work, in order, until it ends.
 *
 * The slots are made once and filled again and again, so that a post allocates nothing.
 */
import type { Completion, Kind, Status } from "../Completion.ts"
import { canSend, canPostReceive, type State } from "../QueuePairState.ts"
import { type Opcode, type Posted, ReceiveRequest, SendRequest } from "../WorkRequest.ts"
import type { WorkLimits } from "../provider/domain.ts"
import type { SoftwareCompletionQueue } from "./completions.ts"
import { SlotCounters } from "./slotCounters.ts"
import { gather } from "./memory.ts"

const kinds: Readonly<Record<Opcode, Kind>> = {
  send: "send",
  "send-invalidate": "send",
  write: "write",
  "write-immediate": "write",
  read: "read",
  "fetch-add": "fetch-add",
  "compare-swap": "compare-swap"
}

/** Whether an operation fetches bytes, so that its parts are sinks. */
export const isFetch = (opcode: Opcode): boolean =>
  opcode === "read" || opcode === "fetch-add" || opcode === "compare-swap"

/** A place of a send queue. */
export interface SendPlace {
  id: number
  opcode: Opcode
  signalled: boolean
  /** Takes all that it needs out of a request, which the caller may then fill again. */
  take(request: SendRequest, bytes: number, inlineBytes: number): void
}

/** A place of a receive queue. */
export interface ReceivePlace {
  id: number
  take(request: ReceiveRequest): void
}

/** A posted receive, copied so that the caller may fill its request again. */
export class ReceiveSlot extends ReceiveRequest implements ReceivePlace {
  take(request: ReceiveRequest): void {
    this.id = request.id
    this.scatterList.copy(request.scatterList)
  }
}

/** Posted work, copied so that the caller may fill its request again. */
export class SendSlot extends SendRequest implements SendPlace {
  /** Bytes of all entries. */
  bytes = 0
  /** The bytes of an inline send. */
  #inlined: Uint8Array | undefined = undefined

  take(request: SendRequest, bytes: number, inlineBytes: number): void {
    this.id = request.id
    this.opcode = request.opcode
    this.signalled = request.signalled
    this.inline = request.inline
    this.remoteKey = request.remoteKey
    this.remoteHigh = request.remoteHigh
    this.remoteLow = request.remoteLow
    this.immediate = request.immediate
    this.invalidate = request.invalidate
    this.value = request.value
    this.compare = request.compare
    this.scatterList.copy(request.scatterList)
    this.bytes = bytes
    if (request.inline) gather(request.scatterList, (this.#inlined ??= new Uint8Array(inlineBytes)))
  }

  /** Copies the bytes to send. */
  payload(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.bytes)
    if (this.inline) bytes.set(this.#inlined!.subarray(0, this.bytes))
    else gather(this.scatterList, bytes)
    return bytes
  }
}

/** Makes the places of the two work queues. */
export interface Places<Send extends SendPlace, Receive extends ReceivePlace> {
  readonly send: (place: number) => Send
  readonly receive: (place: number) => Receive
}

/** Places that hold copies of the requests, for a provider that moves the bytes itself. */
export const copies: Places<SendSlot, ReceiveSlot> = {
  send: () => new SendSlot(),
  receive: () => new ReceiveSlot()
}

/** The completion queue of a work queue. */
export interface CompletionTarget {
  readonly queuePair: number
  readonly completions: SoftwareCompletionQueue
}

/** The common part of both queues: slots that end in order. */
class Queue<Slot extends { id: number }> {
  readonly counters: SlotCounters
  readonly #slots: Array<Slot> = []
  readonly #make: (place: number) => Slot
  readonly #target: CompletionTarget
  /** The last end with a completion: no poll reports later slots yet. */
  #completedUpTo = 0

  constructor(depth: number, told: CompletionTarget, make: (place: number) => Slot) {
    this.counters = new SlotCounters(depth)
    this.#target = told
    this.#make = make
  }

  /** The work that was posted as number `index`; it must not be reclaimed. */
  at(index: number): Slot {
    const place = index % this.counters.depth
    return (this.#slots[place] ??= this.#make(place))
  }

  /** Reserves the slot of the next post, if there is one and its completion has one. */
  protected reserve(): "queue-full" | "completions-full" | undefined {
    if (this.counters.free === 0) return "queue-full"
    return this.#target.completions.reserve() ? undefined : "completions-full"
  }

  /** Ends the oldest work with a completion; undefined if there was none. */
  protected complete(kind: Kind, status: Status): Completion | undefined {
    const { counters: ledger } = this
    const { id } = this.at(ledger.ended)
    if (!ledger.end()) return undefined
    this.#completedUpTo = ledger.ended
    const completion = this.#target.completions.put(ledger, ledger.ended)
    completion.id = id
    completion.kind = kind
    completion.status = status
    completion.queuePair = this.#target.queuePair
    completion.length = 0
    completion.immediate = 0
    completion.invalidated = 0
    return completion
  }

  /**
   * Ends the queue: frees reservations of work that ended without a completion since the last one.
   */
  retire(): void {
    const { counters: ledger } = this
    const silent = ledger.ended - Math.max(this.#completedUpTo, ledger.reclaimed)
    if (silent > 0) this.#target.completions.unreserve(silent)
  }
}

/** The work that a queue pair sends. */
export class SendQueue<Slot extends SendPlace = SendSlot> extends Queue<Slot> {
  readonly #limits: WorkLimits

  constructor(
    depth: number,
    limits: WorkLimits,
    told: CompletionTarget,
    make: (place: number) => Slot
  ) {
    super(depth, told, make)
    this.#limits = limits
  }

  /** Copies the request into the queue, if there is room. */
  post(request: SendRequest, state: State): Posted {
    if (!canSend(state)) return "wrong-state"
    const { inline, opcode, scatterList: parts } = request
    const bytes = parts.byteLength
    if (parts.count > this.#limits.scatterEntries) return "too-many-entries"
    if (bytes > this.#limits.messageBytes) return "too-long"
    if (inline && (bytes > this.#limits.inlineBytes || isFetch(opcode))) return "too-long"
    const refusal = this.reserve()
    if (refusal !== undefined) return refusal
    this.at(this.counters.posted).take(request, bytes, this.#limits.inlineBytes)
    this.counters.posted += 1
    return "accepted"
  }

  /** Ends the oldest send. Success without `signalled` makes no completion. */
  end(status: Status, length: number): void {
    const { counters: ledger } = this
    const { opcode, signalled } = this.at(ledger.ended)
    if (status === "success" && !signalled && ledger.outstanding > 0) ledger.end()
    else {
      const completion = this.complete(kinds[opcode], status)
      if (completion !== undefined) completion.length = length
    }
  }

  flush(): void {
    while (this.counters.outstanding > 0) this.end("flushed", 0)
  }
}

/** The receives that are posted to a queue pair. */
export class ReceiveQueue<Slot extends ReceivePlace = ReceiveSlot> extends Queue<Slot> {
  readonly #limits: WorkLimits

  constructor(
    depth: number,
    limits: WorkLimits,
    told: CompletionTarget,
    make: (place: number) => Slot
  ) {
    super(depth, told, make)
    this.#limits = limits
  }

  post(request: ReceiveRequest, state: State): Posted {
    if (!canPostReceive(state)) return "wrong-state"
    if (request.scatterList.count > this.#limits.scatterEntries) return "too-many-entries"
    const refusal = this.reserve()
    if (refusal !== undefined) return refusal
    this.at(this.counters.posted).take(request)
    this.counters.posted += 1
    return "accepted"
  }

  /** The receive for the next message. */
  get next(): Slot | undefined {
    return this.counters.outstanding > 0 ? this.at(this.counters.ended) : undefined
  }

  /** Ends the oldest receive; the caller fills the completion. */
  end(kind: "receive" | "receive-immediate", status: Status): Completion | undefined {
    return this.complete(kind, status)
  }

  flush(): void {
    while (this.counters.outstanding > 0) this.end("receive", "flushed")
  }
}

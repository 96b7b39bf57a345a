/** The requester: turns posted work into messages, and completes it in order. */
import { Outgoing } from "../../schema/iwarp/FpduWriter.ts"
import type { Outstanding } from "../../schema/iwarp/Outstanding.ts"
import * as RdmapHeader from "../../schema/iwarp/RdmapHeader.ts"
import { Opcode, Queue } from "../../schema/iwarp/Segment.ts"
import type { Status } from "../verbs/Completion.ts"
import { PostedSend, type QueueMemory } from "./queueMemory.ts"
import { type BufferTable, ScatterBuffer, type Sink } from "./placement.ts"

/** The STag of a response's sink. The peer only repeats it; some peers refuse 0. */
export const sinkStag = 1

const allBits = 0xffff_ffff_ffff_ffffn
const wordBytes = 8

/** A slot of the send queue. */
class Work {
  /** Completes with an answer of the peer; otherwise when its bytes have left. */
  isFetch = false
  isAnswered = false
  /** Its success also makes a completion. */
  isSignalled = false
  /** The batch of its last bytes. */
  batch = 0
  sink: ScatterBuffer | undefined = undefined
}

/** Work that cannot be sent, and its status. */
export interface Unsendable {
  readonly status: Status
}

const control = (opcode: number, queue: number, sequence: number, bytes: Uint8Array): Outgoing => {
  const out = new Outgoing()
  out.opcode = opcode
  out.queue = queue
  out.sequence = sequence
  out.payload = [bytes]
  return out
}

const filled = (bytes: number, fill: (view: DataView) => void): Uint8Array => {
  const content = new Uint8Array(bytes)
  fill(new DataView(content.buffer))
  return content
}

/** The send queue in its session. */
export class Requester {
  readonly #queues: QueueMemory
  readonly #memory: BufferTable
  readonly #outstanding: Outstanding<Sink>
  readonly #ord: number
  readonly #work: Array<Work> = []
  readonly #posted = new PostedSend()
  readonly #sources: ScatterBuffer
  /** Counts that wrap: the next work to send, and the oldest that has not ended. */
  #next: number
  #oldest: number
  /** Ended work that was not reported, and whether one of it makes a completion. */
  unreported = 0
  hasSignalled = false
  /** Fetches that wait for their answers, oldest first. */
  readonly #fetches: Array<Work> = []
  #sendSequence = 0
  #requestSequence = 0
  #atomics = 0
  /** The second message of a write with immediate data. */
  #immediate: Outgoing | undefined

  constructor(
    queues: QueueMemory,
    memory: BufferTable,
    outstanding: Outstanding<Sink>,
    from: number,
    ord: number
  ) {
    this.#queues = queues
    this.#memory = memory
    this.#outstanding = outstanding
    this.#ord = ord
    this.#sources = new ScatterBuffer(memory)
    this.#next = this.#oldest = from | 0
  }

  /** The next message, if there is work and the peer can take it now. */
  next(): Outgoing | Unsendable | undefined {
    if (this.#immediate !== undefined) return this.#immediate
    if (this.#next === this.#queues.sends) return undefined
    const posted = this.#posted
    this.#queues.readSend(this.#next, posted)
    const work = this.#at(this.#next)
    work.isFetch = fetches(posted)
    work.isSignalled = posted.signalled
    work.isAnswered = false
    return work.isFetch ? this.#fetch(posted, work) : this.#message(posted)
  }

  /** Records that a message of `next` is in a batch. */
  put(message: Outgoing, batch: number): void {
    if (message !== this.#immediate && this.#posted.opcode === "write-immediate") {
      const { bytes, immediate } = this.#posted
      // The receiver of a write with immediate data is told the length of the write.
      const content = filled(RdmapHeader.immediateBytes, (view) => {
        view.setUint32(0, bytes)
        view.setUint32(4, immediate)
      })
      this.#sendSequence += 1
      this.#immediate = control(Opcode.immediate, Queue.send, this.#sendSequence, content)
      return
    }
    this.#immediate = undefined
    this.#at(this.#next).batch = batch
    this.#next = (this.#next + 1) | 0
  }

  /** The empty read by which a peer learns that this side is ready. */
  readyRead(): Outgoing {
    this.#fetches.push(new Work())
    this.#outstanding.read(sinkStag, 0, 0, 0, undefined, 0)
    return this.#readRequest(0, 0, 0, 0)
  }

  /** Handles the response to the oldest read. */
  answered(): void {
    this.#fetches.shift()!.isAnswered = true
  }

  /** Handles the response to the oldest atomic operation; false if its memory was released. */
  answeredAtomic(response: Uint8Array): boolean {
    const work = this.#fetches.shift()!
    work.isAnswered = true
    const view = new DataView(response.buffer, response.byteOffset)
    const { original } = RdmapHeader.readAtomicResponse(view, 0)
    const bytes = new Uint8Array(BigUint64Array.of(original).buffer)
    return work.sink!.place(0, bytes, 0, wordBytes)
  }

  /** Ends work at the head, given that so many batches have left. */
  end(batches: number): void {
    while (this.#oldest !== this.#next) {
      const { batch, isAnswered, isFetch, isSignalled } = this.#at(this.#oldest)
      if (!(isFetch ? isAnswered : batch <= batches)) return
      this.#oldest = (this.#oldest + 1) | 0
      this.unreported += 1
      this.hasSignalled ||= isSignalled
    }
  }

  /** Marks ended work as reported; returns the number. */
  takeUnreported(): number {
    const count = this.unreported
    this.unreported = 0
    this.hasSignalled = false
    return count
  }

  /** Whether a response of the peer is awaited. */
  get isWaiting(): boolean {
    return this.#fetches.length > 0
  }

  #at(index: number): Work {
    return (this.#work[index & (this.#queues.sendPlaces - 1)] ??= new Work())
  }

  #message(posted: PostedSend): Outgoing | Unsendable {
    const out = new Outgoing()
    if (posted.inlined !== undefined) out.payload = [posted.inlined]
    else {
      const payload: Array<Uint8Array> = []
      this.#sources.load(this.#queues, posted.partsAt, posted.parts)
      if (!this.#sources.gather(payload)) return { status: "local-protection" }
      out.payload = payload
    }
    if (posted.opcode === "write" || posted.opcode === "write-immediate") {
      out.opcode = Opcode.write
      out.tagged = true
      out.stag = posted.key
      out.offsetHigh = posted.high
      out.offsetLow = posted.low
    } else {
      const invalidates = posted.opcode === "send-invalidate"
      this.#sendSequence += 1
      out.opcode = invalidates ? Opcode.sendInvalidate : Opcode.send
      out.stag = invalidates ? posted.invalidate : 0
      out.queue = Queue.send
      out.sequence = this.#sendSequence
    }
    return out
  }

  #fetch(posted: PostedSend, work: Work): Outgoing | Unsendable | undefined {
    const limit = Math.min(this.#ord, this.#queues.isFetch)
    if (limit === 0) return { status: "local-operation" }
    if (this.#fetches.length >= limit) return undefined
    const sink = (work.sink ??= new ScatterBuffer(this.#memory))
    sink.load(this.#queues, posted.partsAt, posted.parts)
    if (!sink.isSound) return { status: "local-protection" }
    const isRead = posted.opcode === "read"
    if (!isRead && sink.length !== wordBytes) return { status: "local-length" }
    this.#fetches.push(work)
    if (!isRead) return this.#atomic(posted)
    this.#outstanding.read(sinkStag, 0, 0, posted.bytes, sink, 0)
    return this.#readRequest(posted.bytes, posted.key, posted.high, posted.low)
  }

  #readRequest(length: number, key: number, high: number, low: number): Outgoing {
    const bytes = filled(RdmapHeader.readRequestBytes, (view) => {
      view.setUint32(0, sinkStag)
      view.setUint32(12, length)
      view.setUint32(16, key)
      view.setUint32(20, high)
      view.setUint32(24, low)
    })
    this.#requestSequence += 1
    return control(Opcode.readRequest, Queue.request, this.#requestSequence, bytes)
  }

  #atomic(posted: PostedSend): Outgoing {
    this.#atomics = (this.#atomics + 1) >>> 0
    const isAdd = posted.opcode === "fetch-add"
    const request: RdmapHeader.AtomicRequest = {
      operation: isAdd ? "fetchAdd" : "compareSwap",
      request: this.#atomics,
      stag: posted.key,
      offset: (BigInt(posted.high) << 32n) | BigInt(posted.low),
      data: posted.value,
      mask: isAdd ? 0n : allBits,
      compare: isAdd ? 0n : posted.compare,
      compareMask: isAdd ? 0n : allBits
    }
    this.#outstanding.atomic(this.#atomics)
    const bytes = filled(RdmapHeader.atomicRequestBytes, (view) =>
      RdmapHeader.writeAtomicRequest(view, 0, request)
    )
    this.#requestSequence += 1
    return control(Opcode.atomicRequest, Queue.request, this.#requestSequence, bytes)
  }
}

const fetches = ({ opcode }: PostedSend): boolean =>
  opcode === "read" || opcode === "fetch-add" || opcode === "compare-swap"

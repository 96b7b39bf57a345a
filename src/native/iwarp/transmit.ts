/**
 * The sending half of a session: requests and responses in turn, in batches, and never so much at
 * once that the connection stops reading because it has too much to write.
 */
import { type Batch, FpduWriter, Outgoing } from "../../schema/iwarp/FpduWriter.ts"
import { Opcode, Queue } from "../../schema/iwarp/Segment.ts"
import type { Crc32c } from "../../schema/iwarp/Crc32c.ts"
import { PendingResponse, copyUpTo } from "./responder.ts"
import { sinkStag, type Unsendable, type Requester } from "./requester.ts"

/** Bytes that may be with the socket at once: about the most that a kernel's buffer takes. */
const windowBytes = 2_097_152
/** Bytes of a batch: one `writev`. */
const batchBytes = 524_288
/**
 * The least that a pool must let a lane have unsent. A lane that has more stops reading, and two
 * ends that both do would wait for each other for ever.
 */
export const laneBytes = 2 * windowBytes
/** Bytes of headers, trailers and short payloads in a batch. */
const frameBytes = 16_384

const emptyWrite = (): Outgoing => {
  const write = new Outgoing()
  write.opcode = Opcode.write
  write.tagged = true
  write.stag = sinkStag
  return write
}

/** Operations and events of the transmitter. */
export interface TransmitterPort {
  readonly write: (parts: ReadonlyArray<Uint8Array>, written: () => void) => void
  /** Writes the last bytes: they count as unsent until the turn ends, so they are waited for. */
  readonly writeLast: (bytes: Uint8Array) => void
  /** Called when a batch has left; the session calls `left` when it may run. */
  readonly written: (batch: Batch, number: number) => void
  /** Called when the oldest work cannot be sent. */
  readonly unsendable: (work: Unsendable) => void
  /** Called when a response was sent. */
  readonly answered: () => void
  /** Called when a promised response may no longer be read. */
  readonly withdrawn: () => void
}

/** The sending half of a connection. */
export class Transmitter {
  readonly #port: TransmitterPort
  readonly #requester: Requester
  readonly #writer: FpduWriter
  readonly #responses: Array<PendingResponse> = []
  /** The message that is being written, maybe over several batches. */
  #current: Outgoing | undefined
  #signal: Outgoing | undefined
  #isResponseNext = false
  #atomicSequence = 0
  #isOpen = false
  #isOver = false
  #inFlight = 0
  #batches = 0
  /** Number of batches that have left; they leave in order. */
  #left = 0

  constructor(
    port: TransmitterPort,
    works: Requester,
    crc: Crc32c | undefined,
    maximumUlpdu: number | undefined
  ) {
    this.#port = port
    this.#requester = works
    this.#writer = new FpduWriter({ crc, maximumUlpdu, batchBytes, frameBytes, copyUpTo })
  }

  /** Batches that have left. */
  get left(): number {
    return this.#left
  }

  /** Whether bytes wait for the socket. */
  get isWaiting(): boolean {
    return this.#inFlight > 0
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Lets the output begin: from now on the peer reads it. */
  open(): void {
    this.#isOpen = true
  }

  /** Begins with the signal that the peer awaits before it sends anything itself. */
  openWith(signal: "write" | "read"): void {
    this.#isOpen = true
    this.#signal = this.#current = signal === "read" ? this.#requester.readyRead() : emptyWrite()
  }

  /** Sends another sign that this side is alive, unless a message is about to be sent. */
  nudge(): void {
    if (this.#current !== undefined) return
    this.#signal = this.#current = emptyWrite()
    this.pump()
  }

  respond(answer: PendingResponse): void {
    if (answer.isAtomic) {
      this.#atomicSequence += 1
      answer.sequence = this.#atomicSequence
    }
    this.#responses.push(answer)
  }

  /** Sends messages, up to the window. */
  pump(): void {
    while (this.#isOpen && !this.#isOver && this.#inFlight < windowBytes) {
      while (this.#step());
      if (!this.#writeBatch()) return
    }
  }

  /** Handles a batch that the socket has taken. */
  wrote(batch: Batch, number: number): void {
    this.#inFlight -= batch.bytes
    this.#left = number
    this.#writer.recycle(batch)
  }

  /** Ends the output, with a Terminate if the peer may get one. */
  end(terminate: Uint8Array | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    if (!this.#isOpen || terminate === undefined) return
    this.#writeBatch()
    const message = new Outgoing()
    message.opcode = Opcode.terminate
    message.queue = Queue.terminate
    message.sequence = 1
    message.payload = [terminate]
    this.#writer.put(message)
    for (const part of this.#writer.take()!.parts) this.#port.writeLast(part)
  }

  /** Adds one message; false when there is none, or no room. */
  #step(): boolean {
    this.#current ??= this.#choose()
    const message = this.#current
    if (message === undefined) return false
    const isAnswer = message instanceof PendingResponse
    if (isAnswer && !message.prepare(batchBytes)) {
      this.#port.withdrawn()
      return false
    }
    if (!this.#writer.put(message)) return false
    this.#current = undefined
    if (isAnswer) this.#port.answered()
    else if (message !== this.#signal) this.#requester.put(message, this.#batches + 1)
    return true
  }

  /** Chooses the next message: responses and requests take turns. */
  #choose(): Outgoing | undefined {
    if (this.#isOver) return undefined
    this.#isResponseNext = !this.#isResponseNext
    const hasAnswers = this.#responses.length > 0
    if (this.#isResponseNext && hasAnswers) return this.#responses.shift()
    const next = this.#requester.next()
    if (next === undefined) return hasAnswers ? this.#responses.shift() : undefined
    if (next instanceof Outgoing) return next
    this.#port.unsendable(next)
    return undefined
  }

  #writeBatch(): boolean {
    const batch = this.#writer.take()
    if (batch === undefined) return false
    const { parts } = batch
    const number = ++this.#batches
    this.#inFlight += batch.bytes
    this.#port.write(parts, () => this.#port.written(batch, number))
    return true
  }
}

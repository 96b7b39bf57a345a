/**
 * Answers to a peer's reads and atomic operations, in the order in which they were asked.
 *
 * What is read is copied when its turn comes: the owner may change its memory while the octets
 * are on their way, and a CRC over octets that change would end the connection.
 */
import { Outgoing } from "../../schema/iwarp/FpduWriter.ts"
import {
  applyAtomic,
  atomicResponseBytes,
  readAtomicRequest,
  writeAtomicResponse
} from "../../schema/iwarp/RdmapHeader.ts"
import { Opcode, Queue, wordAt } from "../../schema/iwarp/Segment.ts"
import type { KeyedSink } from "./sinks.ts"

/** Octets of a response that are copied at once. */
const pieceBytes = 131_072

/** Payloads up to this length are copied by the writer as soon as they are put. */
export const copyUpTo = 1_024

/** A request of the peer that waits for its answer. */
export class Answer extends Outgoing {
  readonly #sink: KeyedSink | undefined
  readonly #at: number
  readonly #atomic: Uint8Array | undefined
  readonly #pieces: Array<Uint8Array> = []
  /** Pieces before the first have left, and before the second are copies. */
  #left = 0
  #copied = 0

  private constructor(sink: KeyedSink | undefined, at: number, atomic: Uint8Array | undefined) {
    super()
    this.#sink = sink
    this.#at = at
    this.#atomic = atomic
  }

  static toRead(request: Uint8Array, sink: KeyedSink | undefined, at: number): Answer {
    const answer = new Answer(sink, at, undefined)
    answer.opcode = Opcode.readResponse
    answer.tagged = true
    answer.stag = wordAt(request, 0)
    answer.offsetHigh = wordAt(request, 4)
    answer.offsetLow = wordAt(request, 8)
    const length = wordAt(request, 12)
    if (sink === undefined) return answer
    for (let from = at; from < at + length; from += pieceBytes) {
      answer.#pieces.push(sink.octets.subarray(from, Math.min(at + length, from + pieceBytes)))
    }
    answer.payload = answer.#pieces
    return answer
  }

  static toAtomic(request: Uint8Array, sink: KeyedSink, at: number): Answer {
    const answer = new Answer(sink, at, request.slice())
    answer.opcode = Opcode.atomicResponse
    answer.queue = Queue.atomicResponse
    return answer
  }

  get isAtomic(): boolean {
    return this.#atomic !== undefined
  }

  /**
   * Takes what the next `octets` need out of the memory; false if the peer may not have it any
   * more.
   */
  prepare(octets: number): boolean {
    const sink = this.#sink
    if (sink === undefined) return true
    if (this.#atomic !== undefined) {
      return this.payload.length > 0 || sink.use(() => this.#operate(this.#atomic!, sink))
    }
    return sink.use(() => this.#copy(sink, octets))
  }

  #copy(sink: KeyedSink, octets: number): void {
    if (this.#pieces.length === 1 && this.#pieces[0]!.length <= copyUpTo) return
    const last = Math.min(this.#pieces.length, this.part + 1 + Math.ceil(octets / pieceBytes))
    // What has left is only needed for its length.
    for (; this.#left < this.part; this.#left++) {
      const from = this.#at + this.#left * pieceBytes
      this.#pieces[this.#left] = sink.octets.subarray(from, from + pieceBytes)
    }
    for (; this.#copied < last; this.#copied++) {
      this.#pieces[this.#copied] = this.#pieces[this.#copied]!.slice()
    }
  }

  #operate(octets: Uint8Array, sink: KeyedSink): void {
    const request = readAtomicRequest(new DataView(octets.buffer), 0)!
    const word = new BigUint64Array(sink.octets.buffer, sink.octets.byteOffset + this.#at, 1)
    let original = Atomics.load(word, 0)
    for (;;) {
      const wanted = applyAtomic(original, request)
      const found = Atomics.compareExchange(word, 0, original, wanted)
      if (found === original) break
      original = found
    }
    const response = new Uint8Array(atomicResponseBytes)
    writeAtomicResponse(new DataView(response.buffer), 0, { request: request.request, original })
    this.payload = [response]
  }
}

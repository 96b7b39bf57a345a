/**
 * Responses to a peer's reads and atomic operations, in the order of the requests.
 *
 * Memory that is read is copied piece by piece as it is sent. A copy, because the owner may change
 * its memory while the bytes are under way, and a CRC over bytes that change would end the
 * connection; as it is sent, because a request of 60 bytes may ask for 4 GiB.
 */
import { Outgoing } from "../../schema/iwarp/FpduWriter.ts"
import {
  applyAtomic,
  atomicResponseBytes,
  readAtomicRequest,
  writeAtomicResponse
} from "../../schema/iwarp/RdmapHeader.ts"
import { Opcode, Queue, wordAt } from "../../schema/iwarp/Segment.ts"
import type { TaggedBuffer } from "./placement.ts"

/** Bytes of a response that are copied at once. */
const pieceBytes = 131_072

/** Payloads up to this length are copied by the writer as soon as they are added. */
export const copyUpTo = 1_024

/** A request of the peer that waits for its response. */
export class PendingResponse extends Outgoing {
  readonly #sink: TaggedBuffer | undefined
  /** The offset of the next piece. */
  #at: number
  readonly #atomic: Uint8Array | undefined

  private constructor(sink: TaggedBuffer | undefined, at: number, atomic: Uint8Array | undefined) {
    super()
    this.#sink = sink
    this.#at = at
    this.#atomic = atomic
  }

  static toRead(request: Uint8Array, sink: TaggedBuffer | undefined, at: number): PendingResponse {
    const answer = new PendingResponse(sink, at, undefined)
    answer.opcode = Opcode.readResponse
    answer.tagged = true
    answer.stag = wordAt(request, 0)
    answer.offsetHigh = wordAt(request, 4)
    answer.offsetLow = wordAt(request, 8)
    if (sink !== undefined) answer.later = wordAt(request, 12)
    return answer
  }

  static toAtomic(request: Uint8Array, sink: TaggedBuffer, at: number): PendingResponse {
    const answer = new PendingResponse(sink, at, request.slice())
    answer.opcode = Opcode.atomicResponse
    answer.queue = Queue.atomicResponse
    return answer
  }

  get isAtomic(): boolean {
    return this.#atomic !== undefined
  }

  /** Copies the next `bytes`; false if the peer may no longer read them. */
  prepare(bytes: number): boolean {
    const sink = this.#sink
    if (sink === undefined) return true
    if (this.#atomic !== undefined) {
      return (
        this.payload.length > 0 ||
        sink.use((memory, offset) => this.#operate(this.#atomic!, memory, offset))
      )
    }
    return sink.use((memory, offset) => this.#copy(memory, offset, bytes))
  }

  /** Drops the pieces that are in batches, and copies more until the next batch must be full. */
  #copy(memory: Uint8Array, offset: number, bytes: number): void {
    const pieces = this.payload.slice(this.part)
    this.part = 0
    let present = pieces.reduce((sum, { length }) => sum + length, -this.partWritten)
    while (this.later > 0 && present < bytes + pieceBytes) {
      const length = Math.min(pieceBytes, this.later)
      const from = offset + this.#at
      pieces.push(memory.slice(from, from + length))
      this.#at += length
      this.later -= length
      present += length
    }
    this.payload = pieces
  }

  #operate(bytes: Uint8Array, memory: Uint8Array, offset: number): void {
    const request = readAtomicRequest(new DataView(bytes.buffer), 0)!
    const word = new BigUint64Array(memory.buffer, memory.byteOffset + offset + this.#at, 1)
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

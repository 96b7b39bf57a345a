/**
 * Reads of a socket, whose lane exists once the socket is open.
 */
import type { SocketLane } from "./socketLane.ts"
import type { OpenChunk } from "./chunkPool.ts"
import type { Reader } from "./platform.ts"

/**
 * Bytes of one read. After each read the kernel may announce room to the peer in a separate packet,
 * so reads of 64 KiB cost up to twice as much for each byte; it still fits a second-level cache.
 */
export const readBytes = 262_144

/** The chunk into which the lane's next read goes; undefined: into the host's buffer. */
export type ReadInto = (lane: SocketLane) => OpenChunk | undefined

/** Reads of one socket. */
export class SocketReader implements Reader {
  lane: SocketLane | undefined
  readonly #staging: Uint8Array
  readonly #readInto: ReadInto
  #buffer: Uint8Array
  /** The chunk that holds the buffer, if the framer does not consume. */
  #chunk: OpenChunk | undefined

  constructor(staging: Uint8Array, readInto: ReadInto) {
    this.#staging = this.#buffer = staging
    this.#readInto = readInto
  }

  readonly buffer = (): Uint8Array => (this.#buffer = this.#choose() ?? this.#staging)

  readonly onRead = (length: number): boolean => {
    const chunk = this.#chunk
    const room = this.#buffer.length
    if (chunk === undefined) return this.read(this.#buffer, length, room)
    const from = chunk.nextByte
    chunk.nextByte += length
    return this.lane === undefined
      ? false
      : this.lane.read(chunk.memory, from, chunk.nextByte, room)
  }

  readonly read = (bytes: Uint8Array, length: number, room: number): boolean =>
    this.lane === undefined ? false : this.lane.read(bytes, 0, length, room)

  /** Bytes that a framer consumes are read into one buffer, which stays in a cache. */
  #choose(): Uint8Array | undefined {
    const { lane } = this
    this.#chunk = undefined
    if (lane === undefined) return undefined
    return lane.consumes ? lane.readBuffer() : this.#chooseChunk(lane)
  }

  #chooseChunk(lane: SocketLane): Uint8Array | undefined {
    this.#chunk = this.#readInto(lane)
    if (this.#chunk === undefined) return undefined
    const { end, nextByte: fill, memory } = this.#chunk
    return memory.subarray(fill, Math.min(fill + readBytes, end))
  }
}

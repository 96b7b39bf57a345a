/**
 * Reads and writes XDR, the encoding of ONC RPC (RFC 4506): big-endian items whose sizes are
 * multiples of four bytes.
 */

import { copyBytes, copyOf } from "../copyBytes.ts"

const padded = (length: number): number => (length + 3) & ~3

const noBytes = new Uint8Array(0)

const utf8 = new TextDecoder()
const toUtf8 = new TextEncoder()

/**
 * Reads items from bytes that a peer sent. After the first item that is not there or is beyond its
 * limit, `failed` is true and every further item is empty or 0, so a caller checks once, at the
 * end, and never allocates for a length that the bytes do not hold.
 */
export class XdrReader {
  failed = false
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Bytes that have not been read; 0 after a failure. */
  get remaining(): number {
    return this.failed ? 0 : this.#bytes.length - this.#at
  }

  /** Takes so many bytes and returns where they begin, or undefined if they are not there. */
  #take(length: number): number | undefined {
    if (length > this.remaining) {
      this.failed = true
      return undefined
    }
    const at = this.#at
    this.#at += length
    return at
  }

  // Byte by byte: a DataView costs more than all the words of a header.
  uint32(): number {
    const at = this.#take(4)
    if (at === undefined) return 0
    const bytes = this.#bytes
    const high = (bytes[at]! << 24) | (bytes[at + 1]! << 16)
    return (high | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  }

  int32(): number {
    return this.uint32() | 0
  }

  /** The next number, which stays to be read. */
  peek(): number {
    const value = this.uint32()
    if (!this.failed) this.#at -= 4
    return value
  }

  uint64(): bigint {
    if (this.remaining < 8) this.failed = true
    const high = this.uint32()
    return (BigInt(high) << 32n) | BigInt(this.uint32())
  }

  /** XDR knows two values; any other one is a failure. */
  boolean(): boolean {
    const value = this.uint32()
    if (value > 1) this.failed = true
    return value === 1
  }

  /** A view of bytes of a known length, without their padding. */
  fixed(length: number): Uint8Array {
    const at = this.#take(padded(length))
    return at === undefined || length === 0 ? noBytes : this.#bytes.subarray(at, at + length)
  }

  /** A view of bytes whose length goes before them and is at most `maxBytes`. */
  opaque(maxBytes: number): Uint8Array {
    const length = this.uint32()
    if (length > maxBytes || length > this.remaining) this.failed = true
    return this.failed ? noBytes : this.fixed(length)
  }

  /** A text of at most `maxBytes` bytes in UTF-8. */
  string(maxBytes: number): string {
    // A decoder takes no view of shared memory.
    const bytes = this.opaque(maxBytes)
    return utf8.decode(copyOf(bytes, 0, bytes.length))
  }

  /** A view of everything that has not been read; nothing after a failure. */
  rest(): Uint8Array {
    const at = this.#bytes.length - this.remaining
    this.#at = this.#bytes.length
    return at === this.#bytes.length ? noBytes : this.#bytes.subarray(at)
  }
}

const firstBytes = 256

/** Bytes up to which a loop over them costs less than a call of the runtime. */
const shortBytes = 64

/**
 * Writes items one behind the other: into memory that grows as needed, or into given memory, which
 * must have room for all of them and may hold other bytes before.
 */
export class XdrWriter {
  #bytes: Uint8Array
  #start = 0
  #at = 0

  constructor(bytes: Uint8Array = new Uint8Array(firstBytes)) {
    this.#bytes = bytes
  }

  /** Writes the next items into `bytes`, from `at` on. */
  into(bytes: Uint8Array, at: number): this {
    this.#bytes = bytes
    this.#start = this.#at = at
    return this
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at - this.#start
  }

  /** Makes room for so many bytes, and returns where they begin. */
  #grow(length: number): number {
    const at = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    return at
  }

  uint32(value: number): this {
    const at = this.#grow(4)
    const bytes = this.#bytes
    bytes[at] = value >>> 24
    bytes[at + 1] = value >>> 16
    bytes[at + 2] = value >>> 8
    bytes[at + 3] = value
    return this
  }

  uint64(value: bigint): this {
    return this.uint32(Number(value >> 32n)).uint32(Number(value & 0xffff_ffffn))
  }

  boolean(value: boolean): this {
    return this.uint32(value ? 1 : 0)
  }

  /** Bytes whose length the reader knows, and their padding. */
  fixed(bytes: Uint8Array): this {
    this.raw(bytes)
    for (let left = padded(bytes.length) - bytes.length; left > 0; left--) {
      const at = this.#grow(1)
      this.#bytes[at] = 0
    }
    return this
  }

  /** The length of the bytes, then the bytes and their padding. */
  opaque(bytes: Uint8Array): this {
    return this.uint32(bytes.length).fixed(bytes)
  }

  string(text: string): this {
    return this.opaque(toUtf8.encode(text))
  }

  /** Bytes as they are, without a length and without padding. */
  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length)
    const target = this.#bytes
    if (bytes.length > shortBytes) copyBytes(target, at, bytes, 0, bytes.length)
    else for (let index = 0; index < bytes.length; index++) target[at + index] = bytes[index]!
    return this
  }

  /** Writes a number over what was written at `at`. */
  overwrite(at: number, value: number): this {
    const end = this.#at
    this.#at = this.#start + at
    this.uint32(value)
    this.#at = end
    return this
  }

  /** A view of what was written into memory of the writer's; the next item may move it. */
  bytes(): Uint8Array<ArrayBuffer> {
    return (this.#bytes as Uint8Array<ArrayBuffer>).subarray(this.#start, this.#at)
  }
}

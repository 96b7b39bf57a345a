/**
 * Reads and writes XDR, the encoding of ONC RPC (RFC 4506): big-endian items whose sizes are
 * multiples of four bytes.
 */

const padded = (length: number): number => (length + 3) & ~3

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
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
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

  uint32(): number {
    const at = this.#take(4)
    return at === undefined ? 0 : this.#view.getUint32(at)
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
    const at = this.#take(8)
    return at === undefined ? 0n : this.#view.getBigUint64(at)
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
    return at === undefined ? new Uint8Array(0) : this.#bytes.subarray(at, at + length)
  }

  /** A view of bytes whose length goes before them and is at most `maxBytes`. */
  opaque(maxBytes: number): Uint8Array {
    const length = this.uint32()
    if (length > maxBytes || length > this.remaining) this.failed = true
    return this.failed ? new Uint8Array(0) : this.fixed(length)
  }

  /** A text of at most `maxBytes` bytes in UTF-8. */
  string(maxBytes: number): string {
    // A decoder takes no view of shared memory.
    return utf8.decode(Uint8Array.from(this.opaque(maxBytes)))
  }

  /** A view of everything that has not been read; nothing after a failure. */
  rest(): Uint8Array {
    const rest = this.#bytes.subarray(this.#bytes.length - this.remaining)
    this.#at = this.#bytes.length
    return rest
  }
}

const firstBytes = 256

/** Writes items one behind the other into memory that grows as needed. */
export class XdrWriter {
  #bytes = new Uint8Array(firstBytes)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  /** Bytes written so far. */
  get length(): number {
    return this.#length
  }

  /** Makes room for so many bytes, of value 0, and returns where they begin. */
  #grow(length: number): number {
    const at = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }

  uint32(value: number): this {
    // The view may be another one once there is room.
    const at = this.#grow(4)
    this.#view.setUint32(at, value)
    return this
  }

  uint64(value: bigint): this {
    const at = this.#grow(8)
    this.#view.setBigUint64(at, value)
    return this
  }

  boolean(value: boolean): this {
    return this.uint32(value ? 1 : 0)
  }

  /** Bytes whose length the reader knows, and their padding. */
  fixed(bytes: Uint8Array): this {
    const at = this.#grow(padded(bytes.length))
    this.#bytes.set(bytes, at)
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
    this.#bytes.set(bytes, at)
    return this
  }

  /** A view of what was written; the next item may move it. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length)
  }
}

/**
 * A bounded queue of records in shared memory with one producer and one consumer.
 *
 * Each method has at most one atomic access that the other side can tell from its neighbours: a
 * model test that interleaves methods covers every interleaving of the shipped code. A
 * reservation is private until `publish` moves the tail over it: a producer that dies in between
 * leaves nothing that the consumer could stop at. Each record carries a sequence number, and a
 * consumer refuses to read on when it is not the next one.
 *
 * Positions are counts of 32-bit words that wrap at 2^32; the capacity is a power of two.
 */

/** Words before the data: head, tail and the waiting flag, each on a separate cache line. */
const headerWords = 48
const headAt = 0
const tailAt = 16
const waitingAt = 32

/** Words that each record spends on its sequence number and its length. */
const recordHead = 2

/** The sequence number of a filler that skips the end of the data area. */
const fillerLength = -1

/** Bytes of shared memory that a ring of so many words needs. */
export const ringBytes = (capacity: number): number => (headerWords + capacity) * 4

const capacityOf = (words: Int32Array): number => {
  const capacity = words.length - headerWords
  if (capacity < 4 || (capacity & (capacity - 1)) !== 0) {
    throw new RangeError(`a ring holds a power of two of words, not ${capacity}`)
  }
  return capacity
}

/** The side that fills the ring. */
export class RingProducer {
  readonly words: Int32Array
  /** The same memory as bytes. */
  readonly bytes: Uint8Array
  readonly #mask: number
  /** The longest record that fits when the ring is empty, wherever it starts. */
  readonly largest: number
  #head = 0
  #tail = 0
  #sequence = 0

  constructor(words: Int32Array) {
    this.words = words
    this.bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
    const capacity = capacityOf(words)
    this.#mask = capacity - 1
    this.largest = (capacity >> 1) - recordHead
  }

  /**
   * Makes room for a record and returns the index of its first word, or -1 when the ring is
   * full. Nothing is visible to the consumer before `publish`.
   */
  reserve(length: number): number {
    const { words } = this
    const capacity = this.#mask + 1
    const total = length + recordHead
    if (length > this.largest) throw new RangeError(`record of ${length} words`)
    const offset = this.#tail & this.#mask
    const filler = offset + total > capacity ? capacity - offset : 0
    if (this.#free() < filler + total) {
      this.#head = Atomics.load(words, headAt)
      if (this.#free() < filler + total) return -1
    }
    if (filler > 0) {
      words[headerWords + offset] = this.#sequence
      if (filler > 1) words[headerWords + offset + 1] = fillerLength
      this.#tail = (this.#tail + filler) | 0
    }
    const start = headerWords + (this.#tail & this.#mask)
    words[start] = this.#sequence
    words[start + 1] = length
    this.#sequence = (this.#sequence + 1) | 0
    this.#tail = (this.#tail + total) | 0
    return start + recordHead
  }

  /** Publishes all reserved records to the consumer. */
  publish(): void {
    Atomics.store(this.words, tailAt, this.#tail)
  }

  /** Sets the waiting flag: the consumer rings once it has made room. Then `reserve` again. */
  awaitRoom(): void {
    Atomics.store(this.words, waitingAt, 1)
  }

  #free(): number {
    return this.#mask + 1 - ((this.#tail - this.#head) | 0)
  }
}

/**
 * Thrown by a consumer when the ring does not hold the record that its producer must have written.
 */
export class RingDamaged extends Error {
  constructor(expected: number, found: number, length: number) {
    super(`ring: expected record ${expected}, found ${found} of ${length} words`)
  }
}

/** The side that empties the ring. */
export class RingConsumer {
  readonly words: Int32Array
  /** The same memory as a Buffer, which decodes text of shared memory; a `TextDecoder` refuses. */
  readonly bytes: Buffer
  readonly #mask: number
  #head = 0
  #seen = 0
  #sequence = 0
  /** Words of the record that `next` returned. */
  length = 0

  constructor(words: Int32Array) {
    this.words = words
    this.bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength)
    this.#mask = capacityOf(words) - 1
  }

  /** Checks for published records; true when `next` has one. */
  poll(): boolean {
    this.#seen = Atomics.load(this.words, tailAt)
    return this.#seen !== this.#head
  }

  /** The index of the next record that the last `poll` saw, or -1. Valid until `release`. */
  next(): number {
    if (this.#head === this.#seen) return -1
    const { words } = this
    let offset = this.#head & this.#mask
    const left = this.#mask + 1 - offset
    if (left === 1 || words[headerWords + offset + 1] === fillerLength) {
      this.#check(words[headerWords + offset] ?? 0, 0, left)
      this.#head = (this.#head + left) | 0
      offset = 0
    }
    const length = words[headerWords + offset + 1] ?? 0
    this.#check(words[headerWords + offset] ?? 0, length, this.#mask)
    this.#sequence = (this.#sequence + 1) | 0
    this.#head = (this.#head + length + recordHead) | 0
    this.length = length
    return headerWords + offset + recordHead
  }

  /** Returns the room of all records of `next` to the producer. */
  release(): void {
    Atomics.store(this.words, headAt, this.#head)
  }

  /** Reads and clears the producer's waiting flag. Call after `release`. */
  takeWaiting(): boolean {
    return (
      Atomics.load(this.words, waitingAt) === 1 && Atomics.exchange(this.words, waitingAt, 0) === 1
    )
  }

  #check(sequence: number, length: number, limit: number): void {
    const over = (this.#seen - this.#head) | 0
    if (sequence !== this.#sequence || length < 0 || length > limit || length > over) {
      throw new RingDamaged(this.#sequence, sequence, length)
    }
  }
}

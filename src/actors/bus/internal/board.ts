/**
 * State that a node shares with the workers of its links: the ids of admitted nodes, the PONG
 * that answers their PINGs, the time until which it may be used, and the room for frames that wait
 * for a busy main thread.
 *
 * The main thread writes; workers read. The sequence is odd while a publication is being written.
 * A reader copies what it needs and takes it only if the sequence was even and the same before and
 * after; all accesses to the sequence are atomic, so the copy lies between them. Times are those of
 * the one clock that all threads share.
 */
import { idBytes } from "../../../schema/bus/Layout.ts"

const sequenceAt = 0
const idCountAt = 1
const maxIdsAt = 2
/** Bytes of the PONG without extensions, and of the one with them. */
const pongBytesAt = 4
const waitingBytesAt = 6
const maxWaitingAt = 7
/** Times are 64-bit words behind eight of 32 bits. */
const deadlineAt = 4
const busyAt = 5
const headBytes = 48

/** The least cost of a frame that waits: its record and its place in a batch. */
const leastWaitingBytes = 512

/** Bytes kept for each PONG: a header, and a hundred entries of gossip with it. */
export const longestPongBytes = 16_384

const tableAt = headBytes + 2 * longestPongBytes

/** Reads that a publication may interrupt before the PING is left to the main thread. */
const attempts = 8

/** Nanoseconds of the monotonic clock that all threads share. */
export type SharedClock = () => bigint

const nanosOf = (millis: number): bigint => BigInt(Math.ceil(millis * 1e6))

/** The answers to PINGs: for peers that take extensions, and for those that may not. */
export interface Pongs {
  readonly plain: Uint8Array
  readonly extended: Uint8Array
}

/** The side of the main thread. */
export class Board {
  readonly memory: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #times: BigInt64Array
  readonly #bytes: Uint8Array
  readonly #maxIds: number
  readonly #now: SharedClock

  constructor(maxIds: number, maxWaitingBytes: number, now: SharedClock) {
    this.#maxIds = maxIds
    this.#now = now
    this.memory = new SharedArrayBuffer(tableAt + maxIds * idBytes)
    this.#words = new Int32Array(this.memory, 0, headBytes / 4)
    this.#times = new BigInt64Array(this.memory, 0, headBytes / 8)
    this.#bytes = new Uint8Array(this.memory)
    this.#words[maxIdsAt] = maxIds
    this.#words[maxWaitingAt] = maxWaitingBytes
  }

  /**
   * The main thread is at work. Workers answer with the last publication for `answerMs` from now;
   * after `busyMs` without another call, what they hand over is bounded.
   */
  renew(answerMs: number, busyMs: number): void {
    const now = this.#now()
    Atomics.store(this.#times, deadlineAt, now + nanosOf(answerMs))
    Atomics.store(this.#times, busyAt, now + nanosOf(busyMs))
    Atomics.store(this.#words, waitingBytesAt, 0)
  }

  /** Ends all answers: a worker that has begun to read may still write one. */
  revoke(): void {
    Atomics.store(this.#times, deadlineAt, 0n)
  }

  /** Publishes whom to answer, in ascending order, and with what. */
  publish(ids: ReadonlyArray<string>, { extended, plain }: Pongs): void {
    const count = Math.min(ids.length, this.#maxIds)
    Atomics.add(this.#words, sequenceAt, 1)
    this.#words[idCountAt] = count
    for (const [k, pong] of [plain, extended].entries()) {
      const length = pong.length <= longestPongBytes ? pong.length : 0
      this.#words[pongBytesAt + k] = length
      this.#bytes.set(pong.subarray(0, length), headBytes + k * longestPongBytes)
    }
    const table = Buffer.from(this.memory, tableAt)
    for (let k = 0; k < count; k++) table.write(ids[k]!, k * idBytes, "latin1")
    Atomics.add(this.#words, sequenceAt, 1)
  }
}

/** The side of a worker. */
export class BoardReader {
  readonly #words: Int32Array
  readonly #times: BigInt64Array
  readonly #bytes: Buffer
  readonly #now: SharedClock

  constructor(memory: SharedArrayBuffer, now: SharedClock) {
    this.#now = now
    this.#words = new Int32Array(memory, 0, headBytes / 4)
    this.#times = new BigInt64Array(memory, 0, headBytes / 8)
    this.#bytes = Buffer.from(memory)
  }

  /** Changes with every publication. */
  get revision(): number {
    return Atomics.load(this.#words, sequenceAt)
  }

  /** Returns a copy that `read` makes of one publication; undefined if none stood still for it. */
  #stable<A>(read: () => A): A | undefined {
    for (let k = 0; k < attempts; k++) {
      const before = Atomics.load(this.#words, sequenceAt)
      if ((before & 1) !== 0) continue
      const found = read()
      if (Atomics.load(this.#words, sequenceAt) === before) return found
    }
    return undefined
  }

  /** Whether the node with this id is admitted. */
  admits(id: Uint8Array): boolean {
    return this.#stable(() => this.#find(id)) === true
  }

  #find(id: Uint8Array): boolean {
    let low = 0
    let high = Math.min(this.#words[idCountAt]!, this.#words[maxIdsAt]!)
    while (low < high) {
      const middle = (low + high) >> 1
      const at = tableAt + middle * idBytes
      const order = this.#bytes.compare(id, 0, idBytes, at, at + idBytes)
      if (order === 0) return true
      if (order < 0) low = middle + 1
      else high = middle
    }
    return false
  }

  /** The main thread has been at other work for longer than it may. */
  get isBusy(): boolean {
    return this.#now() >= Atomics.load(this.#times, busyAt)
  }

  /** Takes room for a frame that waits for a busy main thread; false if there is none. */
  takeRoom(bytes: number): boolean {
    const cost = Math.max(bytes, leastWaitingBytes)
    const most = this.#words[maxWaitingAt]! - cost
    return Atomics.add(this.#words, waitingBytesAt, cost) <= most
  }

  /** A PONG in memory of its own, while it may be used. */
  pong(isExtended: boolean): Uint8Array | undefined {
    if (this.#now() >= Atomics.load(this.#times, deadlineAt)) return undefined
    const k = isExtended ? 1 : 0
    const from = headBytes + k * longestPongBytes
    const pong = this.#stable(() => {
      const length = Math.min(this.#words[pongBytesAt + k]!, longestPongBytes)
      return Uint8Array.prototype.slice.call(this.#bytes, from, from + length)
    })
    return pong === undefined || pong.length === 0 ? undefined : pong
  }
}

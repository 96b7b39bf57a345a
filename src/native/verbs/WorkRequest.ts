/**
 * Work to post: objects that are filled, posted and filled again.
 *
 * `post` copies a request before it returns, so one object serves all posts of a caller, and
 * posting allocates nothing.
 */
import type { Region } from "./Region.ts"

/** Operations of a send queue. A `send-invalidate` also invalidates a remote key of the peer. */
export type Opcode =
  | "send"
  | "send-invalidate"
  | "write"
  | "write-immediate"
  | "read"
  | "fetch-add"
  | "compare-swap"

/**
 * The result of a post. Only accepted work ends with a completion.
 *
 * - `queue-full`: every slot of the work queue is taken. A slot is free again when its completion,
 *   or a later one, has been polled.
 * - `completions-full`: the completion queue could not hold the completion.
 * - `wrong-state`: the queue pair takes no work of this kind in its state, or is released.
 * - `too-many-entries`, `too-long`: more entries, or more bytes, than the queue pair allows.
 * - `unsupported`: the provider has no such operation.
 */
export type Posted =
  | "accepted"
  | "queue-full"
  | "completions-full"
  | "wrong-state"
  | "too-many-entries"
  | "too-long"
  | "unsupported"

/** An entry of a scatter list: a range of a local region. */
export class ScatterEntry {
  region: Region | undefined = undefined
  /** Offset from the start of the region. */
  offset = 0
  length = 0
}

/** The local memory of a message, in order: sources of a send, or sinks of a receive. */
export class ScatterList {
  readonly #parts: Array<ScatterEntry> = []
  #count = 0

  /** The number of entries. */
  get count(): number {
    return this.#count
  }

  /** The entry at `index`, which must be below `count`. */
  at(index: number): ScatterEntry {
    return this.#parts[index]!
  }

  /** Removes all entries. */
  clear(): this {
    this.#count = 0
    return this
  }

  /** Adds an entry. */
  add(region: Region, offset = 0, length = region.length - offset): this {
    const part = (this.#parts[this.#count] ??= new ScatterEntry())
    part.region = region
    part.offset = offset
    part.length = length
    this.#count += 1
    return this
  }

  /** Bytes of all entries. */
  get byteLength(): number {
    let bytes = 0
    for (let index = 0; index < this.#count; index++) bytes += this.#parts[index]!.length
    return bytes
  }

  /** Copies another list. */
  copy(other: ScatterList): void {
    this.#count = 0
    for (let index = 0; index < other.count; index++) {
      const { length, offset, region } = other.at(index)
      this.add(region!, offset, length)
    }
  }
}

const twoTo32 = 0x1_0000_0000

/** Work for the send queue. */
export class SendRequest {
  /** Returned in the completion. */
  id = 0
  opcode: Opcode = "send"
  /** Whether success makes a completion. Failures always do. */
  signalled = true
  /**
   * Whether another request is posted right after this one. The device need not be told of each
   * request of such a chain, only of its last one, without which those before it may never leave.
   */
  more = false
  /** Copies the bytes of the parts at the post, so that their memory may change at once. */
  inline = false
  readonly scatterList = new ScatterList()
  /** The peer's memory, for all but sends: its key and its address as two words. */
  remoteKey = 0
  remoteHigh = 0
  remoteLow = 0
  /** 32 bits that come with a `write-immediate`. */
  immediate = 0
  /** The remote key that a `send-invalidate` voids. */
  invalidate = 0
  /** The addend of `fetch-add`, or the new value of `compare-swap`; 64 bits. */
  value = 0n
  /** The expected value of `compare-swap`; 64 bits. */
  compare = 0n

  /** Sets the peer's memory; `address` must be a safe integer. */
  remote(key: number, address: number): this {
    this.remoteKey = key
    this.remoteHigh = Math.floor(address / twoTo32)
    this.remoteLow = address >>> 0
    return this
  }
}

/** Work for the receive queue: the memory of the next message. */
export class ReceiveRequest {
  /** Returned in the completion. */
  id = 0
  readonly scatterList = new ScatterList()
}

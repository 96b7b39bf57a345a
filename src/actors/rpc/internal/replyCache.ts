/**
 * The duplicate request cache of one client: what it has called, and what was answered. Pure.
 *
 * Entries survive connections. They leave by the client's window only: a client sends calls of a
 * lost connection again before new ones, so an entry is not needed any more when more calls than
 * two full windows have ended after it. What has left raises the mark; a call at or below it may
 * have been executed, and is never executed again.
 */
import { ok as assert } from "node:assert/strict"
import { crc32 } from "node:zlib"
import type { Call } from "../../../schema/rpc/RpcMessage.ts"

/** A reply as the program gave it, without anything of a connection. */
export interface CachedReply<Reply> {
  readonly reply: Reply
  readonly bytes: number
}

/** Names a call. Two calls of one name are one call. */
export interface CallName {
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly bytes: number
  readonly checksum: number
}

export const nameOf = ({ procedure, program, version }: Call, message: Uint8Array): CallName => ({
  program,
  version,
  procedure,
  bytes: message.length,
  checksum: crc32(message)
})

export const isSame = (one: CallName, other: CallName): boolean =>
  one.checksum === other.checksum &&
  one.bytes === other.bytes &&
  one.procedure === other.procedure &&
  one.version === other.version &&
  one.program === other.program

/** A call that is executing or was answered. */
export class Entry<Reply, Waiter> {
  readonly xid: number
  readonly name: CallName
  /** Where the reply goes: the newest connection on which the call came. */
  waiter: Waiter | undefined
  answer: CachedReply<Reply> | undefined = undefined

  constructor(xid: number, name: CallName, waiter: Waiter | undefined) {
    this.xid = xid
    this.name = name
    this.waiter = waiter
  }
}

/** What is known of an XID when its call comes: more may have left by the time that it is read. */
export interface Seen<Reply, Waiter> {
  readonly entry: Entry<Reply, Waiter> | undefined
  readonly isOld: boolean
}

export interface CacheLimits {
  /** Bytes of replies that are kept for the client. */
  readonly maxBytes: number
}

/** Entries kept for a client that was granted little. */
const leastWindow = 16

export class ReplyCache<Reply, Waiter> {
  readonly #limits: CacheLimits
  readonly #entries = new Map<number, Entry<Reply, Waiter>>()
  /** Entries that were answered, in the order of their ends. */
  readonly #answered = new Set<Entry<Reply, Waiter>>()
  #window = leastWindow
  #bytes = 0
  #mark: number | undefined = undefined

  constructor(limits: CacheLimits) {
    this.#limits = limits
  }

  /** What an older life of the server has begun ends by an answer that says no more than that. */
  endAll(answer: CachedReply<Reply>): void {
    for (const entry of this.#entries.values()) {
      if (entry.answer === undefined) this.finish(entry, answer)
    }
  }

  /** Calls that are executing. */
  get executing(): number {
    return this.#entries.size - this.#answered.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Calls that are executing or were answered. */
  get size(): number {
    return this.#entries.size
  }

  /** Calls up to this XID are forgotten. */
  get mark(): number | undefined {
    return this.#mark
  }

  /** The client was granted so many credits: it may have twice as many calls to ask for. */
  granted(credits: number): void {
    this.#window = Math.max(this.#window, 2 * credits)
  }

  /** A call of this XID has come. */
  see(xid: number): Seen<Reply, Waiter> {
    // Serial arithmetic: XIDs come round.
    const isOld = this.#mark !== undefined && ((this.#mark - xid) | 0) >= 0
    return { entry: this.#entries.get(xid), isOld }
  }

  /** Finds a call; `"forgotten"` if it may have been executed and its reply is gone. */
  find(
    xid: number,
    name: CallName,
    seen = this.see(xid)
  ): Entry<Reply, Waiter> | "forgotten" | undefined {
    const entry = this.#entries.get(xid)
    if (entry !== undefined && isSame(entry.name, name)) return entry
    const hasLeft = seen.entry !== undefined && seen.entry !== entry
    return seen.isOld || hasLeft ? "forgotten" : undefined
  }

  /** A new call begins. One that had its XID before is gone: the client has answered it. */
  begin(xid: number, name: CallName, waiter: Waiter | undefined): Entry<Reply, Waiter> {
    const previous = this.#entries.get(xid)
    if (previous?.answer !== undefined) this.#drop(previous)
    const entry = new Entry<Reply, Waiter>(xid, name, waiter)
    this.#entries.set(xid, entry)
    return entry
  }

  /**
   * A call was executed. Its reply is kept until the window has moved on, and nothing of the
   * connection to which it goes.
   */
  finish(entry: Entry<Reply, Waiter>, answer: CachedReply<Reply>): Waiter | undefined {
    const { waiter } = entry
    assert(entry.answer === undefined, "a call ends once")
    entry.answer = answer
    entry.waiter = undefined
    if (this.#entries.get(entry.xid) === entry) this.#keep(entry, answer)
    return waiter
  }

  /** Calls up to this XID are not executed any more. */
  forget(xid: number): void {
    if (this.#mark === undefined || ((xid - this.#mark) | 0) > 0) this.#mark = xid
  }

  #keep(entry: Entry<Reply, Waiter>, answer: CachedReply<Reply>): void {
    this.#answered.add(entry)
    this.#bytes += answer.bytes
    for (const oldest of this.#answered) {
      const isWithin = this.#answered.size <= this.#window && this.#bytes <= this.#limits.maxBytes
      if (isWithin || oldest === entry) return
      this.#drop(oldest)
      this.forget(oldest.xid)
    }
  }

  #drop(entry: Entry<Reply, Waiter>): void {
    this.#entries.delete(entry.xid)
    this.#answered.delete(entry)
    this.#bytes -= entry.answer!.bytes
  }
}

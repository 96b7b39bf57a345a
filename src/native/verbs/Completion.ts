/**
 * Completions of posted work, and the queue that delivers them.
 *
 * All posted work ends once. Success of a send without `signalled` makes no completion; it is known
 * from a later completion of the same queue, since each queue ends in order.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Released } from "./VerbsError.ts"

/**
 * How a work request ended. The first failure of a queue pair gives the cause; all other work on it
 * is `flushed`.
 *
 * - `local-length`: a message was longer than the receive.
 * - `local-operation`: the work request was inconsistent.
 * - `local-protection`: a part names memory that is missing, or has no such right.
 * - `remote-access`: the peer's key is void or does not allow it.
 * - `remote-invalid`: the peer could not execute the request: wrong length, size or order.
 * - `remote-operation`: the peer failed.
 * - `retry-exceeded`: no answer to any retry.
 * - `rnr-retry-exceeded`: the peer had no receive posted at any retry.
 * - `fatal`: the device failed.
 */
export const Status = Schema.Literals([
  "success",
  "local-length",
  "local-operation",
  "local-protection",
  "flushed",
  "remote-access",
  "remote-invalid",
  "remote-operation",
  "retry-exceeded",
  "rnr-retry-exceeded",
  "fatal"
])

export type Status = typeof Status.Type

/**
 * The kind of work that ended. A `receive-immediate` took a receive for a peer's `write-immediate`.
 */
export type Kind =
  | "send"
  | "write"
  | "read"
  | "fetch-add"
  | "compare-swap"
  | "receive"
  | "receive-immediate"

/** The end of one work request. After a failure only `id`, `status` and `queuePair` are valid. */
export class Completion {
  /** The `id` of the work request. */
  id = 0
  kind: Kind = "send"
  status: Status = "success"
  /** The number of the queue pair. */
  queuePair = 0
  /** Bytes that were received or read. */
  length = 0
  /** Of a `receive-immediate`. */
  immediate = 0
  /** The remote key that the peer voided with its send; 0 if none. */
  invalidated = 0

  /** Copies another one. */
  copy(other: Completion): void {
    this.id = other.id
    this.kind = other.kind
    this.status = other.status
    this.queuePair = other.queuePair
    this.length = other.length
    this.immediate = other.immediate
    this.invalidated = other.invalidated
  }
}

/** Completions that are polled together, in reused memory. */
export class CompletionBatch {
  readonly #entries: ReadonlyArray<Completion>
  /** The number of completions of the last poll. */
  count = 0

  /** `limit`: the most completions of one poll. 64 keeps a batch within a few cache lines. */
  constructor(limit = 64) {
    this.#entries = Array.from({ length: limit }, () => new Completion())
  }

  get limit(): number {
    return this.#entries.length
  }

  /** The completion at `index`; valid until the next poll. */
  at(index: number): Completion {
    return this.#entries[index]!
  }
}

/**
 * Delivers the completions of queue pairs.
 *
 * It never overflows: every accepted post has reserved a slot in it, which is free again when its
 * completion, or a later one of the same work queue, has been polled.
 */
export interface CompletionQueue {
  readonly capacity: number
  /** Slots taken by completions and posted work. */
  readonly reserved: number
  /** Takes up to `batch.limit` completions; returns the number. Never waits, never allocates. */
  poll(batch: CompletionBatch): number
  /** Waits until there are completions to poll. */
  readonly ready: Effect.Effect<void, Released>
  /** Completions as they come, in arrays of up to 64, as copies that may be kept. */
  readonly completions: Stream.Stream<Completion>
}

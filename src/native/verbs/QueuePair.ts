/** One end of a reliable connection: two work queues and a state. */
import type * as Effect from "effect/Effect"
import type { CompletionQueue } from "./Completion.ts"
import type { State, Transition } from "./QueuePairState.ts"
import type { ModifyError } from "./VerbsError.ts"
import type { Posted, ReceiveRequest, SendRequest } from "./WorkRequest.ts"

/** Options of a queue pair. */
export interface Options {
  readonly sendCompletions: CompletionQueue
  /** Default: the same queue. */
  readonly receiveCompletions?: CompletionQueue | undefined
  /** Sends that may be posted and not ended. Default 256, as transfer engines use. */
  readonly sendDepth?: number | undefined
  /** Receives that may be posted and not used. Default 256. */
  readonly receiveDepth?: number | undefined
  /** Parts of one work request. Default 4. */
  readonly maxScatterEntries?: number | undefined
  /** Bytes of an inline send. Default 64. */
  readonly maxInlineBytes?: number | undefined
}

/**
 * A queue pair. When its Scope closes it goes to `err`, so that all posted work is flushed into
 * its completion queues, and ends.
 */
export interface QueuePair {
  /** 24 bits; the peer needs it to connect out of band. */
  readonly number: number
  readonly state: State
  /** Posted sends that have not ended. Zero in `err` once the flush is done. */
  readonly outstandingSends: number
  /**
   * Sends that can be posted now. A send that has ended takes its slot until its completion, or a
   * later one, has been polled.
   */
  readonly freeSendSlots: number
  /** Posted receives that have not ended. */
  readonly outstandingReceives: number
  /**
   * Makes one transition towards the connected state, or back. It never waits for the peer: whether
   * the peer is ready, too, is for the caller's handshake to find out.
   */
  modify(step: Transition): Effect.Effect<void, ModifyError>
  /** Posts work to the send queue. Synchronous, and allocates nothing. */
  post(request: SendRequest): Posted
  /** Posts a receive. Synchronous, and allocates nothing. */
  postReceive(request: ReceiveRequest): Posted
}

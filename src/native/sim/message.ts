/** The messages of a simulated fabric: whole messages between queue pairs, and their answers. */
import type { Gid } from "../../schema/Gid.ts"
import type { Mtu } from "../../schema/Mtu.ts"
import type { Status } from "../verbs/Completion.ts"
import type { Address } from "../verbs/Connection.ts"
import type { ConnectRejected } from "../verbs/VerbsError.ts"
import type { Opcode } from "../verbs/WorkRequest.ts"

/** One life of a queue pair: from its creation or its last reset to its end or its next reset. */
export interface QueuePairLife {
  readonly began: number
}

/** The remote queue pair, as the transition to `rtr` named it. */
export interface Peer {
  readonly gid: Gid
  readonly queuePair: number
  readonly mtu: Mtu
  /** The life of that queue pair when it was named. */
  readonly life: QueuePairLife | undefined
}

/** Source, destination and number of a message. */
export interface Header {
  readonly source: Gid
  readonly sourceQueuePair: number
  readonly target: Gid
  readonly targetQueuePair: number
  /** 24 bits, one for each message. */
  readonly sequence: number
}

/** A work request under way. */
export interface Message extends Header {
  readonly opcode: Opcode
  /** The bytes that are sent or written; empty for a fetch. */
  readonly payload: Uint8Array
  /** Bytes to send, write or read. */
  readonly bytes: number
  readonly mtu: Mtu
  /** Reads and atomic operations of the sender that have no answer yet, this one included. */
  readonly reads: number
  /** The life of the queue pair that the sender was connected to; only for counting. */
  readonly addressee: QueuePairLife | undefined
  /** Whether it was sent before. */
  readonly again: boolean
  readonly remoteKey: number
  readonly remoteHigh: number
  readonly remoteLow: number
  readonly immediate: number
  readonly invalidate: number
  readonly value: bigint
  readonly compare: bigint
}

/** The outcome of a message: fetched bytes, a time to wait, or a refusal. */
export type Outcome =
  | { readonly _tag: "Done"; readonly fetched: Uint8Array }
  | { readonly _tag: "NotReady"; readonly waitMillis: number }
  | { readonly _tag: "Refused"; readonly status: Status }

/** The message took effect, and fetched nothing. */
export const done: Outcome = { _tag: "Done", fetched: new Uint8Array(0) }

/** An answer to a message, and with it to all earlier messages. */
export interface Answer extends Header {
  readonly outcome: Outcome
}

/** A request or a reply of the connection manager. */
export interface ConnectMessage {
  readonly address: Address
  readonly gid: Gid
  readonly queuePair: number
  readonly sequence: number
  readonly mtu: Mtu
  readonly privateData: Uint8Array
  readonly inboundReads: number
  readonly outboundReads: number
  readonly rnrRetries: number
  /** Notifies the sender of the message that the connection has ended. */
  readonly disconnected: () => void
  /** Accepts; `ready` is called with whether this side got ready. */
  readonly accept: (reply: ConnectMessage, ready: (isReady: boolean) => void) => void
  readonly reject: (reason: ConnectRejected["reason"], privateData: Uint8Array) => void
}

const sequences = 0x100_0000

/** The sequence number after so many messages. */
export const sequenceAfter = (sequence: number, messages: number): number =>
  (sequence + messages) % sequences

/** The distance of `sequence` from `expected`: half of all numbers are ahead, half behind. */
export const sequenceDistance = (sequence: number, expected: number): number => {
  const distance = (sequence - expected + sequences) % sequences
  return distance < sequences / 2 ? distance : distance - sequences
}

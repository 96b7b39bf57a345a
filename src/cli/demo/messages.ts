/** Messages between the orchestrator and the processes of the demo. */
import type { Address } from "../../native/verbs/Connection.ts"

/** Options of a process, passed as its one argument. */
export interface ProcessOptions {
  readonly name: string
  /** The device of both processes. */
  readonly nic: string
  /** The local port for handshakes. */
  readonly port: number
  /** The peer's name, `host:port`. */
  readonly peer: string
  /** The address of the peer's handshake port. */
  readonly peerAt: Address
  readonly directory: string
  readonly gate: "on" | "off"
  /** Additional milliseconds of each transition of a queue pair. */
  readonly slow: number
  readonly seed: number
}

export type FromProcess =
  /** The process runs; peers connect to its queue pairs at this port. */
  | { readonly _tag: "Up"; readonly meetingPort: number }
  /** Number of pieces that were read from the peer, in this life. */
  | { readonly _tag: "Moved"; readonly pieces: number }
  /** A piece that was moved differs from the peer's. */
  | { readonly _tag: "Wrong"; readonly piece: number }
  /** Results of older connections that were dropped, and pieces that were sent again. */
  | { readonly _tag: "Over"; readonly staleDropped: number; readonly resent: number }

export type ToProcess =
  /** The peer's queue pairs can be reached at this port from now on. */
  | { readonly _tag: "Meet"; readonly port: number; readonly at: number }
  | { readonly _tag: "Go" }
  /** Ends transfers under way, and then the process. */
  | { readonly _tag: "Stop" }

/** Bytes of one piece, and the number of pieces of each side. */
export const PIECE = 1 << 20
export const PIECES = 16

/** Transfers of each side that are under way at the same time. */
export const TOGETHER = 4

/** Additional milliseconds of each transition of a queue pair of the slow side. */
export const SLOW_MILLIS = 60
/**
 * Milliseconds that work waits for a peer that is not ready, before the connection is given up, as
 * a NIC does after its retries. Longer than a transition of the slow side, shorter than two of
 * them.
 */
export const PEER_WITHIN = 90

/** Recognisable content of a piece of a process. */
export const contents = (name: string, seed: number, piece: number): Uint8Array => {
  const bytes = new Uint8Array(PIECE)
  let word = (seed ^ Math.imul(piece + 1, 0x9e3779b1) ^ name.charCodeAt(0)) >>> 0
  const words = new Uint32Array(bytes.buffer)
  for (let index = 0; index < words.length; index++) {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0
    words[index] = word
  }
  return bytes
}

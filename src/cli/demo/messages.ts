/** Messages between the orchestrator and the processes of the demo. */
import type { Address } from "../../native/verbs/Connection.ts"

/** How a process is begun; it travels as its one argument. */
export interface ProcessOptions {
  readonly name: string
  /** The device of both. */
  readonly nic: string
  /** The own port for handshakes. */
  readonly port: number
  /** The peer's name, `host:port`. */
  readonly peer: string
  /** Where the peer's handshake port is reached. */
  readonly peerAt: Address
  readonly directory: string
  readonly gate: "on" | "off"
  /** How much longer each step of a queue pair takes, in milliseconds. */
  readonly slow: number
  readonly seed: number
}

export type FromProcess =
  /** The process runs; peers meet its queue pairs at this port. */
  | { readonly _tag: "Up"; readonly meetingPort: number }
  /** So many pieces were pulled from the peer, in this life. */
  | { readonly _tag: "Moved"; readonly pieces: number }
  /** A piece that was moved is not what the peer has. */
  | { readonly _tag: "Wrong"; readonly piece: number }
  /** Results of older connections that were dropped, and pieces that were sent in vain. */
  | { readonly _tag: "Over"; readonly staleDropped: number; readonly resent: number }

export type ToProcess =
  /** The peer's queue pairs are met there from now on. */
  | { readonly _tag: "Meet"; readonly port: number; readonly at: number }
  | { readonly _tag: "Go" }
  /** Ends what is under way, and then the process. */
  | { readonly _tag: "Stop" }

/** Octets of one piece, and how many of them each side offers. */
export const PIECE = 1 << 20
export const PIECES = 16

/** Transfers of each side that are under way at the same time. */
export const TOGETHER = 4

/** How much longer each step of a queue pair of the slow side takes, in milliseconds. */
export const SLOW_MILLIS = 60
/**
 * Milliseconds that work waits for a peer that is not ready, before the connection is given up: as
 * a card does after its retries. Longer than a step of the slow side, shorter than two of them.
 */
export const PEER_WITHIN = 90

/** What the piece of a process holds, so that the other one can tell. */
export const contents = (name: string, seed: number, piece: number): Uint8Array => {
  const octets = new Uint8Array(PIECE)
  let word = (seed ^ Math.imul(piece + 1, 0x9e3779b1) ^ name.charCodeAt(0)) >>> 0
  const words = new Uint32Array(octets.buffer)
  for (let index = 0; index < words.length; index++) {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0
    words[index] = word
  }
  return octets
}

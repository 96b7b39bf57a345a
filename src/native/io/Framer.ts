/**
 * A framer cuts a byte stream into whole frames, and may consume frames where they arrive.
 *
 * It is a small module without Effect. A worker loads it by its URL, and the main thread uses
 * the very same object when a lane runs there, so a protocol is written once:
 *
 * ```ts
 * export default {
 *   maxFrameBytes: 65_536,
 *   open: () => ({
 *     length: (bytes, from, to) => (to - from < 4 ? 0 : 4 + readUint32(bytes, from))
 *   })
 * } satisfies Framer
 * ```
 *
 * All bytes of a peer reach a framer first. An exception of a session ends its lane with a typed
 * error, and no other lane; one that is no `FrameRefusal` is a defect, which a server logs as an
 * error. A framer that does not return blocks all lanes of its thread: a worker is given up after
 * `stuckAfterMs`, the main thread never.
 */

import { workerModule } from "./workerModule.ts"

/** The module's default export. */
export interface Framer {
  /**
   * The longest frame in bytes. A longer length is refused when it is read, before a byte of
   * the frame is stored.
   */
  readonly maxFrameBytes: number
  /**
   * True when `command` takes the messages of the lane's user; otherwise the bytes go to the peer
   * as they are.
   */
  readonly takesCommands?: boolean
  /**
   * True when sessions consume most frames themselves. Such lanes gain most from a worker, so
   * they are placed in one unless their user says otherwise.
   */
  readonly consumes?: boolean
  /**
   * Starts the protocol on a new connection. `options` come from the caller that opened the lane.
   */
  readonly open: (port: FramerPort, options: unknown) => FramerSession
}

/** The protocol on one connection. */
export interface FramerSession {
  /**
   * The whole length of the frame that starts at `from`, or 0 while `bytes` up to `to` do not
   * contain it. Throw, best a `FrameRefusal`, to refuse the stream.
   */
  readonly length: (bytes: Uint8Array, from: number, to: number) => number
  /**
   * Called once for each whole frame, in order. True hands the frame to the lane's user; false
   * means that it was consumed here: answered, placed, or counted. Without this method all frames
   * go to the user. `bytes` are valid during the call only.
   */
  readonly frame?: (bytes: Uint8Array, from: number, to: number) => boolean
  /** Takes one `send` of the lane's user, if the framer takes commands. */
  readonly command?: (bytes: Uint8Array, from: number, to: number) => void
  /**
   * Returns the memory for the next read, or undefined for memory of the host. The kernel may
   * write there at any later time, so it must be memory that the session keeps for reads.
   */
  readonly into?: () => Uint8Array | undefined
  /** The peer ended its side at a frame boundary. */
  readonly end?: () => void
}

/** Operations of a session on its lane. */
export interface FramerPort {
  /** Whether this side opened the connection. */
  readonly initiator: boolean
  /**
   * Writes to the peer. The bytes must stay as they are until `written`, which is called when they
   * have left for the kernel, and never if they did not. While a peer does not take what was
   * written, its frames are not read either, so answers cannot pile up.
   */
  readonly write: (bytes: Uint8Array, written?: () => void) => void
  /**
   * Writes these to the peer now, together. `write` waits for the end of the turn, since more
   * may follow.
   */
  readonly writeNow: (parts: ReadonlyArray<Uint8Array>, written: () => void) => void
  /** Hands bytes to the lane's user as one frame, in order with the frames around it. */
  readonly deliver: (bytes: Uint8Array) => void
  /** The registered memory of that number, in which payload may be placed. */
  readonly region: (id: number) => Uint8Array | undefined
  /** Nanoseconds of the monotonic clock that all threads share. */
  readonly now: () => bigint
  /** Ends the lane with a `FrameRefused` error, after everything delivered before. */
  readonly refuse: (reason: string) => void
}

/** Thrown by a framer that refuses its peer's bytes. */
export class FrameRefusal extends Error {}

/**
 * The framer of protocols that cut their stream themselves: it passes the bytes on as they come.
 */
export const bytes: URL = workerModule(import.meta.url, "bytes")

/** The options of a lane with `lengthPrefixed`. */
export interface LengthPrefixedOptions {
  /** The longest body in bytes, up to 64 MiB. Default 1 MiB. */
  readonly maxBodyBytes?: number
}

/**
 * The framer of frames with a length prefix: 32 bits, big-endian, without the prefix itself. Users
 * get frames with the prefix, so they can be sent as they are.
 */
export const lengthPrefixed: URL = workerModule(import.meta.url, "lengthPrefixed")

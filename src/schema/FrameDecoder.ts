/**
 * The interface of wire protocols to tools that show frames: bytes in, frames or typed errors out.
 *
 * A decoder lives for one conversation. It may keep settings of earlier frames (a negotiated
 * marker, an agreed size), so that later frames are read as the peers themselves read them.
 */

/** The sender of the bytes: the side that connected (`c2s`) or the side that accepted (`s2c`). */
export type Direction = "c2s" | "s2c"

/** One frame as it was read, and as this library would write it again. */
export interface Frame {
  readonly ok: true
  /** The frame's fields, as its Schema names them. */
  readonly frame: object
  /** Bytes of the frame. */
  readonly bytes: number
  /** The frame encoded again; equal to the received bytes unless the peer chose another form. */
  readonly encoded: Uint8Array
}

/** Bytes that are no frame of the protocol, with the reason. */
export interface BadFrame {
  readonly ok: false
  /** A tagged error with the place and the reason. */
  readonly error: { readonly _tag: string }
}

/** The result of a decoder. */
export type DecodedFrame = Frame | BadFrame

/** Reads one conversation. It never throws: hostile bytes yield a `BadFrame`. */
export interface FrameDecoder {
  /**
   * The frames in these bytes, in order. `direction` is `undefined` when it is not known.
   */
  readonly decode: (bytes: Uint8Array, direction: Direction | undefined) => Iterable<DecodedFrame>
}

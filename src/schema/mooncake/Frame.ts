/**
 * Mooncake's frame: a length of eight bytes, a type of one, and a text. The length counts type and
 * text. A connection carries one frame each way.
 *
 * The length is in the byte order of the sender. All machines that Mooncake runs on are
 * little-endian; a length in the other order is above any limit.
 */

import { defaultLimit, largestLimit } from "./frameLimits.ts"
import { FrameEmpty, type FrameFault, FrameTooLong, UnknownFrameType } from "./Fault.ts"

export { defaultLimit, largestLimit } from "./frameLimits.ts"

export const FrameType = { connection: 0, metadata: 1, notify: 2, probe: 3 } as const

export type FrameType = (typeof FrameType)[keyof typeof FrameType]

/**
 * A frame with its framing: peers older than Mooncake 0.3 write no type, always mean a connection,
 * and expect the reply in the same form.
 */
export interface Frame {
  readonly type: FrameType
  readonly framing: "typed" | "old"
  readonly text: string
}

const lengthBytes = 8

/** The bytes of a frame. */
export const encode = ({ framing, text, type }: Frame): Uint8Array => {
  const typeBytes = framing === "typed" ? 1 : 0
  const length = typeBytes + Buffer.byteLength(text)
  const out = Buffer.allocUnsafe(lengthBytes + length)
  out.writeUInt32LE(length, 0)
  out.writeUInt32LE(0, 4)
  if (typeBytes === 1) out[lengthBytes] = type
  out.write(text, lengthBytes + typeBytes)
  return new Uint8Array(out.buffer, out.byteOffset, out.length)
}

const nothing = new Uint8Array(0)

/**
 * Reads one frame from any division of its bytes; Mooncake itself sends each in three pieces. It
 * takes no byte after the frame, and holds at most twice the received bytes.
 */
export class FrameReader {
  frame: Frame | undefined = undefined
  fault: FrameFault | undefined = undefined
  readonly #limit: number
  #received = 0
  /** Bytes of the body. Beyond 53 bits it is not exact, and too long in any case. */
  #length = 0
  #body = nothing

  /** A limit above the largest one is lowered to that. */
  constructor(limit: number = defaultLimit) {
    this.#limit = Math.min(limit, largestLimit)
  }

  /** Received bytes of the frame; zero means that the peer has sent nothing yet. */
  get received(): number {
    return this.#received
  }

  /** Takes the bytes of the frame and returns their number. */
  push(chunk: Uint8Array): number {
    let at = 0
    while (this.#open && this.#received < lengthBytes && at < chunk.length) {
      this.#length += chunk[at++]! * 256 ** this.#received++
      if (this.#received === lengthBytes) this.#judgeLength()
    }
    if (!this.#open || at === chunk.length) return at
    const end = Math.min(chunk.length, at + lengthBytes + this.#length - this.#received)
    this.#take(chunk.subarray(at, end))
    return end
  }

  get #open(): boolean {
    return this.frame === undefined && this.fault === undefined
  }

  #judgeLength(): void {
    const length = this.#length
    const limit = this.#limit
    if (length === 0) this.fault = new FrameEmpty()
    else if (length > limit) this.fault = new FrameTooLong({ length, limit })
  }

  #take(bytes: Uint8Array): void {
    const before = this.#received - lengthBytes
    if (before === 0 && bytes[0]! >= 0x80) {
      this.fault = new UnknownFrameType({ type: bytes[0]! })
      return
    }
    this.#received += bytes.length
    if (bytes.length === this.#length) {
      this.frame = frameOf(bytes)
      return
    }
    this.#reserve(before + bytes.length)
    this.#body.set(bytes, before)
    if (before + bytes.length < this.#length) return
    this.frame = frameOf(this.#body.subarray(0, this.#length))
    this.#body = nothing
  }

  /** Grows with the received bytes: a length alone allocates nothing. */
  #reserve(needed: number): void {
    if (needed <= this.#body.length) return
    const grown = new Uint8Array(Math.min(this.#length, Math.max(256, 2 * needed)))
    grown.set(this.#body)
    this.#body = grown
  }
}

const oldest = FrameType.probe + 1

const frameOf = (body: Uint8Array): Frame => {
  const first = body[0]!
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  if (first < oldest) {
    return { type: first as FrameType, framing: "typed", text: bytes.toString("utf8", 1) }
  }
  return { type: FrameType.connection, framing: "old", text: bytes.toString("utf8") }
}

/**
 * The cluster bus on one connection: cuts the stream into frames, answers the PINGs of admitted
 * nodes from what the node last published, and skips publications that are too long.
 *
 * Frames go on to the lane's user as they are. Between them go notes, which are shorter than any
 * frame: `answered` before a PING that has its PONG already, `flowing` and at last `skipped` in
 * place of a long frame, `missed` in place of publications for which a busy main thread had no
 * room: they must not hold up the PINGs behind them.
 */
import type { FramingFault } from "../../../schema/bus/Fault.ts"
import { frameLength } from "../../../schema/bus/Framing.ts"
import { FrameView } from "../../../schema/bus/FrameView.ts"
import {
  At,
  hasLightForm,
  headerBytes,
  idBytes,
  lightBit,
  MessageFlag,
  Type
} from "../../../schema/bus/Layout.ts"
import {
  type Framer,
  FrameRefusal,
  type FramerPort,
  type FramerSession
} from "../../../native/io/Framer.ts"
import { BoardReader } from "./board.ts"
import { longestFrameBytes, Note, repeatedAt } from "./framing.ts"

/** Options of a lane of the bus. */
export interface SessionOptions {
  /** Longest frame of an admitted node in bytes. */
  readonly maxFrameBytes: number
  /** Longest frame of any other node in bytes. */
  readonly maxUnprovenBytes: number
  /** State that the node publishes to its workers. */
  readonly board: SharedArrayBuffer
}

const reasonOf = (fault: FramingFault): string => {
  switch (fault._tag) {
    case "WrongSignature":
      return "bytes that are no frame of the cluster bus"
    case "FrameTooShort":
      return `a frame of ${fault.length} bytes, at least ${fault.leastBytes}`
    case "FrameTooLong":
      return `a frame of ${fault.length} bytes, at most ${fault.maxBytes}`
  }
}

/** Frames between two looks whether the main thread is busy: a look costs as much as a frame. */
const lookEvery = 16

/** One for all sessions of a thread: it is used within one call only. */
const view = new FrameView()

class Session implements FramerSession {
  readonly #port: FramerPort
  readonly #options: SessionOptions
  readonly #board: BoardReader
  /** The sender of the last full frame. */
  readonly #sender = Buffer.alloc(idBytes)
  #hasSender = false
  /** The header of the last full frame that was handed over. */
  readonly #header = Buffer.alloc(headerBytes)
  /** The revision of the board in which `#isProven` was looked up. */
  #revision = -1
  #isProven = false
  /** Bytes of a long frame that are still to come. */
  #skipping = 0
  #skippedBytes = 0
  #isBusy = false
  #unlooked = 0
  /** Publications that were left out since the main thread became busy. */
  #missed = 0

  constructor(port: FramerPort, options: SessionOptions) {
    this.#port = port
    this.#options = options
    this.#board = new BoardReader(options.board, port.now)
  }

  length(bytes: Uint8Array, from: number, to: number): number {
    if (this.#skipping > 0) return Math.min(this.#skipping, to - from)
    const length = frameLength(bytes, from, to)
    if (typeof length !== "number") throw new FrameRefusal(reasonOf(length))
    if (length === 0) return 0
    const rawType = (bytes[from + At.type]! << 8) | bytes[from + At.type + 1]!
    if ((rawType & lightBit) !== 0 && !this.#hasSender) {
      throw new FrameRefusal("a light frame before a full one")
    }
    const { maxFrameBytes, maxUnprovenBytes } = this.#options
    if (length <= maxUnprovenBytes) return length
    const maxBytes = this.#proven() ? maxFrameBytes : maxUnprovenBytes
    if (length <= maxBytes) return length
    // Any client may publish a long message: the link of the node that passes it on must stay.
    if (!this.#isProven || !hasLightForm(rawType & ~lightBit)) {
      throw new FrameRefusal(reasonOf({ _tag: "FrameTooLong", length, maxBytes }))
    }
    this.#skipping = length
    this.#skippedBytes = length
    return Math.min(length, to - from)
  }

  frame(bytes: Uint8Array, from: number, to: number): boolean {
    if (this.#skipping > 0) {
      this.#skipping -= to - from
      if (this.#skipping === 0) this.#port.deliver(Note.skipped(this.#skippedBytes))
      else if (this.#hasRoom(to - from)) this.#port.deliver(Note.flowing)
      return false
    }
    const rawType = (bytes[from + At.type]! << 8) | bytes[from + At.type + 1]!
    const isLight = (rawType & lightBit) !== 0
    if (!isLight) this.#noteSender(bytes, from + At.sender)
    if (!this.#isForUser(rawType, bytes, from, to)) return false
    if (!isLight) this.#markRepeated(bytes, from)
    return true
  }

  #isForUser(rawType: number, bytes: Uint8Array, from: number, to: number): boolean {
    if (hasLightForm(rawType & ~lightBit)) return this.#publishes(to - from)
    if (!this.#proven()) return this.#hasRoom(to - from)
    if (rawType !== Type.ping || view.read(bytes, from, to) !== undefined) return true
    return this.#answer((view.messageFlags & MessageFlag.hasExtensions) !== 0, to - from)
  }

  /** All but the length, the type and the replication offset, which say nothing of the sender. */
  #markRepeated(bytes: Uint8Array, from: number): void {
    bytes[from + repeatedAt] = 0
    const header = this.#header
    const isSame = (at: number, to: number): boolean =>
      header.compare(bytes, from + at, from + to, at, to) === 0
    const isRepeated =
      isSame(At.currentEpoch, At.replicationOffset) && isSame(At.sender, headerBytes)
    if (isRepeated) bytes[from + repeatedAt] = 1
    else header.set(bytes.subarray(from, from + headerBytes))
  }

  #publishes(bytes: number): boolean {
    if (this.#hasRoom(bytes)) return true
    this.#missed++
    return false
  }

  /** Whether the main thread takes frames, or has room for one that waits. */
  #hasRoom(bytes: number): boolean {
    if (this.#isBusy || ++this.#unlooked >= lookEvery) {
      this.#unlooked = 0
      this.#isBusy = this.#board.isBusy
    }
    if (this.#isBusy) return this.#board.takeRoom(bytes)
    if (this.#missed > 0) this.#port.deliver(Note.missed(this.#missed))
    this.#missed = 0
    return true
  }

  #noteSender(bytes: Uint8Array, at: number): void {
    const sender = this.#sender
    if (this.#hasSender && sender.compare(bytes, at, at + idBytes) === 0) return
    sender.set(bytes.subarray(at, at + idBytes))
    this.#hasSender = true
    this.#revision = -1
  }

  /** Whether the sender of the last full frame is admitted. */
  #proven(): boolean {
    const { revision } = this.#board
    if (revision !== this.#revision) {
      this.#revision = revision
      this.#isProven = this.#hasSender && this.#board.admits(this.#sender)
    }
    return this.#isProven
  }

  /** Returns whether the PING is handed over: what it says is said again by the next one. */
  #answer(isExtended: boolean, bytes: number): boolean {
    const pong = this.#board.pong(isExtended)
    if (pong === undefined) return true
    this.#port.write(pong)
    if (!this.#hasRoom(bytes)) return false
    this.#port.deliver(Note.answered)
    return true
  }
}

export default {
  maxFrameBytes: longestFrameBytes,
  // Publications and heartbeats of many links: the main thread stays free for decisions.
  consumes: true,
  open: (port, options) => new Session(port, options as SessionOptions)
} satisfies Framer

/**
 * Cuts the reads of one connection into whole frames, the same way in a worker and on the main
 * thread.
 *
 * Frames that are whole within a read are never copied here; neighbours leave as one run. A frame
 * that a read cuts stays in place when the next read will follow it in memory. Otherwise it is kept
 * in private memory that grows with the bytes that really arrived, so neither an announced length
 * nor a slow peer takes memory that it did not send.
 */
import { copyBytes } from "../../../schema/copyBytes.ts"
import { FrameRefusal, type FramerSession } from "../Framer.ts"
import { madeProgress } from "./progress.ts"

/** Takes whole frames: `count` neighbours, the first from `from`, each to `ends[i]`. */
export interface FrameSink {
  readonly frames: (bytes: Uint8Array, from: number, ends: Int32Array, count: number) => void
}

/** Frames in one run at most. */
const runFrames = 4096

/** Runs are built one at a time in a thread and copied out by the sink. */
const ends = new Int32Array(runFrames)
const oneEnd = new Int32Array(1)

/** Bytes taken at once while a cut frame's length is not known yet. */
const probeBytes = 64

/** Memory for cut frames that a lane keeps from one cut to the next. */
const keptBytes = 16_384

const nothing: Uint8Array = new Uint8Array(0)

/** The receive side of one connection. */
export class Reassembly {
  readonly #session: FramerSession
  readonly #maxFrame: number
  readonly #sink: FrameSink
  /** The frame that the last read cut, its bytes from the start of this memory on. */
  #cut = nothing
  #cutLength = 0
  /** Where the cut frame starts when it stayed where it was read, otherwise -1. */
  #stayedAt = -1
  /** The run under construction. */
  #bytes = nothing
  #from = 0
  #count = 0

  constructor(session: FramerSession, maxFrame: number, sink: FrameSink) {
    this.#session = session
    this.#maxFrame = maxFrame
    this.#sink = sink
  }

  /** Bytes of a cut frame that wait for the rest. */
  get cutBytes(): number {
    return this.#cutLength
  }

  /**
   * Takes one read. Frames before a refusal have reached the sink when it throws, and no frame
   * reaches it afterwards. With `stays` the next read follows this one in the same memory, unless
   * `moveCut` or `keepCut` is called before.
   */
  read(bytes: Uint8Array, from: number, to: number, stays = false): void {
    let next = from
    if (this.#stayedAt >= 0) {
      next = from - this.#cutLength
      this.#cutLength = 0
      this.#stayedAt = -1
    } else if (this.#cutLength > 0) next = this.#complete(bytes, from, to)
    try {
      next = this.#scan(bytes, next, to)
    } finally {
      this.flush()
    }
    if (next < to) this.#keepRest(bytes, next, to, stays)
    else if (this.#cutLength === 0) this.#cut = nothing
  }

  /** Copies a cut frame in front of the next read; returns its bytes. */
  moveCut(memory: Uint8Array, at: number): number {
    if (this.#stayedAt < 0) return 0
    copyBytes(memory, at, memory, this.#stayedAt, this.#stayedAt + this.#cutLength)
    this.#stayedAt = at
    return this.#cutLength
  }

  /** Copies a cut frame to private memory, because the next read goes elsewhere. */
  keepCut(memory: Uint8Array): void {
    const from = this.#stayedAt
    if (from < 0) return
    const to = from + this.#cutLength
    this.#stayedAt = -1
    this.#cutLength = 0
    this.#append(memory, from, to)
  }

  /** Hands over a frame that the session made, in order with the frames of the stream. */
  deliver(bytes: Uint8Array): void {
    const { length } = bytes
    if (length > this.#maxFrame) throw new FrameRefusal(`delivered ${length} bytes as a frame`)
    this.flush()
    oneEnd[0] = length
    this.#sink.frames(bytes, 0, oneEnd, 1)
  }

  /** Appends whole frames to the run; returns where the first incomplete one starts. */
  #scan(bytes: Uint8Array, from: number, to: number): number {
    const session = this.#session
    const consumes = session.frame !== undefined
    this.#bytes = bytes
    this.#from = from
    let start = from
    while (start < to) {
      const length = session.length(bytes, start, to)
      if (length === 0) break
      this.#check(length)
      const end = start + length
      if (end > to) break
      if (!consumes || session.frame?.(bytes, start, end) === true) {
        if (this.#count === 0) this.#from = start
        ends[this.#count++] = end
        if (this.#count === runFrames) this.flush()
      } else {
        this.flush()
      }
      start = end
      if (consumes) madeProgress()
    }
    return start
  }

  /** Passes the run under construction on. */
  flush(): void {
    const count = this.#count
    if (count === 0) return
    this.#count = 0
    this.#sink.frames(this.#bytes, this.#from, ends, count)
  }

  /** Completes the cut frame with the read's first bytes; returns where the next one starts. */
  #complete(bytes: Uint8Array, from: number, to: number): number {
    let next = from
    let length = this.#session.length(this.#cut, 0, this.#cutLength)
    while (length === 0 && next < to) {
      this.#checkHead(this.#cutLength)
      const probe = Math.min(probeBytes, to - next)
      this.#append(bytes, next, next + probe)
      next += probe
      length = this.#session.length(this.#cut, 0, this.#cutLength)
    }
    if (length === 0) return next
    this.#check(length)
    if (this.#cutLength > length) {
      next -= this.#cutLength - length
      if (next < from) throw new FrameRefusal(`length ${length} is shorter than its head`)
      this.#cutLength = length
    }
    const rest = Math.min(length - this.#cutLength, to - next)
    this.#append(bytes, next, next + rest)
    next += rest
    if (this.#cutLength === length) {
      this.#cutLength = 0
      try {
        this.#scan(this.#cut, 0, length)
      } finally {
        this.flush()
        if (this.#cut.length > keptBytes) this.#cut = nothing
      }
    }
    return next
  }

  #keepRest(bytes: Uint8Array, from: number, to: number, stays: boolean): void {
    this.#checkHead(to - from)
    if (stays) {
      this.#stayedAt = from
      this.#cutLength = to - from
    } else this.#append(bytes, from, to)
  }

  /** Refuses a head that grows without end while its frame's length is unknown. */
  #checkHead(held: number): void {
    if (held > this.#maxFrame) throw new FrameRefusal(`no frame within ${this.#maxFrame} bytes`)
  }

  #append(bytes: Uint8Array, from: number, to: number): void {
    const held = this.#cutLength + to - from
    if (held > this.#cut.length) {
      const grown = new Uint8Array(Math.max(512, held, Math.min(held * 2, this.#maxFrame)))
      grown.set(this.#cut.subarray(0, this.#cutLength))
      this.#cut = grown
    }
    copyBytes(this.#cut, this.#cutLength, bytes, from, to)
    this.#cutLength = held
  }

  #check(length: number): void {
    if (length > this.#maxFrame || length < 0 || !Number.isInteger(length)) {
      throw new FrameRefusal(`length ${length}, at most ${this.#maxFrame}`)
    }
  }
}

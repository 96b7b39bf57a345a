/**
 * Received frames of one lane, on their way to its user: a handler gets them in the memory of their
 * read; without one they are copied and wait to be taken, so a slow user never keeps shared memory
 * from other lanes.
 *
 * A handler that answers is paused while the lane is behind with its answers: frames wait as
 * without a handler, and the reading stops when too many bytes wait.
 */
import { strict as assert } from "node:assert"
import { copyOf } from "../../../schema/copyBytes.ts"
import { FrameBatch } from "../FrameBatch.ts"
import { copyBytes } from "../../../schema/copyBytes.ts"

/** Callbacks into the lane. */
export interface ReceivedFramesOptions {
  /** False once the handler must not be called any more. */
  readonly isOpen: () => boolean
  /** More bytes wait to be sent than the limit. */
  readonly isBehind: () => boolean
  /** Called when the user has finished with so many bytes. */
  readonly consumed: (bytes: number) => void
  /** Called with the number of bytes that wait to be taken. */
  readonly waiting: (bytes: number) => void
  readonly failed: (error: unknown) => void
}

/** Copied neighbouring frames. */
interface Run {
  readonly bytes: Uint8Array
  /** Where each frame ends. */
  readonly ends: Int32Array
  /** Frames that a handler has had. */
  handled: number
}

/**
 * Frames in one call of a handler at most: between calls the lane checks whether it is behind, and
 * a call costs far less than so many answers.
 */
const callFrames = 64

/** The receive side of a lane. */
export class ReceivedFrames {
  readonly #owner: ReceivedFramesOptions
  readonly #batch = new FrameBatch()
  #handler: ((batch: FrameBatch) => void) | undefined
  #runs: Array<Run> = []
  #bytes = 0
  #isHeldBack = false
  #isHandling = false

  constructor(owner: ReceivedFramesOptions) {
    this.#owner = owner
  }

  /** The handler is being called. */
  get isHandling(): boolean {
    return this.#isHandling
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0
  }

  /** Sets the handler of all batches from now on, first of waiting ones. */
  handle(handler: ((batch: FrameBatch) => void) | undefined): void {
    this.#handler = handler
    this.#drain()
  }

  /** Takes neighbouring frames, valid during the call. */
  push(bytes: Uint8Array, ends: Int32Array, first: number, count: number, from: number): void {
    assert(this.isEmpty || !this.#mayHandle)
    const last = first + count
    let next = first
    let start = from
    while (next < last && this.#mayHandle) {
      const to = Math.min(last, next + callFrames)
      this.#call(bytes, ends, next, to - next, start)
      start = ends[to - 1]!
      next = to
    }
    if (next < last) {
      if (this.#owner.isOpen()) this.#keep(bytes, ends, next, last, start)
      else start = ends[last - 1]!
    }
    if (start > from) this.#owner.consumed(start - from)
  }

  /** Takes all waiting frames. Frames of one read share memory. */
  take(): Array<Uint8Array> {
    const frames: Array<Uint8Array> = []
    for (const { bytes, ends, handled } of this.#runs) {
      let start = handled === 0 ? 0 : ends[handled - 1]!
      for (let index = handled; index < ends.length; index++) {
        const end = ends[index]!
        frames.push(bytes.subarray(start, end))
        start = end
      }
    }
    this.#clear()
    return frames
  }

  /** Called when the lane has sent enough of its answers. */
  release(): void {
    if (!this.#isHeldBack) return
    this.#isHeldBack = false
    this.#drain()
  }

  /** Called when no frames follow and no answer can leave: a handler gets all waiting frames. */
  end(): void {
    this.#isHeldBack = false
    this.#drain()
    if (this.#handler !== undefined) this.#clear()
  }

  get #mayHandle(): boolean {
    return this.#handler !== undefined && !this.#isHeldBack && this.#owner.isOpen()
  }

  #drain(): void {
    // A handler that sets another one is in the loop below.
    if (this.#isHandling) return
    while (this.#runs.length > 0 && this.#mayHandle) {
      const run = this.#runs[0]!
      const { bytes, ends, handled } = run
      const start = handled === 0 ? 0 : ends[handled - 1]!
      run.handled = Math.min(ends.length, handled + callFrames)
      if (run.handled === ends.length) this.#runs.shift()
      const size = ends[run.handled - 1]! - start
      this.#bytes -= size
      this.#call(bytes, ends, handled, run.handled - handled, start)
      this.#owner.consumed(size)
    }
  }

  #call(bytes: Uint8Array, ends: Int32Array, first: number, count: number, from: number): void {
    this.#isHandling = true
    try {
      this.#handler?.(this.#batch.set(bytes, ends, first, count, from))
    } catch (error) {
      this.#owner.failed(error)
    } finally {
      this.#isHandling = false
    }
    this.#isHeldBack = this.#owner.isBehind()
  }

  #keep(bytes: Uint8Array, ends: Int32Array, first: number, last: number, from: number): void {
    const to = ends[last - 1]!
    const kept = ends.slice(first, last)
    for (let index = 0; index < kept.length; index++) kept[index]! -= from
    this.#runs.push({ bytes: copyOf(bytes, from, to), ends: kept, handled: 0 })
    this.#bytes += to - from
    this.#owner.waiting(this.#bytes)
  }

  #clear(): void {
    const bytes = this.#bytes
    this.#runs = []
    this.#bytes = 0
    if (bytes > 0) this.#owner.consumed(bytes)
  }
}

/** The frame under way on one lane. */
export class LongFrame {
  readonly bytes: Uint8Array
  #filled = 0

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
  }

  /** Appends a part; true when the frame is whole. */
  append(memory: Uint8Array, from: number, to: number): boolean {
    copyBytes(this.bytes, this.#filled, memory, from, to)
    this.#filled += to - from
    return this.#filled >= this.bytes.length
  }
}

/**
 * One connection where its socket is, in a worker or on the main thread.
 *
 * Reading is paused while any reason stands: the turn's budget is used up, the user is behind, the
 * way to the main thread is full, or the peer does not take our output. The socket's `close` event
 * is the only place where a lane ends, so it ends once.
 */
import { type Framer, FrameRefusal, type FramerPort, type FramerSession } from "../Framer.ts"
import { type EndReason, type LaneLimits, resetReason } from "./messages.ts"
import { CommandReader } from "./commandReader.ts"
import { cutText, detailCharacters } from "./cutText.ts"
import type { Cancel, Connection, Timers } from "./platform.ts"
import { madeProgress } from "./progress.ts"
import { Reassembly } from "./reassembly.ts"
import { writeCopy } from "./buffers.ts"
import type { OpenChunk, LaneSlot } from "./chunkPool.ts"

/** Reasons to pause the reading, as bits. */
export const PauseReason = { budget: 1, user: 2, handover: 4, output: 8 } as const

/** The host of a lane, as the lane sees it. */
export interface LaneHost {
  readonly frames: (
    lane: SocketLane,
    bytes: Uint8Array,
    from: number,
    ends: Int32Array,
    count: number
  ) => void
  /** Called when bytes have come, before they are cut into frames. */
  readonly received: (lane: SocketLane) => void
  readonly written: (lane: SocketLane, bytes: number) => void
  readonly finished: (lane: SocketLane) => void
  readonly peerEnded: (lane: SocketLane) => void
  readonly closed: (lane: SocketLane, reason: EndReason) => void
  /** Calls `lane.nextTurn()` in the next turn of the event loop. */
  readonly deferTurn: (lane: SocketLane) => void
  readonly region: (id: number) => Uint8Array | undefined
  readonly timers: Timers
}

/** A connection and what is under way on it. */
export class SocketLane {
  readonly slot: LaneSlot = { index: -1, generation: 0, chunk: undefined, handedOverBytes: 0 }
  readonly socket: Connection
  readonly limits: LaneLimits
  /** Whether the framer consumes most frames itself. */
  readonly consumes: boolean
  readonly #host: LaneHost
  readonly #session: FramerSession
  readonly #reassembly: Reassembly
  readonly #commands = new CommandReader()
  #pauseReasons = 0
  #turnBytes = 0
  #reason: EndReason | undefined
  #isClosing = false
  #isCorked = false
  /** The write job under way: its bytes, and when it began. */
  #writingBytes = 0
  #writingSince = 0
  #isFinishing = false
  /** The write job under way has passed its commands on, and its completion waits for the peer. */
  #hasWaitingCommands = false
  /** The error that the framer threw in `open`. */
  openError: unknown
  /** Begins to read an accepted connection. */
  startReading: (() => void) | undefined
  /** Bytes that may have been read and not taken. */
  receiveBytes: number
  /** Bytes of the last read. */
  lastReadBytes = 0
  #stopClosing: Cancel | undefined

  constructor(
    host: LaneHost,
    socket: Connection,
    framer: Framer,
    options: unknown,
    limits: LaneLimits,
    initiator: boolean
  ) {
    this.#host = host
    this.socket = socket
    this.limits = limits
    this.receiveBytes = limits.receiveBytes
    this.consumes = framer.consumes === true
    let session: FramerSession = { length: () => 0 }
    try {
      session = framer.open(this.#port(initiator), options)
    } catch (error) {
      this.openError = error ?? new Error("the framer did not open")
    }
    this.#session = session
    this.#reassembly = new Reassembly(this.#session, framer.maxFrameBytes, {
      frames: (bytes, from, ends, count) => {
        if (!this.#isClosing) host.frames(this, bytes, from, ends, count)
      }
    })
    socket.on("error", (error: NodeJS.ErrnoException) => this.#failed(error))
    socket.on("end", () => this.#ended())
    socket.on("close", () => this.#closed())
  }

  /** Takes one read; true when the next one may follow at once. */
  read(bytes: Uint8Array, from: number, to: number, room: number): boolean {
    this.lastReadBytes = to - from
    if (this.#reason !== undefined) return true
    this.#host.received(this)
    madeProgress()
    try {
      this.#reassembly.read(bytes, from, to, this.slot.chunk?.memory === bytes)
    } catch (error) {
      this.refuse(error)
      return false
    }
    if (to - from === room) this.#countTurnBytes(room)
    return this.#pauseReasons === 0
  }

  /** The session's memory for the next read; undefined leaves it to the host. */
  readBuffer(): Uint8Array | undefined {
    return this.#session.into?.()
  }

  /** This side ends the lane. */
  get isClosing(): boolean {
    return this.#isClosing
  }

  /** Bytes of a cut frame that wait for the rest. */
  get cutBytes(): number {
    return this.#reassembly.cutBytes
  }

  /** Lets the next read go into this chunk, with a cut frame from another one. */
  moveInto(chunk: OpenChunk): void {
    chunk.nextByte += this.#reassembly.moveCut(chunk.memory, chunk.nextByte)
    this.slot.chunk = chunk
  }

  /** Lets the next read go into no chunk. */
  leave({ memory }: OpenChunk): void {
    this.#reassembly.keepCut(memory)
    this.slot.chunk = undefined
  }

  /** Continues reading in the next turn of the event loop. */
  nextTurn(): void {
    this.#turnBytes = 0
    this.resume(PauseReason.budget)
  }

  pause(reason: number): void {
    const mayPause = this.#pauseReasons === 0 && !this.socket.destroyed
    this.#pauseReasons |= reason
    if (mayPause) this.socket.pause()
  }

  resume(reason: number): void {
    if ((this.#pauseReasons & reason) === 0) return
    this.#pauseReasons &= ~reason
    if (this.#pauseReasons === 0 && !this.socket.destroyed) this.socket.resume()
  }

  /** Lets an accepted lane read, until so many bytes wait. */
  start(receiveBytes = this.limits.receiveBytes): void {
    this.receiveBytes = receiveBytes
    if (!this.#isClosing) this.startReading?.()
    this.startReading = undefined
  }

  /** Performs a write job of bytes that are valid in this call. It completes once in any case. */
  write(bytes: Uint8Array, from: number, to: number): void {
    this.#beginWrite(to - from)
    writeCopy(this.socket, bytes, from, to, (error) =>
      this.#completeWrite(error == null ? this.#writingBytes : 0)
    )
  }

  /** Performs a write job of commands for the framer, each with its length before it. */
  command(bytes: Uint8Array): void {
    this.#beginWrite(bytes.length)
    try {
      this.#commands.push(bytes, (bytes, from, to) => {
        if (this.#reason === undefined) this.#session.command?.(bytes, from, to)
        madeProgress()
      })
    } catch (error) {
      this.refuse(error)
    }
    this.#hasWaitingCommands = this.#isBehind && !this.socket.destroyed
    if (!this.#hasWaitingCommands) this.#host.timers.atEnd(() => this.#wrote())
  }

  /** Ends this side after written bytes; completes once, like a write. */
  finish(): void {
    this.#isFinishing = true
    this.socket.end(() => this.#finished())
  }

  /** Ends the lane at once, or after written bytes and with time for the peer to end its side. */
  close(asked: "closed" | "stopped", inOrder: boolean): void {
    this.#end(asked === "stopped" ? { kind: asked } : { kind: asked, unsent: 0 }, inOrder)
  }

  /** Ends the lane when a write job has been under way for too long. */
  checkStall(now: number): void {
    const millis = now - this.#writingSince
    if (this.#writingBytes > 0 && millis >= this.limits.stallAfterMs) {
      this.#reason ??= { kind: "slow-peer", bytes: this.#writingBytes, millis }
      this.#destroy()
    }
  }

  /** Counts a full read, which is likely to be followed by another one, for the turn. */
  #countTurnBytes(bytes: number): void {
    if (this.#turnBytes === 0) this.#host.deferTurn(this)
    this.#turnBytes += bytes
    if (this.#turnBytes >= this.limits.readTurnBytes) this.#pauseReasons |= PauseReason.budget
  }

  #beginWrite(bytes: number): void {
    this.#writingBytes = bytes
    this.#writingSince = this.#host.timers.now()
  }

  #finished(): void {
    if (!this.#isFinishing) return
    this.#isFinishing = false
    this.#host.finished(this)
  }

  #wrote(): void {
    this.#completeWrite(this.#writingBytes)
  }

  /** Completes the write job under way, of which so many bytes left. */
  #completeWrite(bytes: number): void {
    if (this.#writingBytes === 0) return
    this.#writingBytes = 0
    this.#host.written(this, bytes)
  }

  #port(initiator: boolean): FramerPort {
    return {
      initiator,
      write: (bytes, written) => {
        if (!this.#isCorked) {
          this.#isCorked = true
          this.socket.cork()
          this.#host.timers.atEnd(() => {
            this.#isCorked = false
            this.socket.uncork()
          })
        }
        this.#write(bytes, written)
      },
      writeNow: (parts, written) => {
        const last = parts.length - 1
        if (last > 0) this.socket.cork()
        for (let index = 0; index < last; index++) this.#write(parts[index]!, undefined)
        this.#write(parts[last]!, written)
        if (last > 0) this.socket.uncork()
      },
      deliver: (bytes) => this.#reassembly.deliver(bytes),
      region: (id) => this.#host.region(id),
      now: () => this.#host.timers.sharedNanos(),
      refuse: (reason) => this.refuse(new FrameRefusal(reason))
    }
  }

  /** After this side's end a framer's answers are dropped; the peer has seen that end. */
  #write(bytes: Uint8Array, written: (() => void) | undefined): void {
    if (this.socket.writableEnded) return
    this.socket.write(bytes, (error) => {
      if (error != null) return
      written?.()
      if (!this.#isBehind) this.#caughtUp()
    })
    if (this.#isBehind) this.pause(PauseReason.output)
  }

  /** The peer has not taken as many bytes as this side may have unsent. */
  get #isBehind(): boolean {
    return this.socket.writableLength > this.limits.sendBytes
  }

  /** Node emits `drain` only above its high-water mark, so each write checks when it is done. */
  #caughtUp(): void {
    this.resume(PauseReason.output)
    if (!this.#hasWaitingCommands) return
    this.#hasWaitingCommands = false
    this.#wrote()
  }

  refuse(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    const detail = cutText(message, detailCharacters)
    this.#reassembly.flush()
    const isDefect = !(error instanceof FrameRefusal)
    this.#end({ kind: "refused", detail, isDefect }, this.socket.writableLength > 0)
  }

  #end(reason: EndReason, inOrder: boolean): void {
    this.#reason ??= reason
    this.#isClosing = true
    if (!inOrder) {
      this.#destroy()
    } else if (this.#stopClosing === undefined && !this.socket.destroyed) {
      this.#stopClosing = this.#host.timers.after(this.limits.closeWithinMs, () => this.#destroy())
      this.#pauseReasons = 0
      this.socket.resume()
      this.socket.end()
    }
  }

  #failed(error: NodeJS.ErrnoException): void {
    this.#reason ??= resetReason(error)
  }

  #ended(): void {
    if (this.#reason !== undefined) return
    const missing = this.#reassembly.cutBytes
    try {
      if (missing === 0) this.#session.end?.()
    } catch (error) {
      this.refuse(error)
      return
    }
    if (this.socket.allowHalfOpen && missing === 0) this.#host.peerEnded(this)
    else this.#reason ??= { kind: "peer-closed", missing }
    if (missing > 0) this.#destroy()
  }

  #destroy(): void {
    this.#isClosing = true
    const unsent = this.socket.writableLength
    if (this.#reason?.kind === "closed" && unsent > 0) this.#reason = { kind: "closed", unsent }
    this.socket.destroy()
  }

  #closed(): void {
    this.#stopClosing?.()
    this.#completeWrite(0)
    this.#finished()
    this.#host.closed(this, this.#reason ?? { kind: "peer-closed", missing: 0 })
  }
}

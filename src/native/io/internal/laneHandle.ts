/**
 * A lane on the main thread, wherever its socket is.
 *
 * Bytes to send wait here until the one write job of the lane is free, so jobs are as long as the
 * traffic is dense. Received frames go to the user's handler in the memory of their read, or are
 * copied out when no handler waits for them, so a slow user never keeps shared memory from other
 * lanes.
 */
import type { EndReason, LaneLimits, PeerInfo } from "./messages.ts"
import type { FrameBatch } from "../FrameBatch.ts"
import { type LaneCounts, noCounts, type SendStatus } from "./laneCounts.ts"
import { PendingOperations } from "./pendingOperations.ts"
import type { Cancel, Timers } from "./platform.ts"
import { LongFrame } from "./receivedFrames.ts"
import { ReceivedFrames } from "./receivedFrames.ts"
import { SendQueue } from "./sendQueue.ts"
import { Waiters } from "./waiters.ts"

/** Drives a lane's socket, on the main thread or in a worker. */
export interface LaneDriver {
  readonly timers: Pick<Timers, "after">
  /** The counts of all lanes of the pool, the high-water marks those of the highest. */
  readonly totals: LaneCounts
  /** Bytes that one write job can carry. */
  readonly recordBytes: number
  /** Dispatches a write job for the first bytes of the queue; false when there is no room. */
  readonly write: (handle: LaneHandle, bytes: Uint8Array) => boolean
  /** Lets an accepted lane read. */
  readonly start: (handle: LaneHandle) => boolean
  readonly finish: (handle: LaneHandle) => boolean
  readonly close: (handle: LaneHandle, inOrder: boolean) => boolean
  /** Calls `handle.flush()` soon, once for many sends, or once there is room. */
  readonly flushSoon: (handle: LaneHandle) => void
  /** Called when the user has finished with so many received bytes. */
  readonly consumed: (handle: LaneHandle, bytes: number) => void
  /** Releases the lane, once. */
  readonly release: (handle: LaneHandle) => void
  /** When bytes last came, in milliseconds since 1970. */
  readonly lastReceivedAt: (handle: LaneHandle) => number
}

/** A lane without Effect. */
export class LaneHandle {
  readonly limits: LaneLimits
  readonly operations = new PendingOperations()
  readonly counts = noCounts()
  readonly #driver: LaneDriver
  readonly #queue: SendQueue
  readonly #onEnd = new Waiters()
  readonly #received: ReceivedFrames
  #long: LongFrame | undefined
  readonly #takers = new Waiters()
  readonly #served = new Waiters()
  readonly #senders = new Waiters()
  /** The longest message that was refused since there was room last. */
  #refused = 0
  #inFlight = 0
  /** Accepted bytes that a close at once has dropped. */
  #dropped = 0
  #isToStart = false
  #finish: "no" | "asked" | "sent" = "no"
  #close: "no" | "in order" | "at once" = "no"
  #closeSent: "no" | "in order" | "at once" = "no"
  #stopClosing: Cancel | undefined
  end: EndReason | undefined
  hasPeerEnded = false
  /** Kept when the lane is released. */
  lastReceivedAt = 0
  readonly takesCommands: boolean
  #ownReason: EndReason | undefined
  readonly #readPeer: () => PeerInfo
  #peer: PeerInfo | undefined

  constructor(driver: LaneDriver, peer: () => PeerInfo, limits: LaneLimits, commands: boolean) {
    this.#driver = driver
    this.#queue = new SendQueue(commands)
    this.takesCommands = commands
    this.#readPeer = peer
    this.limits = limits
    this.#received = new ReceivedFrames({
      isOpen: () => this.#close === "no" && this.#ownReason === undefined,
      isBehind: () => !this.operations.hasEnded && this.unsent > limits.sendBytes,
      consumed: (bytes) => driver.consumed(this, bytes),
      waiting: (bytes) => this.#raiseHighWater("receiveHighWater", bytes),
      failed: (error) => this.#handlerFailed(error)
    })
  }

  /** Read on the first use: most lanes of a storm need none. */
  get peer(): PeerInfo {
    return (this.#peer ??= this.#readPeer())
  }

  /** Bytes accepted and not yet handed to the kernel. */
  get unsent(): number {
    return this.#queue.length + this.#inFlight
  }

  get receivedAt(): number {
    return this.#driver.lastReceivedAt(this)
  }

  send(bytes: Uint8Array, spareBytes = 0): SendStatus {
    if (!this.operations.isOpen || this.#finish !== "no") return "closed"
    const { limits, unsent } = this
    // Answers to a batch fit, since the next batch waits for them.
    const answerBytes = this.#received.isHandling ? limits.receiveBytes : 0
    const most = limits.sendBytes + answerBytes - spareBytes
    if (unsent > 0 && unsent + bytes.length > most) {
      this.#refused = Math.max(this.#refused, bytes.length)
      return "full"
    }
    this.#queue.append(bytes)
    this.#raiseHighWater("sendHighWater", unsent + bytes.length)
    if (!this.operations.isWriting) this.#driver.flushSoon(this)
    return "accepted"
  }

  /**
   * Calls back once when half of the send memory is free and a refused message has room, or when
   * the lane has ended. Returns a function that cancels the callback; so do the others.
   */
  onWritable(wake: () => void): () => void {
    const giveUp = this.#senders.add(wake)
    this.#wakeWriters()
    return giveUp
  }

  /** Calls back once when there are frames to take, or the lane has ended. */
  onBacklog(wake: () => void): () => void {
    const giveUp = this.#takers.add(wake)
    if (!this.#received.isEmpty || this.end !== undefined) this.#takers.wake()
    return giveUp
  }

  /** Calls back once when the peer or the lane has ended and the handler has had all frames. */
  onServed(wake: () => void): () => void {
    const giveUp = this.#served.add(wake)
    this.#wakeServed()
    return giveUp
  }

  /** Calls back once when the lane has ended. */
  onEnd(wake: () => void): () => void {
    const giveUp = this.#onEnd.add(wake)
    if (this.end !== undefined) this.#onEnd.wake()
    return giveUp
  }

  /** Callbacks that wait. */
  get waiting(): number {
    return this.#senders.size + this.#takers.size + this.#served.size + this.#onEnd.size
  }

  /** Dispatches the jobs that may be dispatched; false when the driver had no room. */
  flush(): boolean {
    if (this.operations.hasEnded) return true
    if (this.#close === "at once") return this.#sendClose()
    if (this.#isToStart) {
      this.#isToStart = false
      if (!this.#driver.start(this)) {
        this.#isToStart = true
        return false
      }
    }
    if (this.#queue.length > 0) {
      if (!this.operations.canStart("write")) return true
      const front = this.#queue.front(Math.min(this.limits.writeJobBytes, this.#driver.recordBytes))
      // Noted first: on the main thread a framer runs within the call, and may deliver frames that
      // come back here.
      this.operations.started("write")
      if (!this.#driver.write(this, front)) {
        this.operations.completed("write")
        return false
      }
      this.#inFlight = front.length
      this.#queue.drop(front.length)
      return true
    }
    if (this.operations.isWriting) return true
    if (this.#finish === "asked" && this.operations.canStart("finish")) {
      if (!this.#driver.finish(this)) return false
      this.#finish = "sent"
      this.operations.started("finish")
    }
    return this.#close === "no" || this.#sendClose()
  }

  /** Lets an accepted lane read. */
  start(): void {
    this.#isToStart = true
    if (!this.flush()) this.#driver.flushSoon(this)
  }

  /** Handles the completion of the write job. */
  written(bytes: number): void {
    this.#count("bytesSent", bytes)
    this.#inFlight = 0
    if (this.operations.completed("write")) this.#driver.release(this)
    else if (!this.flush()) this.#driver.flushSoon(this)
    this.#wakeWriters()
    if (this.unsent * 2 > this.limits.sendBytes) return
    this.#received.release()
    this.#wakeServed()
  }

  finished(): void {
    if (this.operations.completed("finish")) this.#driver.release(this)
  }

  /** Half-close: our side ends after everything that was accepted. */
  finish(): void {
    if (this.#finish !== "no") return
    this.#finish = "asked"
    this.#driver.flushSoon(this)
  }

  /** Closes in order: accepted bytes go out first, within `closeWithin`. */
  close(): void {
    if (!this.operations.isOpen) return
    this.operations.close()
    this.#close = "in order"
    this.#stopClosing = this.#driver.timers.after(this.limits.closeWithinMs, () => this.abort())
    this.#wakeWriters()
    this.#driver.flushSoon(this)
  }

  /** Closes at once; unwritten bytes are dropped. */
  abort(): void {
    this.operations.close()
    if (this.operations.hasEnded) return
    this.#close = "at once"
    this.#dropped = Math.max(this.#dropped, this.unsent)
    this.#queue.drop(this.#queue.length)
    if (!this.#sendClose()) this.#driver.flushSoon(this)
    this.#wakeWriters()
  }

  /**
   * Sets the handler of all batches from now on, first of waiting ones; without one, frames wait.
   */
  onFrames(handler: ((batch: FrameBatch) => void) | undefined): void {
    this.#received.handle(handler)
  }

  /** Takes frames of the peer, valid during the call. */
  frames(bytes: Uint8Array, ends: Int32Array, first: number, count: number, from: number): void {
    this.#count("framesReceived", count)
    this.#count("bytesReceived", (ends[first + count - 1] ?? from) - from)
    this.#received.push(bytes, ends, first, count, from)
    if (!this.#received.isEmpty) this.#takers.wake()
  }

  /** Takes a part of a frame of so many bytes, valid during the call. */
  part(memory: Uint8Array, from: number, to: number, length: number): void {
    const long = (this.#long ??= new LongFrame(length))
    if (!long.append(memory, from, to)) return
    this.#long = undefined
    this.frames(long.bytes, Int32Array.of(length), 0, 1, 0)
  }

  /** Takes all waiting frames. */
  takeBacklog(): Array<Uint8Array> {
    return this.#received.take()
  }

  onPeerEnded(): void {
    this.hasPeerEnded = true
    this.#takers.wake()
    this.#wakeServed()
  }

  /** Ends the lane, once, when the socket is closed. */
  ended(hostReason: EndReason): void {
    if (this.end !== undefined) return
    this.#stopClosing?.()
    const release = this.operations.end()
    this.#queue.drop(this.#queue.length)
    this.#received.end()
    this.end = this.#reasonOf(this.#ownReason ?? hostReason)
    // Before its closer goes on, which may look whether anything is left.
    if (release) this.#driver.release(this)
    this.#wakeWriters()
    this.#takers.wake()
    this.#wakeServed()
    this.#onEnd.wake()
  }

  /** Ends the lane when the thread with the socket has ended, and completes its jobs here. */
  lost(reason: EndReason): void {
    this.ended(reason)
    if (this.operations.isWriting) this.written(0)
    if (this.operations.isFinishing) this.finished()
  }

  /** After a local close, reports `closed` even if the peer closed first. */
  #reasonOf(reason: EndReason): EndReason {
    if (this.#close === "no" || (reason.kind !== "closed" && reason.kind !== "peer-closed")) {
      return reason
    }
    const unsent = reason.kind === "closed" ? reason.unsent : 0
    return { kind: "closed", unsent: Math.max(unsent, this.#dropped) }
  }

  /** Ends the lane with the error of its handler as the reason. */
  #handlerFailed(error: unknown): void {
    this.#ownReason ??= { kind: "handler", detail: String(error) }
    this.abort()
  }

  #sendClose(): boolean {
    if (this.#closeSent === this.#close) return true
    if (!this.#driver.close(this, this.#close === "in order")) return false
    this.#closeSent = this.#close
    return true
  }

  #count(name: "framesReceived" | "bytesReceived" | "bytesSent", added: number): void {
    this.counts[name] += added
    this.#driver.totals[name] += added
  }

  #raiseHighWater(name: "sendHighWater" | "receiveHighWater", bytes: number): void {
    const { counts } = this
    const { totals } = this.#driver
    if (bytes > counts[name]) counts[name] = bytes
    if (bytes > totals[name]) totals[name] = bytes
  }

  #wakeServed(): void {
    const hasEnded = this.end !== undefined || (this.hasPeerEnded && this.#received.isEmpty)
    if (hasEnded) this.#served.wake()
  }

  #wakeWriters(): void {
    const { unsent } = this
    const { sendBytes } = this.limits
    const hasRoom = unsent * 2 <= sendBytes && unsent + this.#refused <= sendBytes
    if (this.operations.isOpen && unsent > 0 && !hasRoom) return
    this.#refused = 0
    this.#senders.wake()
  }
}

/**
 * Lanes whose sockets are on the main thread: for plain traffic in small batches, for a pool
 * without workers, and when a worker had no room for another job.
 */
import type { EndReason } from "./messages.ts"
import { PauseReason, type SocketLane } from "./socketLane.ts"
import { LaneHandle, type LaneDriver } from "./laneHandle.ts"
import type { LaneCounts } from "./laneCounts.ts"
import { OpenJobs } from "./openJobs.ts"
import type { Platform, Timers } from "./platform.ts"
import { SocketHost } from "./socketHost.ts"
import type { Opener } from "./openJobs.ts"
import type { TlsSettings } from "./tls.ts"

/** A lane's two halves, and how far its user is behind. */
interface Pair {
  readonly handle: LaneHandle
  readonly lane: SocketLane
  untakenBytes: number
}

/** Drives lanes directly. */
export class MainThreadDriver implements LaneDriver {
  readonly #host: SocketHost
  readonly #byHandle = new Map<LaneHandle, Pair>()
  readonly #byLane = new Map<SocketLane, Pair>()
  readonly #jobs = new OpenJobs()
  readonly #clock: () => number
  readonly #opened: () => void
  readonly timers: Timers
  readonly totals: LaneCounts
  readonly recordBytes = Number.POSITIVE_INFINITY
  readonly isParked = false
  /** The lane whose handler is being called. */
  #handling: LaneHandle | undefined

  constructor(
    clock: () => number,
    totals: LaneCounts,
    region: (id: number) => Uint8Array | undefined,
    opened: () => void,
    platform: Platform
  ) {
    this.timers = platform.timers
    this.#clock = clock
    this.#opened = opened
    this.totals = totals
    this.#host = new SocketHost(
      {
        frames: (lane, bytes, from, ends, count) => {
          const pair = this.#byLane.get(lane)
          if (pair === undefined) return
          pair.untakenBytes += (ends[count - 1] ?? 0) - from
          this.#handling = pair.handle
          pair.handle.frames(bytes, ends, 0, count, from)
          this.#handling = undefined
          // All answers to one read go in one write.
          pair.handle.flush()
          if (pair.untakenBytes > lane.receiveBytes) lane.pause(PauseReason.user)
        },
        received: (lane) => {
          const handle = this.#byLane.get(lane)?.handle
          if (handle !== undefined) handle.lastReceivedAt = this.#clock()
        },
        written: (lane, bytes) => this.#byLane.get(lane)?.handle.written(bytes),
        finished: (lane) => this.#byLane.get(lane)?.handle.finished(),
        peerEnded: (lane) => this.#byLane.get(lane)?.handle.onPeerEnded(),
        closed: (lane, reason) => this.#closed(lane, reason),
        region,
        readInto: () => undefined,
        opened: (job, lane, peer) => {
          const opener = this.#jobs.opened(job)
          if (opener === undefined) lane.close("closed", false)
          else opener.opened(this.#admit(lane, opener, peer))
        },
        listening: (job, address, port) => this.#jobs.listening(job, address, port),
        failed: (job, failure) => this.#jobs.failed(job, failure),
        accepted: (job, lane, peer) => {
          const opener = this.#jobs.listener(job)
          if (opener === undefined) return false
          opener.accepted(this.#admit(lane, opener, peer))
          return true
        }
      },
      platform
    )
  }

  get lanes(): number {
    return this.#byHandle.size
  }

  get jobsOut(): number {
    let out = this.#jobs.out
    for (const handle of this.#byHandle.keys()) out += handle.operations.pending
    return out
  }

  get isIdle(): boolean {
    return !this.#host.isBusy
  }

  open(opener: Opener): number {
    const job = this.#jobs.add(opener)
    this.#host.open(job, opener.job)
    return job
  }

  cancel(job: number): void {
    this.#host.cancel(job)
  }

  renewCertificates(job: number, tls: TlsSettings): void {
    this.#host.renewCertificates(job, tls)
  }

  isListening(job: number): boolean {
    return this.#jobs.isListening(job)
  }

  stop(): void {
    this.#host.stop()
  }

  readonly write = (handle: LaneHandle, bytes: Uint8Array): boolean => {
    const lane = this.#byHandle.get(handle)?.lane
    if (handle.takesCommands) lane?.command(bytes.slice())
    else lane?.write(bytes, 0, bytes.length)
    return true
  }

  readonly start = (handle: LaneHandle): boolean => {
    this.#byHandle.get(handle)?.lane.start()
    return true
  }

  readonly finish = (handle: LaneHandle): boolean => {
    this.#byHandle.get(handle)?.lane.finish()
    return true
  }

  readonly close = (handle: LaneHandle, inOrder: boolean): boolean => {
    this.#byHandle.get(handle)?.lane.close("closed", inOrder)
    return true
  }

  readonly flushSoon = (handle: LaneHandle): void => {
    if (handle !== this.#handling) handle.flush()
  }

  readonly consumed = (handle: LaneHandle, bytes: number): void => {
    const pair = this.#byHandle.get(handle)
    if (pair === undefined) return
    pair.untakenBytes -= bytes
    if (pair.untakenBytes * 2 <= handle.limits.receiveBytes) pair.lane.resume(PauseReason.user)
  }

  readonly release = (handle: LaneHandle): void => {
    const pair = this.#byHandle.get(handle)
    if (pair === undefined) return
    this.#byHandle.delete(handle)
    this.#byLane.delete(pair.lane)
  }

  readonly lastReceivedAt = (handle: LaneHandle): number => handle.lastReceivedAt

  #admit(lane: SocketLane, opener: Opener, peer: LaneHandle["peer"]): LaneHandle {
    const handle = new LaneHandle(this, () => peer, lane.limits, opener.takesCommands)
    handle.lastReceivedAt = this.#clock()
    const pair = { handle, lane, untakenBytes: 0 }
    this.#opened()
    this.#byHandle.set(handle, pair)
    this.#byLane.set(lane, pair)
    return handle
  }

  #closed(lane: SocketLane, reason: EndReason): void {
    this.#byLane.get(lane)?.handle.ended(reason)
  }
}

/**
 * Lanes whose sockets live on the main thread: for plain traffic in small batches, for a pool
 * without workers, and where a worker had no room for another job.
 */
import type { EndReason } from "./messages.ts"
import { Hold, type HostLane } from "./socketLane.ts"
import { LaneCore, type LaneDriver } from "./laneHandle.ts"
import type { LaneCounts } from "./laneCounts.ts"
import { loadFramer } from "./loadFramer.ts"
import { OpenJobs } from "./openJobs.ts"
import { SocketHost } from "./socketHost.ts"
import type { Opener } from "./opener.ts"

/** A lane's two halves, and how far its user is behind. */
interface Pair {
  readonly core: LaneCore
  readonly lane: HostLane
  behind: number
}

/** Drives lanes directly. */
export class MainPath implements LaneDriver {
  readonly #host: SocketHost
  readonly #byCore = new Map<LaneCore, Pair>()
  readonly #byLane = new Map<HostLane, Pair>()
  readonly #jobs = new OpenJobs()
  readonly #clock: () => number
  readonly #opened: () => void
  readonly totals: LaneCounts
  readonly recordBytes = Number.POSITIVE_INFINITY
  readonly parked = false
  /** The lane whose frames its user is looking at. */
  #handling: LaneCore | undefined

  constructor(
    clock: () => number,
    totals: LaneCounts,
    region: (id: number) => Uint8Array | undefined,
    opened: () => void
  ) {
    this.#clock = clock
    this.#opened = opened
    this.totals = totals
    this.#host = new SocketHost(
      {
        frames: (lane, bytes, from, ends, count) => {
          const pair = this.#byLane.get(lane)
          if (pair === undefined) return
          pair.behind += (ends[count - 1] ?? 0) - from
          this.#handling = pair.core
          pair.core.frames(bytes, ends, 0, count, from)
          this.#handling = undefined
          // All answers to what was read go in one write.
          pair.core.flush()
          if (pair.behind > lane.limits.receiveBytes) lane.hold(Hold.user)
        },
        heard: (lane) => {
          const core = this.#byLane.get(lane)?.core
          if (core !== undefined) core.lastHeard = this.#clock()
        },
        written: (lane, bytes) => this.#byLane.get(lane)?.core.written(bytes),
        finished: (lane) => this.#byLane.get(lane)?.core.finished(),
        peerEnded: (lane) => this.#byLane.get(lane)?.core.endedByPeer(),
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
      loadFramer
    )
  }

  get lanes(): number {
    return this.#byCore.size
  }

  get jobsOut(): number {
    let out = this.#jobs.out
    for (const core of this.#byCore.keys()) out += core.jobs.out
    return out
  }

  get idle(): boolean {
    return !this.#host.busy
  }

  open(opener: Opener): number {
    const job = this.#jobs.add(opener)
    this.#host.open(job, opener.job)
    return job
  }

  cancel(job: number): void {
    this.#host.cancel(job)
  }

  isListening(job: number): boolean {
    return this.#jobs.isListening(job)
  }

  stop(): void {
    this.#host.stop()
  }

  readonly write = (core: LaneCore, bytes: Uint8Array): boolean => {
    const lane = this.#byCore.get(core)?.lane
    if (core.commands) lane?.command(bytes.slice())
    else lane?.write(bytes, 0, bytes.length)
    return true
  }

  readonly start = (core: LaneCore): boolean => {
    this.#byCore.get(core)?.lane.start()
    return true
  }

  readonly finish = (core: LaneCore): boolean => {
    this.#byCore.get(core)?.lane.finish()
    return true
  }

  readonly close = (core: LaneCore, inOrder: boolean): boolean => {
    this.#byCore.get(core)?.lane.close("closed", inOrder)
    return true
  }

  readonly flushSoon = (core: LaneCore): void => {
    if (core !== this.#handling) core.flush()
  }

  readonly consumed = (core: LaneCore, bytes: number): void => {
    const pair = this.#byCore.get(core)
    if (pair === undefined) return
    pair.behind -= bytes
    if (pair.behind * 2 <= core.limits.receiveBytes) pair.lane.unhold(Hold.user)
  }

  readonly release = (core: LaneCore): void => {
    const pair = this.#byCore.get(core)
    if (pair === undefined) return
    this.#byCore.delete(core)
    this.#byLane.delete(pair.lane)
  }

  readonly heard = (core: LaneCore): number => core.lastHeard

  #admit(lane: HostLane, opener: Opener, peer: LaneCore["peer"]): LaneCore {
    const core = new LaneCore(this, () => peer, lane.limits, opener.commands)
    core.lastHeard = this.#clock()
    const pair = { core, lane, behind: 0 }
    this.#opened()
    this.#byCore.set(core, pair)
    this.#byLane.set(lane, pair)
    return core
  }

  #closed(lane: HostLane, reason: EndReason): void {
    this.#byLane.get(lane)?.core.ended(reason)
  }
}

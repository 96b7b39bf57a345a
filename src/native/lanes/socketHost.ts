/**
 * Owns sockets and performs jobs on them. The same code runs in a worker, where its events go
 * into shared memory, and on the main thread, where they are called directly.
 */
import type * as net from "node:net"
import type { Framer } from "../Framer.ts"
import { HostLane, type LaneHost } from "./hostLane.ts"
import { failureOf, type LaneSetup, type OpenFailure, type OpenJob, type PeerInfo } from "./jobs.ts"
import { madeProgress } from "./progress.ts"
import type { OpenChunk } from "./slab.ts"
import * as Sockets from "./sockets.ts"

/**
 * Bytes of one read. After each read the kernel may tell the peer of room and send for it, so
 * reads of 64 KiB cost up to twice as much for each byte; it still fits a second-level cache.
 */
const readBytes = 262_144

/** Where a host reports to. */
export interface HostEvents {
  readonly frames: LaneHost["frames"]
  readonly heard: LaneHost["heard"]
  readonly written: LaneHost["written"]
  readonly finished: LaneHost["finished"]
  readonly peerEnded: LaneHost["peerEnded"]
  readonly closed: LaneHost["closed"]
  readonly region: LaneHost["region"]
  /** The chunk into which the lane's next read goes; undefined: into the host's own buffer. */
  readonly readInto: (lane: HostLane) => OpenChunk | undefined
  readonly opened: (job: number, lane: HostLane, peer: PeerInfo) => void
  readonly listening: (job: number, address: string, port: number) => void
  readonly failed: (job: number, failure: OpenFailure) => void
  /** False refuses the connection: there is no place for it. */
  readonly accepted: (job: number, lane: HostLane, peer: PeerInfo) => boolean
}

/** How often write jobs under way are looked at, in milliseconds. */
const stallEvery = 250

/** The sockets of one thread. */
export class SocketHost {
  readonly #events: HostEvents
  readonly #host: LaneHost
  readonly #loadFramer: (url: string) => Promise<Framer>
  readonly #staging = new Uint8Array(readBytes)
  readonly lanes = new Set<HostLane>()
  /** How to end each job that is under way, and each listener. */
  readonly #jobs = new Map<number, () => void>()
  #deferred: Array<HostLane> = []
  #stallTimer: NodeJS.Timeout | undefined

  constructor(events: HostEvents, loadFramer: (url: string) => Promise<Framer>) {
    this.#events = events
    this.#loadFramer = loadFramer
    this.#host = {
      frames: events.frames,
      heard: events.heard,
      written: events.written,
      finished: events.finished,
      peerEnded: events.peerEnded,
      region: events.region,
      closed: (lane, reason) => {
        this.lanes.delete(lane)
        madeProgress()
        events.closed(lane, reason)
      },
      deferTurn: (lane) => {
        if (this.#deferred.push(lane) === 1) setImmediate(() => this.#nextTurn())
      },
      now: () => performance.now()
    }
  }

  /** Whether there are lanes, connections that are being opened, or listeners. */
  get busy(): boolean {
    return this.lanes.size > 0 || this.#jobs.size > 0
  }

  /** Opens something; `opened` or `failed` answers once, and `listening` before `failed`. */
  open(id: number, job: OpenJob): void {
    let cancelled = false
    this.#jobs.set(id, () => (cancelled = true))
    const plainServer = job.kind === "listen" && job.tls === undefined
    const fast = plainServer ? Sockets.rereads() : false
    Promise.all([this.#loadFramer(job.framer), fast]).then(
      ([framer, rereads]) => {
        if (cancelled) this.#fail(id, failureOf(stepOf(job), new Error("cancelled")))
        else this.#start(id, job, framer, rereads)
      },
      (error: unknown) => this.#fail(id, failureOf("framer", error))
    )
  }

  /** Gives up opening, or closes a listener, whose lanes stay: `failed` answers. */
  cancel(id: number): void {
    this.#jobs.get(id)?.()
  }

  /** Ends everything: listeners and attempts at once, lanes in order. */
  stop(): void {
    for (const cancel of this.#jobs.values()) cancel()
    for (const lane of this.lanes) lane.close("stopped", true)
  }

  #start(id: number, job: OpenJob, framer: Framer, rereads: boolean): void {
    try {
      if (job.kind === "listen") this.#listen(id, job, framer, rereads)
      else if (job.kind === "adopt") this.#adopt(id, job, framer)
      else this.#connect(id, job, framer)
    } catch (error) {
      this.#fail(id, failureOf(stepOf(job), error))
    }
  }

  #connect(id: number, job: OpenJob & { readonly kind: "connect" }, framer: Framer): void {
    const reader = new LaneReader(this.#staging, this.#events)
    const socket = Sockets.connectSocket(job.endpoint, job.tls, job.halfOpen, reader)
    const abort = (error: Error): void => void socket.destroy(error)
    const timer = setTimeout(() => {
      abort(Object.assign(new Error(`not open in time`), { code: "ETIMEDOUT" }))
    }, job.limits.openWithin)
    this.#jobs.set(id, () => abort(new Error("cancelled")))
    let connected = false
    let failure: Error | undefined
    const failed = (error: Error): void => void (failure = error)
    const closed = (): void => {
      clearTimeout(timer)
      this.#fail(
        id,
        failureOf(connected ? "tls" : "connect", failure ?? new Error("closed while opening"))
      )
    }
    socket.once("connect", () => (connected = true))
    socket.on("error", failed)
    socket.once("close", closed)
    socket.once(Sockets.openEvent(job.tls), () => {
      clearTimeout(timer)
      socket.off("error", failed)
      socket.off("close", closed)
      this.#jobs.delete(id)
      const lane = this.#lane(socket, job, framer, reader, true)
      this.#report(id, lane, reader, job.tls !== undefined)
    })
  }

  #adopt(id: number, job: OpenJob & { readonly kind: "adopt" }, framer: Framer): void {
    const reader = new LaneReader(this.#staging, this.#events)
    const socket = Sockets.adoptSocket(job.fd, job.halfOpen, reader)
    this.#jobs.delete(id)
    const lane = this.#lane(socket, job, framer, reader, false)
    this.#report(id, lane, reader, false)
  }

  /** Answers the job before a byte is read, so that the lane is known when its frames come. */
  #report(id: number, lane: HostLane, reader: LaneReader, secure: boolean): void {
    if (lane.openError !== undefined) {
      lane.socket.destroy()
      this.#fail(id, failureOf("framer", lane.openError))
      return
    }
    this.#events.opened(id, lane, Sockets.peerOf(lane.socket))
    Sockets.startReading(lane.socket, secure, reader)
  }

  #listen(
    id: number,
    job: OpenJob & { readonly kind: "listen" },
    framer: Framer,
    rereads: boolean
  ): void {
    const { halfOpen, limits } = job
    const server = Sockets.makeServer(job.tls, halfOpen, limits.openWithin, (socket) => {
      const reader = new LaneReader(this.#staging, this.#events)
      const peer = Sockets.peerOf(socket)
      const own = rereads ? Sockets.rereadSocket(socket, halfOpen, reader) : socket
      const lane = this.#lane(own, job, framer, reader, false)
      lane.reading = () => Sockets.startReading(own, own === socket, reader)
      if (!this.#events.accepted(id, lane, peer)) own.destroy()
      else if (lane.openError !== undefined) lane.refuse(lane.openError)
    })
    const failed = (error: Error): void => this.#fail(id, failureOf("listen", error))
    // Until it is bound there is nothing to close.
    let cancelled = false
    this.#jobs.set(id, () => (cancelled = true))
    const close = (): void => {
      server.close()
      failed(new Error("closed"))
    }
    server.once("error", failed)
    server.listen(
      { ...job.endpoint, backlog: job.backlog, ...(job.reusePort ? { reusePort: true } : {}) },
      () => {
        server.off("error", failed)
        // An accept that fails (no descriptor left) is the kernel's to repeat.
        server.on("error", () => {})
        if (cancelled) return close()
        this.#jobs.set(id, close)
        const address = server.address()
        if (address === null || typeof address === "string") {
          this.#events.listening(id, address ?? "", 0)
        } else this.#events.listening(id, address.address, address.port)
      }
    )
  }

  /** A lane around an open socket. */
  #lane(
    socket: net.Socket,
    setup: LaneSetup,
    framer: Framer,
    reader: LaneReader,
    initiator: boolean
  ): HostLane {
    const { limits, options } = setup
    const lane = new HostLane(this.#host, socket, framer, options, limits, initiator)
    reader.lane = lane
    this.lanes.add(lane)
    madeProgress()
    this.#watchStalls()
    return lane
  }

  #fail(id: number, failure: OpenFailure): void {
    madeProgress()
    this.#jobs.delete(id)
    this.#events.failed(id, failure)
  }

  #nextTurn(): void {
    const deferred = this.#deferred
    this.#deferred = []
    for (const lane of deferred) lane.nextTurn()
  }

  /** Looks until there are no lanes: a timer for each that comes alone would cost more. */
  #watchStalls(): void {
    if (this.#stallTimer !== undefined) return
    this.#stallTimer = setInterval(() => {
      const now = performance.now()
      for (const lane of this.lanes) lane.checkStall(now)
      if (this.lanes.size > 0) return
      clearInterval(this.#stallTimer)
      this.#stallTimer = undefined
    }, stallEvery)
    this.#stallTimer.unref()
  }
}

const stepOf = (job: OpenJob): OpenFailure["step"] => (job.kind === "listen" ? "listen" : "connect")

/** Reads of a socket whose lane exists once the socket is open. */
class LaneReader implements Sockets.Reader {
  lane: HostLane | undefined
  readonly #staging: Uint8Array
  readonly #events: HostEvents
  #buffer: Uint8Array
  /** Where the buffer lies, if it is not for consuming. */
  #chunk: OpenChunk | undefined

  constructor(staging: Uint8Array, events: HostEvents) {
    this.#staging = this.#buffer = staging
    this.#events = events
  }

  readonly buffer = (): Uint8Array => (this.#buffer = this.#choose() ?? this.#staging)

  readonly took = (length: number): boolean => {
    const chunk = this.#chunk
    const room = this.#buffer.length
    if (chunk === undefined) return this.read(this.#buffer, length, room)
    const from = chunk.fill
    chunk.fill += length
    return this.lane === undefined ? false : this.lane.read(chunk.memory, from, chunk.fill, room)
  }

  readonly read = (bytes: Uint8Array, length: number, room: number): boolean =>
    this.lane === undefined ? false : this.lane.read(bytes, 0, length, room)

  /** What is consumed here is read into one buffer again and again, which stays in a cache. */
  #choose(): Uint8Array | undefined {
    const { lane } = this
    this.#chunk = undefined
    if (lane === undefined) return undefined
    return lane.consumes ? lane.into() : this.#chooseChunk(lane)
  }

  #chooseChunk(lane: HostLane): Uint8Array | undefined {
    this.#chunk = this.#events.readInto(lane)
    if (this.#chunk === undefined) return undefined
    const { end, fill, memory } = this.#chunk
    return memory.subarray(fill, Math.min(fill + readBytes, end))
  }
}

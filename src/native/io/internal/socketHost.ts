/**
 * Holds sockets and performs jobs on them. The same code runs in a worker, where its events go into
 * shared memory, and on the main thread, where they are called directly.
 */
import type * as net from "node:net"
import type { Framer } from "../Framer.ts"
import { SocketLane, type LaneHost } from "./socketLane.ts"
import {
  failureOf,
  type LaneSetup,
  type OpenFailure,
  type OpenJob,
  type PeerInfo
} from "./messages.ts"
import { SocketReader, readBytes, type ReadInto } from "./socketReader.ts"
import { madeProgress } from "./progress.ts"
import * as Sockets from "./sockets.ts"
import { acceptTls, connectTls } from "./tls.ts"

/** Events of a host. */
export interface HostEvents {
  readonly frames: LaneHost["frames"]
  readonly heard: LaneHost["received"]
  readonly written: LaneHost["written"]
  readonly finished: LaneHost["finished"]
  readonly peerEnded: LaneHost["peerEnded"]
  readonly closed: LaneHost["closed"]
  readonly region: LaneHost["region"]
  readonly readInto: ReadInto
  readonly opened: (job: number, lane: SocketLane, peer: PeerInfo) => void
  readonly listening: (job: number, address: string, port: number) => void
  readonly failed: (job: number, failure: OpenFailure) => void
  /** Returns false to refuse the connection: all slots are taken. */
  readonly accepted: (job: number, lane: SocketLane, peer: PeerInfo) => boolean
}

/** Milliseconds between two checks of the write jobs under way. */
const stallCheckMs = 250

/** The sockets of one thread. */
export class SocketHost {
  readonly #events: HostEvents
  readonly #host: LaneHost
  readonly #loadFramer: (url: string) => Promise<Framer>
  readonly #staging = new Uint8Array(readBytes)
  readonly lanes = new Set<SocketLane>()
  /** Functions that end the jobs under way, and the listeners. */
  readonly #jobs = new Map<number, () => void>()
  #deferred: Array<SocketLane> = []
  #stallTimer: NodeJS.Timeout | undefined

  constructor(events: HostEvents, loadFramer: (url: string) => Promise<Framer>) {
    this.#events = events
    this.#loadFramer = loadFramer
    this.#host = {
      frames: events.frames,
      received: events.heard,
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
  get isBusy(): boolean {
    return this.lanes.size > 0 || this.#jobs.size > 0
  }

  /**
   * Opens a connection or a listener; `opened` or `failed` answers once, and `listening` before
   * `failed`.
   */
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

  /** Cancels opening, or closes a listener, whose lanes stay: `failed` answers. */
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
    const reader = new SocketReader(this.#staging, this.#events.readInto)
    const socket = Sockets.connectSocket(job.endpoint, job.tls, job.halfOpen, reader)
    const attempt = this.#attempt(id, job, socket)
    if (job.tls !== undefined) socket.once("connect", () => (attempt.step = "tls"))
    socket.once(Sockets.openEvent(job.tls), () => {
      attempt.succeeded()
      this.#report(id, this.#lane(socket, job, framer, reader, true), reader, job.tls !== undefined)
    })
  }

  #adopt(id: number, job: OpenJob & { readonly kind: "adopt" }, framer: Framer): void {
    const { fd, halfOpen, initiator, tls } = job
    const reader = new SocketReader(this.#staging, this.#events.readInto)
    if (tls === undefined) {
      const socket = Sockets.adoptSocket(fd, halfOpen, reader)
      this.#jobs.delete(id)
      this.#report(id, this.#lane(socket, job, framer, reader, initiator), reader, false)
      return
    }
    const plain = Sockets.adoptSocket(fd, halfOpen, undefined)
    const attempt = this.#attempt(id, job, plain)
    attempt.step = "tls"
    const secured = (socket: net.Socket): void => {
      attempt.succeeded()
      this.#report(id, this.#lane(socket, job, framer, reader, initiator), reader, true)
    }
    try {
      if (!initiator) acceptTls(plain, tls, halfOpen, secured, attempt.failed)
      else {
        const socket = connectTls({ socket: plain }, tls, halfOpen).on("error", attempt.failed)
        socket.once("secureConnect", () => {
          socket.off("error", attempt.failed)
          secured(socket)
        })
      }
    } catch (error) {
      attempt.failed(error as Error)
      plain.destroy()
    }
  }

  /** Fails the job unless the socket is open in time; `failed` notes why it is about to close. */
  #attempt(id: number, job: OpenJob, socket: net.Socket) {
    let failure: Error | undefined
    const timer = setTimeout(() => {
      socket.destroy(Object.assign(new Error("not open in time"), { code: "ETIMEDOUT" }))
    }, job.limits.openWithinMs)
    this.#jobs.set(id, () => void socket.destroy(new Error("cancelled")))
    const closed = (): void => {
      clearTimeout(timer)
      this.#fail(id, failureOf(attempt.step, failure ?? new Error("closed while opening")))
    }
    const attempt = {
      step: "connect" as OpenFailure["step"],
      failed: (error: Error): void => void (failure ??= error),
      succeeded: (): void => {
        clearTimeout(timer)
        socket.off("close", closed)
        this.#jobs.delete(id)
      }
    }
    socket.on("error", attempt.failed)
    socket.once("close", closed)
    return attempt
  }

  /** Answers the job before a byte is read, so that the lane is known when its frames come. */
  #report(id: number, lane: SocketLane, reader: SocketReader, secure: boolean): void {
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
    const server = Sockets.makeServer(job.tls, halfOpen, limits.openWithinMs, (socket) => {
      const reader = new SocketReader(this.#staging, this.#events.readInto)
      const peer = Sockets.peerOf(socket)
      const read = rereads ? Sockets.rereadSocket(socket, halfOpen, reader) : socket
      const lane = this.#lane(read, job, framer, reader, false)
      lane.startReading = () => Sockets.startReading(read, read === socket, reader)
      if (!this.#events.accepted(id, lane, peer)) read.destroy()
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
        // The kernel repeats an accept that failed, for example for lack of a descriptor.
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
    reader: SocketReader,
    initiator: boolean
  ): SocketLane {
    const { limits, options } = setup
    const lane = new SocketLane(this.#host, socket, framer, options, limits, initiator)
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

  /** Checks until there are no lanes. A timer for each lane would cost more. */
  #watchStalls(): void {
    if (this.#stallTimer !== undefined) return
    this.#stallTimer = setInterval(() => {
      const now = performance.now()
      for (const lane of this.lanes) lane.checkStall(now)
      if (this.lanes.size > 0) return
      clearInterval(this.#stallTimer)
      this.#stallTimer = undefined
    }, stallCheckMs)
    this.#stallTimer.unref()
  }
}

const stepOf = (job: OpenJob): OpenFailure["step"] => (job.kind === "listen" ? "listen" : "connect")

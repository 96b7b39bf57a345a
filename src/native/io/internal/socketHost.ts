/**
 * Holds sockets and performs jobs on them. The same code runs in a worker, where its events go into
 * shared memory, and on the main thread, where they are called directly.
 */
import type * as net from "node:net"
import type { Framer } from "../Framer.ts"
import type { Cancel, Connection, Platform, Prepared, Server, Sockets, Timers } from "./platform.ts"
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
import { openEvent } from "./sockets.ts"
import { acceptTls, connectTls, type TlsSettings } from "./tls.ts"

/** Events of a host. */
export interface HostEvents {
  readonly frames: LaneHost["frames"]
  readonly received: LaneHost["received"]
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
  readonly #platform: Platform
  readonly #staging = new Uint8Array(readBytes)
  readonly lanes = new Set<SocketLane>()
  /** Functions that end the jobs under way, and the listeners. */
  readonly #jobs = new Map<number, () => void>()
  /** The listeners that are bound, by their jobs. */
  readonly #servers = new Map<number, Server>()
  #deferred: Array<SocketLane> = []
  #stopLooking: Cancel | undefined

  constructor(events: HostEvents, platform: Platform) {
    this.#events = events
    this.#platform = platform
    this.#host = {
      frames: events.frames,
      received: events.received,
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
        if (this.#deferred.push(lane) === 1) this.#timers.nextTurn(() => this.#nextTurn())
      },
      timers: platform.timers
    }
  }

  get #timers(): Timers {
    return this.#platform.timers
  }

  get #sockets(): Sockets {
    return this.#platform.sockets
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
    this.#platform.prepare(
      job,
      (prepared) => {
        if (cancelled) this.#fail(id, failureOf(stepOf(job), new Error("cancelled")))
        else this.#start(id, job, prepared)
      },
      (error) => this.#fail(id, failureOf("framer", error))
    )
  }

  /** Cancels opening, or closes a listener, whose lanes stay: `failed` answers. */
  cancel(id: number): void {
    this.#jobs.get(id)?.()
  }

  /** Makes a listener use other certificates from its next handshake on. */
  renewCertificates(id: number, tls: TlsSettings): void {
    const server = this.#servers.get(id)
    if (server !== undefined) this.#sockets.renewCertificates(server, tls)
  }

  /** Ends everything: listeners and attempts at once, lanes in order. */
  stop(): void {
    for (const cancel of this.#jobs.values()) cancel()
    for (const lane of this.lanes) lane.close("stopped", true)
  }

  #start(id: number, job: OpenJob, prepared: Prepared): void {
    const { framer } = prepared
    try {
      if (job.kind === "listen") this.#listen(id, job, prepared)
      else if (job.kind === "adopt") this.#adopt(id, job, framer)
      else this.#connect(id, job, framer)
    } catch (error) {
      this.#fail(id, failureOf(stepOf(job), error))
    }
  }

  #connect(id: number, job: OpenJob & { readonly kind: "connect" }, framer: Framer): void {
    const reader = new SocketReader(this.#staging, this.#events.readInto)
    const socket = this.#sockets.connectSocket(job.endpoint, job.tls, job.halfOpen, reader)
    const attempt = this.#attempt(id, job, socket)
    if (job.tls !== undefined) socket.once("connect", () => (attempt.step = "tls"))
    socket.once(openEvent(job.tls), () => {
      attempt.succeeded()
      this.#report(id, this.#lane(socket, job, framer, reader, true), reader, job.tls !== undefined)
    })
  }

  #adopt(id: number, job: OpenJob & { readonly kind: "adopt" }, framer: Framer): void {
    const { fd, halfOpen, initiator, tls } = job
    const reader = new SocketReader(this.#staging, this.#events.readInto)
    if (tls === undefined) {
      const socket = this.#sockets.adoptSocket(fd, halfOpen, reader)
      this.#jobs.delete(id)
      this.#report(id, this.#lane(socket, job, framer, reader, initiator), reader, false)
      return
    }
    const plain = this.#sockets.adoptSocket(fd, halfOpen, undefined)
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
  #attempt(id: number, job: OpenJob, socket: Connection) {
    let failure: Error | undefined
    const cancel = this.#timers.after(job.limits.openWithinMs, () => {
      socket.destroy(Object.assign(new Error("not open in time"), { code: "ETIMEDOUT" }))
    })
    this.#jobs.set(id, () => void socket.destroy(new Error("cancelled")))
    const closed = (): void => {
      cancel()
      this.#fail(id, failureOf(attempt.step, failure ?? new Error("closed while opening")))
    }
    const attempt = {
      step: "connect" as OpenFailure["step"],
      failed: (error: Error): void => void (failure ??= error),
      succeeded: (): void => {
        cancel()
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
    this.#events.opened(id, lane, this.#sockets.peerOf(lane.socket))
    this.#sockets.startReading(lane.socket, secure, reader)
  }

  #listen(
    id: number,
    job: OpenJob & { readonly kind: "listen" },
    { framer, rereads }: Prepared
  ): void {
    const { halfOpen, limits } = job
    const server = this.#sockets.makeServer(job.tls, halfOpen, limits.openWithinMs, (socket) => {
      const reader = new SocketReader(this.#staging, this.#events.readInto)
      const peer = this.#sockets.peerOf(socket)
      const read = rereads ? this.#sockets.rereadSocket(socket, halfOpen, reader) : socket
      const lane = this.#lane(read, job, framer, reader, false)
      lane.startReading = () => this.#sockets.startReading(read, read === socket, reader)
      if (!this.#events.accepted(id, lane, peer)) read.destroy()
      else if (lane.openError !== undefined) lane.refuse(lane.openError)
      else if (lane.startReading !== undefined && job.readAheadBytes > 0) {
        lane.start(Math.min(job.readAheadBytes, limits.receiveBytes))
      }
    })
    this.#servers.set(id, server)
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
    socket: Connection,
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
    this.#servers.delete(id)
    this.#events.failed(id, failure)
  }

  #nextTurn(): void {
    const deferred = this.#deferred
    this.#deferred = []
    for (const lane of deferred) lane.nextTurn()
  }

  /** Checks until there are no lanes. A timer for each lane would cost more. */
  #watchStalls(): void {
    this.#stopLooking ??= this.#timers.every(stallCheckMs, () => {
      const now = this.#timers.now()
      for (const lane of this.lanes) lane.checkStall(now)
      if (this.lanes.size > 0) return
      this.#stopLooking?.()
      this.#stopLooking = undefined
    })
  }
}

const stepOf = (job: OpenJob): OpenFailure["step"] => (job.kind === "listen" ? "listen" : "connect")

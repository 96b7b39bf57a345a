/**
 * A simulated TCP socket, with the part of `node:net`'s face that a lane uses.
 *
 * Segments arrive in the host's kernel whatever its program does; the program is told in steps of
 * its own, one event after the other. So a program that is paused misses nothing, and one that
 * was killed hears nothing more while its kernel ends its connections.
 */
import { EventEmitter } from "node:events"
import type { TlsSettings } from "../io/IoPool.ts"
import type { PeerInfo } from "../io/Lane.ts"
import type { Connection, Reader } from "../io/internal/platform.ts"
import type { Segment } from "./tcpWire.ts"

/** Bytes that one direction holds between two programs: a send and a receive buffer of Linux. */
const windowBytes = 262_144

/** The part of a host that a socket uses. */
export interface SocketHost {
  /** Runs later, in the program that owns the socket. */
  readonly enqueue: (act: () => void) => void
  /** Cuts what is written into segments. */
  readonly cut: (bytes: Uint8Array) => ReadonlyArray<Uint8Array>
  /** The socket is gone from the kernel. */
  readonly gone: (socket: TcpSocket) => void
  /** Whether clients are refused now, after their connect over TLS. */
  readonly refusesTls: () => boolean
}

/** The remote end, as the kernel of this one reaches it. */
export interface Remote {
  readonly address: string
  readonly port: number
  readonly send: (segment: Segment) => void
  /** The program has read so many bytes: the other end may send more. */
  readonly consumed: (bytes: number) => void
}

export const socketError = (code: string, syscall: string): Error =>
  Object.assign(new Error(`${syscall} ${code}`), { code, syscall })

interface Write {
  readonly bytes: Uint8Array
  readonly written: (error?: Error | null) => void
}

/** Whether a side takes the other's certificate: both name the same authority. */
const trusts = (self: TlsSettings, other: TlsSettings): boolean =>
  self.verify === "none" || (other.cert !== undefined && self.ca === other.ca)

/** The first bytes of a client's handshake, as a server without TLS reads them. */
const clientHello = Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 7, 7, 7, 7, 7)

export class TcpSocket extends EventEmitter implements Connection {
  readonly allowHalfOpen: boolean
  destroyed = false
  writableEnded = false
  readonly #host: SocketHost
  readonly #tls: TlsSettings | undefined
  readonly #isServer: boolean
  remote: Remote | undefined
  #phase: "opening" | "handshake" | "open" = "opening"
  #peerTls: TlsSettings | undefined
  #reader: Reader | undefined
  #isPaused = true
  /** Bytes that have arrived and were not read; the end of the stream is behind them. */
  #received: Array<Uint8Array> = []
  #hasPeerEnded = false
  #hasToldEnd = false
  /** Bytes that the other program has not read. */
  #inFlight = 0
  #pending: Array<Write> = []
  readonly #events: Array<() => void> = []
  #ended: (() => void) | undefined
  #hasSentEnd = false
  /** The kernel knows the connection. */
  #isAlive = true
  onOpen: (() => void) | undefined

  constructor(
    host: SocketHost,
    options: {
      readonly tls: TlsSettings | undefined
      readonly halfOpen: boolean
      readonly isServer: boolean
    }
  ) {
    super()
    this.#host = host
    this.#tls = options.tls
    this.allowHalfOpen = options.halfOpen
    this.#isServer = options.isServer
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get peer(): PeerInfo {
    const { address = "", port = 0 } = this.remote ?? {}
    const tls = this.#peerTls
    if (tls === undefined) return { address, port }
    const authorized = this.#tls !== undefined && trusts(this.#tls, tls)
    const identity = { protocol: "TLSv1.3", authorized, subject: address, fingerprint: "" }
    return { address, port, tls: { ...identity, alpn: "", servername: "" } }
  }

  get writableLength(): number {
    return this.#pending.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  // --- what the program does

  /** Begins to read. */
  start(reader: Reader): void {
    this.#reader = reader
    this.resume()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#readSoon()
  }

  /** Each write is a segment of its own, or several. */
  cork(): void {}
  uncork(): void {}

  write(bytes: Uint8Array, written: (error?: Error | null) => void): boolean {
    if (this.destroyed || this.writableEnded) {
      this.#tell(() => written(socketError("EPIPE", "write")))
      return false
    }
    this.#pending.push({ bytes: bytes.slice(), written })
    this.#flush()
    return this.#pending.length === 0
  }

  end(ended?: () => void): void {
    if (ended !== undefined) this.#ended = ended
    this.writableEnded = true
    this.#flush()
  }

  destroy(error?: Error): void {
    if (this.destroyed) return
    const hasUnread = this.#received.length > 0
    this.#closeProgram(error)
    if (!this.#isAlive) return
    if (this.#phase === "opening" || hasUnread) this.#send({ _tag: "Reset" })
    else if (!this.#hasSentEnd) this.#send({ _tag: "End" })
    this.#leave()
  }

  /** Its program was killed: the kernel ends the connection. */
  kill(): void {
    this.destroyed = true
    if (!this.#isAlive) return
    this.#send({ _tag: this.#received.length > 0 ? "Reset" : "End" })
    this.#leave()
  }

  // --- what the kernel does

  /** The connection breaks: the other end is not told. */
  break(code: string): void {
    if (!this.#isAlive) return
    this.#leave()
    this.#tell(() => {
      if (!this.destroyed) this.#closeProgram(socketError(code, "read"))
    })
  }

  arrive(segment: Segment): void {
    if (!this.#isAlive) {
      if (segment._tag === "Bytes") this.remote?.send({ _tag: "Reset" })
      return
    }
    switch (segment._tag) {
      case "Bytes":
        return this.#take(segment.bytes)
      case "End":
        this.#hasPeerEnded = true
        return this.#phase === "open" ? this.#readSoon() : this.#failOpening("ECONNRESET")
      case "Reset":
        return this.break("ECONNRESET")
      case "Refused":
        return this.#failOpening("ECONNREFUSED", "connect")
      case "Opened":
        return this.#connected()
      case "Alert":
        return this.break("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED")
      case "Open":
        return undefined
      default:
        return this.#handshake(segment)
    }
  }

  /** The other program has read. */
  onConsumed(bytes: number): void {
    this.#inFlight -= bytes
    this.#flush()
  }

  /** A connection has come to this end, which listens. */
  accepted(): void {
    this.#send({ _tag: "Opened" })
    if (this.#tls !== undefined) this.#phase = "handshake"
    else this.#open()
  }

  #connected(): void {
    this.#tell(() => this.emit("connect"))
    if (this.#tls === undefined) return this.#open()
    this.#phase = "handshake"
    this.#send({ _tag: "Hello", tls: this.#tls })
  }

  #handshake(segment: Extract<Segment, { readonly tls: TlsSettings }>): void {
    const tls = this.#tls
    if (tls === undefined) return this.#take(clientHello)
    this.#peerTls = segment.tls
    switch (segment._tag) {
      case "Hello":
        return this.#send({ _tag: "Answer", tls })
      case "Answer":
        if (!trusts(tls, segment.tls)) return this.#failOpening("ERR_TLS_CERT_NOT_TRUSTED")
        this.#send({ _tag: "Finished", tls })
        this.#open()
        return this.#tell(() => this.emit("secureConnect"))
      case "Finished":
        if (trusts(tls, segment.tls) && !this.#host.refusesTls()) return this.#open()
        this.#send({ _tag: "Alert" })
        return this.#leave()
    }
  }

  #open(): void {
    this.#phase = "open"
    const { onOpen } = this
    if (onOpen !== undefined) this.#tell(onOpen)
  }

  #failOpening(code: string, syscall = "read"): void {
    if (!this.#isAlive) return
    if (code !== "ECONNREFUSED") this.#send({ _tag: "Reset" })
    this.#leave()
    this.#tell(() => {
      if (!this.destroyed) this.#closeProgram(socketError(code, syscall))
    })
  }

  #take(bytes: Uint8Array): void {
    // A server that waits for a handshake closes on anything else.
    if (this.#isServer && this.#phase === "handshake") return this.#failOpening("ECONNRESET")
    this.#received.push(bytes)
    this.#readSoon()
  }

  /** Events of one socket come in order, whatever comes between them. */
  #tell(event: () => void): void {
    this.#events.push(event)
    this.#host.enqueue(() => this.#events.shift()!())
  }

  #send(segment: Segment): void {
    this.remote?.send(segment)
  }

  /** Hands the program's bytes to the kernel while the window has room. */
  #flush(): void {
    while (this.#pending.length > 0 && this.#inFlight < windowBytes && this.#isAlive) {
      const { bytes, written } = this.#pending.shift()!
      this.#inFlight += bytes.length
      for (const piece of this.#host.cut(bytes)) this.#send({ _tag: "Bytes", bytes: piece })
      this.#tell(() => written(null))
    }
    if (!this.writableEnded || this.#pending.length > 0 || this.#hasSentEnd) return
    this.#hasSentEnd = true
    if (this.#isAlive) this.#send({ _tag: "End" })
    this.#tell(() => {
      this.#ended?.()
      this.#closeIfBothEnded()
    })
  }

  #readSoon(): void {
    if (this.#reader === undefined || this.#isPaused || this.destroyed) return
    if (this.#received.length === 0 && !this.#hasPeerEnded) return
    this.#tell(() => this.#read())
  }

  #read(): void {
    if (this.#reader === undefined || this.#isPaused || this.destroyed) return
    if (this.#received.length > 0) {
      const bytes = Buffer.concat(this.#received)
      this.#received = []
      this.remote?.consumed(bytes.length)
      if (!this.#reader.read(bytes, bytes.length, Infinity)) this.#isPaused = true
      return this.#readSoon()
    }
    if (!this.#hasPeerEnded || this.#hasToldEnd) return
    this.#hasToldEnd = true
    this.emit("end")
    if (!this.allowHalfOpen && !this.writableEnded) this.end()
    this.#closeIfBothEnded()
  }

  #closeIfBothEnded(): void {
    if (!this.#hasToldEnd || !this.#hasSentEnd || this.destroyed) return
    this.#leave()
    this.#closeProgram(undefined)
  }

  /** The kernel forgets the connection; what it has sent goes on its way. */
  #leave(): void {
    if (!this.#isAlive) return
    this.#isAlive = false
    this.#host.gone(this)
  }

  /** The program hears the one end of the socket. */
  #closeProgram(error: Error | undefined): void {
    this.destroyed = true
    this.#received = []
    const pending = this.#pending
    this.#pending = []
    this.#tell(() => {
      for (const { written } of pending) written(error ?? socketError("EPIPE", "write"))
      // Nothing listens to a connection of a server that was never handed over.
      if (error !== undefined && this.listenerCount("error") > 0) this.emit("error", error)
      this.emit("close")
    })
  }
}
